"""Inserts the diet tags that ship with Freshly, and leaves all others alone."""

from freshly.chassis.data.transactions import Session
from freshly.domains.recipes.models import DietTag
from freshly.domains.recipes.repository import DietTagRepository

TAGS = {
    "vegetarian": "Vegetarian",
    "vegan": "Vegan",
    "pescatarian": "Pescatarian",
    "halal": "Halal",
    "kosher": "Kosher",
    "gluten_free": "Gluten free",
    "dairy_free": "Dairy free",
    "nut_free": "Nut free",
    "low_carb": "Low carb",
    "keto": "Keto",
    "paleo": "Paleo",
    "high_protein": "High protein",
}


async def seed_diet_tags(session: Session) -> None:
    tags = DietTagRepository(session)
    known = {tag.code for tag in await tags.all()}
    await tags.add(
        DietTag(code=code, display_name=name) for code, name in TAGS.items() if code not in known
    )
