"""The lists that the app shows first, read into the cache for whoever was here lately."""

from time import monotonic

from freshly.chassis.cache.versions import DisabledVersions
from freshly.chassis.data.pagination import ListQuery
from freshly.chassis.data.transactions import Database
from freshly.chassis.jobs import JobContext
from freshly.domains.account.jobs import WarmUp
from freshly.domains.account.repository import lately_here
from freshly.domains.families.access import Access
from freshly.domains.families.service import FamilyListing
from freshly.domains.grocery.schemas import GroceryListQuery
from freshly.domains.grocery.service import GroceryListing
from freshly.domains.meal_plans.service import PlanLists
from freshly.domains.meals.service import MealListing
from freshly.domains.pantry.service import PantryListing

MOST_PEOPLE = 200
LONGEST = 10.0  # seconds; it is a courtesy, and others want the database too


async def warm_up(_job: WarmUp, run: JobContext) -> None:
    """Into Redis, from wherever it runs; into the memory of a server that is alone."""
    if isinstance(run.db.cache.versions, DisabledVersions):
        return
    until = monotonic() + LONGEST
    async with run.read() as session:
        people = await lately_here(session, MOST_PEOPLE)
    for user_id in people:
        if monotonic() > until:
            return
        async with run.read() as session:
            access = await Access.of(user_id, session)
        await _read_what_is_shown_first(access, run.db)


async def _read_what_is_shown_first(access: Access, db: Database) -> None:
    await FamilyListing(access, db).page()
    await MealListing(access, db).page(ListQuery())
    for family_id in (None, *access.roles):
        await PantryListing(access, db).page(family_id, ListQuery())
        await GroceryListing(access, db).page(family_id, GroceryListQuery())
        await PlanLists(access, db).page(family_id, ListQuery())
