from dataclasses import dataclass

from freshly.chassis.data.events import Event


@dataclass(frozen=True)
class FoodsNamed(Event):
    """A user's preferences name these ingredients, which they did not name before."""

    user_id: int
    ingredient_ids: frozenset[int]
