"""Diet tags, which start with these; a household's own are left alone."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from freshly.domains.recipes.models import DietTag

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


async def seed_diet_tags(session: AsyncSession) -> None:
    known = set(await session.scalars(select(DietTag.code)))
    session.add_all(
        DietTag(code=code, display_name=name) for code, name in TAGS.items() if code not in known
    )
    await session.flush()
