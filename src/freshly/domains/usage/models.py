from datetime import date

from sqlalchemy import BigInteger, ColumnElement, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from freshly.domains.families.access import Access, Guarded, Owned, covers, exactly_one_owner


class ModelUsage(Owned, Guarded):
    """The use of the language model by a user or a family on a day in UTC."""

    __tablename__ = "model_usage"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    day: Mapped[date] = mapped_column(index=True)
    # Includes the reservations of running calls.
    tokens: Mapped[int] = mapped_column(BigInteger, default=0)
    calls: Mapped[int] = mapped_column(default=0)
    pictures: Mapped[int] = mapped_column(server_default="0", default=0)  # of pantry items

    __table_args__ = (
        UniqueConstraint("owner_user_id", "day"),
        UniqueConstraint("family_id", "day"),
        exactly_one_owner("ck_model_usage_one_owner"),
    )

    @classmethod
    def visible_to(cls, access: Access) -> ColumnElement[bool]:
        return covers(access, cls.family_id, cls.owner_user_id)
