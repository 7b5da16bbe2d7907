"""The lists that the app shows first, read into the cache for whoever was here lately."""

from time import monotonic

from freshly.chassis.cache.store import Off
from freshly.chassis.data.pagination import ListQuery
from freshly.chassis.data.transactions import UnitsOfWork
from freshly.chassis.jobs import Run
from freshly.domains.account.jobs import WarmUp
from freshly.domains.account.repository import lately_here
from freshly.domains.families.access import Access
from freshly.domains.families.service import MyFamilies
from freshly.domains.grocery.schemas import GroceryListQuery
from freshly.domains.grocery.service import MyLists
from freshly.domains.meal_plans.service import PlanLists
from freshly.domains.meals.service import MyMeals
from freshly.domains.pantry.service import PantryShelves

MOST_PEOPLE = 200
LONGEST = 10.0  # seconds; it is a courtesy, and others want the database too


async def warm_up(_job: WarmUp, run: Run) -> None:
    """Into Redis, from wherever it runs; into the memory of a server that is alone."""
    if isinstance(run.units.cache.versions, Off):
        return
    until = monotonic() + LONGEST
    async with run.reading() as session:
        people = await lately_here(session, MOST_PEOPLE)
    for user_id in people:
        if monotonic() > until:
            return
        async with run.reading() as session:
            access = await Access.of(user_id, session)
        await _read_what_is_shown_first(access, run.units)


async def _read_what_is_shown_first(access: Access, units: UnitsOfWork) -> None:
    await MyFamilies(access, units).page()
    await MyMeals(access, units).page(ListQuery())
    for family_id in (None, *access.roles):
        await PantryShelves(access, units).page(family_id, ListQuery())
        await MyLists(access, units).page(family_id, GroceryListQuery())
        await PlanLists(access, units).page(family_id, ListQuery())
