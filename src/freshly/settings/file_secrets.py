import os
from pathlib import Path
from typing import Any

from pydantic_settings import EnvSettingsSource

from freshly.settings.errors import BadSettings


class FileSecrets(EnvSettingsSource):
    """A source of secrets: `NAME_FILE` is the path of a file with the value of `NAME`."""

    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        unreadable = []
        for name, field in self.settings_cls.model_fields.items():
            path = os.environ.get(f"{name.upper()}_FILE")
            if path and "SecretStr" in str(field.annotation):
                try:
                    found[name] = Path(path).read_text(encoding="utf-8").strip()
                except (OSError, UnicodeDecodeError) as error:
                    reason = getattr(error, "strerror", None) or "not a text file"
                    unreadable.append(f"{name.upper()}_FILE: cannot read {path}: {reason}")
        if unreadable:
            raise BadSettings("\n".join(unreadable))
        return found
