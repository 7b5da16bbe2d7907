"""Checks the foods that users name in their preferences."""

from freshly.chassis.data.transactions import Session
from freshly.domains.families.access import Access
from freshly.domains.ingredients.repository import IngredientRepository
from freshly.domains.preferences.errors import FoodNotFound
from freshly.domains.preferences.events import FoodsNamed


async def ensure_foods_are_visible(event: FoodsNamed, session: Session) -> None:
    """Raise FoodNotFound if the user cannot see one of the ingredients."""
    access = await Access.of(event.user_id, session)
    if not await IngredientRepository(session, access).are_visible(event.ingredient_ids):
        raise FoodNotFound
