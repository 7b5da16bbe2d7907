"""How much a list may hold: each response about it stays below 8 MB.

The response of `POST /grocery-lists/add-from-recipe` has the lines twice, and the explanation
has them beside the needs.
"""

from collections.abc import Iterable, Sized

from msgspec.json import encode

from freshly.domains.grocery.errors import ListFull
from freshly.domains.grocery.models import GroceryListItem, GroceryNeed

MAX_BYTES = 3_500_000  # of the lines of a list, and of the needs that explain them
LINE_BYTES = 1_400  # of a line with the longest name, without its note
FOOD_BYTES = 1_200  # of a food that is explained
NEED_BYTES = 150  # of a need, without the name of its meal


def ensure_room(items: Iterable[GroceryListItem]) -> None:
    """Raise ListFull if a list cannot hold all these lines."""
    ensure_fits(sum(LINE_BYTES + note_bytes(item.note) for item in items))


def ensure_fits(size: int) -> None:
    """Raise ListFull if the lines of a list take so many bytes."""
    if size > MAX_BYTES:
        raise ListFull


def note_bytes(note: str | None) -> int:
    """Return the bytes of a note in a response."""
    return len(encode(note)) if note else 0


def ensure_explicable(foods: Sized, needs: Iterable[GroceryNeed]) -> None:
    """Raise ListFull if the explanation of a list cannot hold all these needs."""
    names = sum(NEED_BYTES + note_bytes(need.meal_name) for need in needs)
    ensure_fits(len(foods) * FOOD_BYTES + names)
