from dataclasses import dataclass

from freshly.chassis.data.events import Event


@dataclass(frozen=True)
class EmailChangeRequested(Event):
    user_id: int
    old_address: str
    new_address: str
