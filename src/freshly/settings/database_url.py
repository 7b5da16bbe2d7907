from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

DRIVERS = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
}


def driven(url: str) -> URL:
    """Return the URL with the driver that Freshly uses.

    Raises ValueError if it is not the URL of a PostgreSQL or SQLite database.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ValueError("is not a database URL such as postgresql://user@host/name") from error
    backend = parsed.drivername.partition("+")[0]
    if backend not in DRIVERS:
        raise ValueError(f"{backend} is not supported: give postgresql:// or sqlite:///")
    # Hosting providers write `sslmode`, as libpq calls it; asyncpg calls it `ssl`.
    query = {"ssl" if name == "sslmode" else name: value for name, value in parsed.query.items()}
    return parsed.set(drivername=DRIVERS[backend], query=query)
