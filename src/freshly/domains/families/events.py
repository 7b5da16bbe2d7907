from dataclasses import dataclass

from freshly.chassis.data.events import Event


@dataclass(frozen=True)
class MemberJoined(Event):
    family_id: int
    user_id: int
