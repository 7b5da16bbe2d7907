"""Recomputes lists after changes of stock, facts of foods, meal plans and meals."""

from datetime import UTC, date, datetime, timedelta

from freshly.chassis.data.transactions import Session
from freshly.chassis.jobs import JobQueue
from freshly.domains.grocery.jobs import Recompute
from freshly.domains.grocery.planned_repository import PlannedListRepository
from freshly.domains.ingredients.events import FactsChanged
from freshly.domains.meal_plans.events import SlotsChanged
from freshly.domains.meals.events import MealChanged
from freshly.domains.pantry.events import StockChanged

# A user who puts the shopping away changes thirty items in a row: one job covers them all.
RECOMPUTE_DELAY = timedelta(seconds=5)


async def recompute_for_stock(event: StockChanged, session: Session) -> None:
    lists = PlannedListRepository(session)
    if await lists.any_needs(
        event.ingredient_ids,
        _earliest_today(),
        family_id=event.family_id,
        person_id=event.owner_user_id,
    ):
        await _recompute(session, event.family_id, event.owner_user_id)


async def recompute_for_facts(event: FactsChanged, session: Session) -> None:
    changed = StockChanged(event.family_id, event.owner_user_id, frozenset(event.facts))
    await recompute_for_stock(changed, session)


async def recompute_for_plan(event: SlotsChanged, session: Session) -> None:
    for family_id, person_id in await PlannedListRepository(session).owners(
        event.plan_id, _earliest_today()
    ):
        await _recompute(session, family_id, person_id)


async def recompute_for_meal(event: MealChanged, session: Session) -> None:
    for family_id, person_id in await PlannedListRepository(session).owners_planning(
        event.meal_id, _earliest_today()
    ):
        await _recompute(session, family_id, person_id)


async def _recompute(session: Session, family_id: int | None, person_id: int | None) -> None:
    owner = f"f{family_id}" if family_id is not None else f"p{person_id}"
    await JobQueue(session).enqueue(
        Recompute(family_id=family_id, person_id=person_id),
        key=f"recompute:{owner}",
        delay=RECOMPUTE_DELAY,
    )


def _earliest_today() -> date:
    """Return yesterday in UTC: the earliest date that is today in any time zone.

    The job itself uses the time zone of the settings.
    """
    return (datetime.now(UTC) - timedelta(days=1)).date()
