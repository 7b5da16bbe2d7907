import json
from pathlib import Path

from pydantic import SecretStr

from freshly.settings.services import Settings


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the environment that gives a process of Freshly the same settings."""
    values = {name: getattr(settings, name) for name in settings.model_fields_set}
    return {name.upper(): _text(value) for name, value in values.items() if value is not None}


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Path):
        return str(value.resolve())
    if isinstance(value, str):
        return value
    return json.dumps(value)
