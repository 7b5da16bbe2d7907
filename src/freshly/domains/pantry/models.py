from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from freshly.chassis.cache.invalidation import CacheTopic, InvalidatesFor
from freshly.chassis.data.base import Created, Updated
from freshly.chassis.data.quotas import CountsTowards
from freshly.chassis.data.types import Quantity
from freshly.domains.families.access import Access, Guarded, Owned, covers, exactly_one_owner
from freshly.domains.ingredients.models import Ingredient

PANTRY = CacheTopic("pantry")
# A change of any other column leaves the shopping lists as they are. The canonical amount is
# derived from the others and from the facts of the ingredient, which may have changed since.
STOCK_COLUMNS = (
    *("ingredient_id", "quantity", "unit", "expires_at"),
    *("canonical_quantity", "canonical_unit"),
)


class PantryItem(Owned, Created, Updated, Guarded):
    """A lot in a pantry: some amount of an ingredient, with one expiry date."""

    __tablename__ = "pantry_items"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    # Null in some adopted rows.
    ingredient_id: Mapped[int | None] = mapped_column(ForeignKey("ingredients.id"))
    quantity: Mapped[Decimal | None] = mapped_column(Quantity(), default=None)
    unit: Mapped[str | None] = mapped_column(String(64), default=None)
    expires_at: Mapped[date | None] = mapped_column(index=True, default=None)
    category: Mapped[str | None] = mapped_column(String(64), index=True, default=None)
    image_url: Mapped[str | None] = mapped_column(String(512), default=None)
    canonical_quantity: Mapped[Decimal | None] = mapped_column(Quantity(), default=None)
    canonical_unit: Mapped[str | None] = mapped_column(String(16), default=None)
    ingredient: Mapped[Ingredient | None] = relationship(init=False, lazy="raise", viewonly=True)

    __cache_tags__ = (InvalidatesFor(PANTRY, family="family_id", person="owner_user_id"),)
    __quotas__ = (CountsTowards("pantry_items", family="family_id", person="owner_user_id"),)
    __table_args__: Any = (
        exactly_one_owner("pantry_scope_xor"),
        Index("idx_pantry_family_expires", "family_id", "expires_at"),
        Index("idx_pantry_owner_expires", "owner_user_id", "expires_at"),
    )

    @classmethod
    def visible_to(cls, access: Access) -> ColumnElement[bool]:
        return covers(access, cls.family_id, cls.owner_user_id)

    @property
    def ingredient_name(self) -> str | None:
        return self.ingredient.name if self.ingredient else None

    def stock(self) -> Sequence[Any]:
        """Return the values that count as stock, to compare them before and after a change."""
        return [getattr(self, name) for name in STOCK_COLUMNS]

    def is_good_on(self, day: date) -> bool:
        """Return True through the day of expiry."""
        return self.expires_at is None or self.expires_at >= day
