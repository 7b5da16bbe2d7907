"""The table that tells an older release whether it may serve on a newer schema."""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from freshly.chassis.data.base import Base


class ServesSince(Base):
    """The oldest revision whose release serves on this schema, in a single row.

    Migrations write it. A release that does not know the schema's revision, because that is newer,
    serves if it knows this one.
    """

    __tablename__ = "serves_since"

    revision: Mapped[str] = mapped_column(String(32), primary_key=True)
