"""News from a domain to those above it, told within the same unit of work.

The domain where something happens declares an Event; `app` says who listens. What a listener
writes is committed with what happened, or not at all.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from freshly.chassis.data.transactions import DbSession
from freshly.chassis.dependencies import Request


class Event:
    """Something that has happened; a frozen dataclass of ids."""


Listener = Callable[[Any, AsyncSession], Awaitable[None]]
Listeners = Mapping[type[Event], Sequence[Listener]]


@dataclass
class EventBus:
    request: Request
    session: DbSession

    async def publish(self, event: Event) -> None:
        listeners: Listeners = self.request.state.resources.listeners
        for listener in listeners.get(type(event), ()):
            await listener(event, self.session)
