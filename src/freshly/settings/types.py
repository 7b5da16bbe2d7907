"""Types of settings: how their text is read, what it may be, and in which unit."""

import json
import re
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field
from pydantic_settings import NoDecode

LARGEST_COUNT = 10**9
# Scheme, host, port, and a path of plain words: it has no part that a proxy may write differently.
PUBLIC_URL = re.compile(
    r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?(/(?!\.)[a-z0-9._~-]+)*/?", re.IGNORECASE
)


@dataclass(frozen=True)
class Unit:
    """The unit of a number, for the generated reference."""

    name: str


def _comma_list(value: object) -> object:
    """Split a comma list, or parse JSON. Raises ValueError on bad JSON."""
    if isinstance(value, str) and not value.lstrip().startswith("["):
        return [word.strip() for word in value.split(",") if word.strip()]
    if isinstance(value, str):
        try:
            return json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"is neither a comma list nor JSON: {error}") from error
    return value


def _json_object(value: object) -> object:
    """Parse JSON. Raises ValueError on bad JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error}") from error


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is not an address such as https://example.com")
    return value


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("is not a time zone such as Europe/Berlin") from error
    return name


def _networks(given: tuple[str, ...]) -> tuple[str, ...]:
    for one in given:
        if one == "*":
            continue
        try:
            ip_network(one)
        except ValueError as error:
            raise ValueError(
                f"{one} is neither an address nor a network such as 10.0.0.0/8, nor *"
            ) from error
    return given


def _public_url(url: str) -> str:
    """Return the URL without a slash at its end."""
    if not PUBLIC_URL.fullmatch(url):
        raise ValueError(
            "is not the start of a web address, such as https://api.example.com or "
            "https://example.com/freshly"
        )
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Return True if only this machine can reach the address or name."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


LimitsByTier = Annotated[dict[str, dict[str, str]], NoDecode, BeforeValidator(_json_object)]
Counts = Annotated[
    dict[str, Annotated[int, Field(ge=0, le=2**53)]], NoDecode, BeforeValidator(_json_object)
]
WebAddress = Annotated[str, AfterValidator(_web_address)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_list)]
Networks = Annotated[Words, AfterValidator(_networks)]
TimeZone = Annotated[str, AfterValidator(_known_zone)]
Port = Annotated[int, Field(ge=0, le=65535)]
PublicUrl = Annotated[str, AfterValidator(_public_url)]
Positive = Annotated[int, Field(gt=0)]
Tokens = Annotated[int, Field(ge=0, le=LARGEST_COUNT), Unit("tokens a day")]
Seconds = Annotated[int, Field(gt=0), Unit("seconds")]
Timeout = Annotated[float, Field(gt=0, le=3600), Unit("seconds")]
Size = Annotated[ByteSize, Field(gt=0), Unit("bytes")]  # a text such as 10MiB is one too
