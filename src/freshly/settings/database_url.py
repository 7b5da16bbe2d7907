"""Database URLs, and the options that hosting providers put into them."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

DRIVERS = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
}
DEFAULT_PORT = 5432
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
SESSIONS = ("any", "primary", "standby", "read-write", "read-only", "prefer-standby")
# asyncpg reads these from the query of a URL, as libpq does. `options` are settings of the session.
OF_DRIVER = (
    "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "ssl_min_protocol_version",
    "ssl_max_protocol_version", "target_session_attrs", "krbsrvname", "passfile",
    "application_name", "options",
)  # fmt: skip
FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")
# Values that ask for what Freshly does anyway. None stands for any value.
NEEDLESS: Mapping[str, tuple[str, ...] | None] = {
    "channel_binding": ("disable", "prefer"),
    "gssencmode": ("disable", "prefer"),
    "client_encoding": ("utf8", "utf-8", "auto"),
    "sslcompression": ("0",),
    "sslsni": ("1",),
    "fallback_application_name": None,
    "keepalives": None,
    "keepalives_idle": None,
    "keepalives_interval": None,
    "keepalives_count": None,
    "supa": None,  # a mark of Supabase's pooler
}
INSTEAD = {
    "channel_binding": "the driver cannot bind channels; leave it out, and let"
    " sslmode=verify-full prove who the server is",
    "pgbouncer": "is for the URL of a pooler; give that in DATABASE_URL_POOLER",
    "connection_limit": "leave it out, and set DATABASE_POOL_SIZE",
    "pool_timeout": "leave it out, and set DATABASE_POOL_TIMEOUT",
    "statement_cache_size": "leave it out; for a pooler, give DATABASE_URL_POOLER",
    "prepared_statement_cache_size": "leave it out; for a pooler, give DATABASE_URL_POOLER",
    "schema": "leave it out, and set the role's search_path",
    "sslpassword": "leave it out; give a key without a password",
}


def driven(url: str, *, pooler: bool = False) -> URL:
    """Return the URL with the driver that Freshly uses and the options that it knows.

    Raises ValueError if it is not the URL of a PostgreSQL or SQLite database, or for an option
    that Freshly cannot obey. The text names the option.
    """
    url, hosts = _with_first_host(url)
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise ValueError("is not a database URL such as postgresql://user@host/name") from error
    backend = parsed.drivername.partition("+")[0]
    if backend not in DRIVERS:
        raise ValueError(f"{backend} is not supported: give postgresql:// or sqlite:///")
    query = {name: _text(value) for name, value in parsed.query.items()}
    if backend == "sqlite" and query:
        raise ValueError(f"{', '.join(query)}: SQLite takes no options here; leave them out")
    if query.get("pgbouncer") and pooler:
        del query["pgbouncer"]
    options = dict(_known(name, value) for name, value in query.items() if _matters(name, value))
    if hosts:
        options["hosts"] = hosts
    return parsed.set(drivername=DRIVERS[backend], query=options)


def _with_first_host(url: str) -> tuple[str, str]:
    """Return the URL with its first host, and all hosts if there are several."""
    start, slashes, rest = url.partition("://")
    netloc, slash, path = rest.partition("/")
    account, at, hosts = netloc.rpartition("@")
    if start.startswith("sqlite") or "," not in hosts:
        return url, ""
    return f"{start}{slashes}{account}{at}{hosts.partition(',')[0]}{slash}{path}", hosts


def _text(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else value[-1]


def _matters(name: str, value: str) -> bool:
    if name not in NEEDLESS:
        return True
    needless = NEEDLESS[name]
    return needless is not None and value.lower() not in needless


def _known(name: str, value: str) -> tuple[str, str]:
    """Return the name and the value as asyncpg or Freshly knows them. Raises ValueError."""
    if name == "ssl":  # as some providers and asyncpg itself write it
        name, value = (
            "sslmode",
            {"true": "require", "1": "require", "false": "disable"}.get(value.lower(), value),
        )
    if name == "sslrootcert" and value == "system":
        value = ssl.get_default_verify_paths().cafile or value
    if name == "sslmode" and value not in SSL_MODES:
        raise ValueError(f"sslmode={value}: is none of {', '.join(SSL_MODES)}")
    if name == "target_session_attrs" and value not in SESSIONS:
        raise ValueError(f"target_session_attrs={value}: is none of {', '.join(SESSIONS)}")
    if name == "connect_timeout":
        if not value.isdecimal():
            raise ValueError(f"connect_timeout={value}: is not a number of seconds")
    elif name not in OF_DRIVER:
        raise ValueError(f"{name}: {INSTEAD.get(name, 'is not an option that Freshly knows')}")
    if name in FILES and not Path(value).expanduser().is_file():
        raise ValueError(f"{name}: there is no file {value}")
    return name, value


def connect_options(url: URL) -> dict[str, Any]:
    """Return what asyncpg is told of the URL's options, besides where PostgreSQL is."""
    query = {name: _text(value) for name, value in url.query.items()}
    seconds, hosts = int(query.pop("connect_timeout", 0)), query.pop("hosts", "")
    options: dict[str, Any] = {"timeout": seconds} if seconds else {}
    if hosts:
        pairs = [host.partition(":") for host in hosts.split(",")]
        options["host"] = [host for host, _, _ in pairs]
        options["port"] = [int(port or DEFAULT_PORT) for _, _, port in pairs]
    if query:
        options["dsn"] = f"postgresql:///?{urlencode(query)}"
    return options
