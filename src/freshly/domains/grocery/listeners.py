"""What is in a kitchen, and what is planned, decides what is to be bought."""

from datetime import UTC, date, datetime, timedelta

from freshly.chassis.data.transactions import Session
from freshly.chassis.jobs import JobQueue
from freshly.domains.grocery.jobs import Recompute
from freshly.domains.grocery.repository import PlannedListRepository
from freshly.domains.meal_plans.events import SlotsChanged
from freshly.domains.meals.events import MealChanged
from freshly.domains.pantry.events import StockChanged

SOON = timedelta(seconds=5)  # whoever puts the shopping away changes thirty items at once


async def recompute_for_stock(news: StockChanged, session: Session) -> None:
    lists = PlannedListRepository(session)
    if await lists.need(
        news.ingredient_ids, _day(), family_id=news.family_id, person_id=news.owner_user_id
    ):
        await _recompute(session, news.family_id, news.owner_user_id)


async def recompute_for_plan(news: SlotsChanged, session: Session) -> None:
    for family_id, person_id in await PlannedListRepository(session).owners(news.plan_id, _day()):
        await _recompute(session, family_id, person_id)


async def recompute_for_meal(news: MealChanged, session: Session) -> None:
    for family_id, person_id in await PlannedListRepository(session).planners(news.meal_id, _day()):
        await _recompute(session, family_id, person_id)


async def _recompute(session: Session, family_id: int | None, person_id: int | None) -> None:
    owner = f"f{family_id}" if family_id is not None else f"p{person_id}"
    await JobQueue(session).enqueue(
        Recompute(family_id=family_id, person_id=person_id), key=f"recompute:{owner}", delay=SOON
    )


def _day() -> date:
    """When it is still today somewhere; the job knows the household's time zone."""
    return (datetime.now(UTC) - timedelta(days=1)).date()
