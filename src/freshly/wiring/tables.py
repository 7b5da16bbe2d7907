"""All tables, for migrations and for the start of a process."""

from sqlalchemy import MetaData

from freshly.chassis.data import idempotency_keys as _idempotency_keys  # noqa: F401 - defines a table
from freshly.chassis.data import serves_since as _serves_since  # noqa: F401 - defines a table
from freshly.chassis.data.base import Base
from freshly.chassis.jobs import models as _jobs  # noqa: F401 - defines tables
from freshly.wiring.registry import DOMAINS


def all_tables() -> MetaData:
    """Import the tables of all domains and return their metadata."""
    for domain in DOMAINS:
        domain.import_models()
    return Base.metadata
