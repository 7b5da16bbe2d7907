"""Measures stock again after the facts of its food changed."""

from freshly.chassis.data.transactions import Session
from freshly.domains.ingredients.events import FactsChanged
from freshly.domains.ingredients.service import measure
from freshly.domains.pantry.repository import StockRepository


async def measure_stock_anew(event: FactsChanged, session: Session) -> None:
    """Set the canonical amounts from the displayed ones.

    Raise QuantityTooLarge if a column cannot store one of them.
    """
    stock = StockRepository(session)
    async for batch in stock.of_foods(event.family_id, event.owner_user_id, event.facts):
        for item in batch:
            if item.quantity is None or not item.unit or item.ingredient_id is None:
                continue
            measured = measure(item.quantity, item.unit, event.facts[item.ingredient_id])
            item.canonical_quantity = measured.quantity if measured else None
            item.canonical_unit = measured.unit if measured else None
