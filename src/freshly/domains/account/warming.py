"""Reads the lists that the app shows first into the cache, for recently active users."""

from datetime import timedelta
from time import monotonic

from freshly.chassis.cache.versions import DisabledVersions
from freshly.chassis.data.pagination import ListQuery
from freshly.chassis.data.transactions import Database
from freshly.chassis.jobs import JobContext
from freshly.domains.account.jobs import WarmUp
from freshly.domains.account.repository import recently_active_users
from freshly.domains.chat.service import ConversationListing
from freshly.domains.families.access import Access
from freshly.domains.families.service import FamilyListing
from freshly.domains.grocery.schemas import GroceryListQuery
from freshly.domains.grocery.service import GroceryListing
from freshly.domains.meal_plans.service import MealPlanListing
from freshly.domains.meals.service import MealListing
from freshly.domains.pantry.service import PantryListing

MAX_USERS = 200
FIRST_CONVERSATIONS = 20  # as many as the app asks for
MAX_DURATION = timedelta(seconds=10)  # warming must not compete with requests for long


async def warm_up(_job: WarmUp, context: JobContext) -> None:
    """Fill the cache: Redis from any process, or the memory of the only process."""
    if isinstance(context.db.cache.versions, DisabledVersions):
        return
    deadline = monotonic() + MAX_DURATION.total_seconds()
    async with context.read() as session:
        user_ids = await recently_active_users(session, MAX_USERS)
    for user_id in user_ids:
        if monotonic() > deadline:
            return
        async with context.read() as session:
            access = await Access.of(user_id, session)
        await _read_first_lists(access, context.db)


async def _read_first_lists(access: Access, db: Database) -> None:
    await FamilyListing(access, db).page()
    await MealListing(access, db).page(ListQuery())
    await ConversationListing(access, db).page(0, FIRST_CONVERSATIONS)
    for family_id in (None, *access.roles):
        await PantryListing(access, db).page(family_id, ListQuery())
        await GroceryListing(access, db).page(family_id, GroceryListQuery())
        await MealPlanListing(access, db).page(family_id, ListQuery())
