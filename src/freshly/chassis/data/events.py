"""Events: a domain tells the domains above it what has happened, within the same transaction.

The domain declares an Event, and `wiring/resources` lists its listeners. A listener's changes are
committed together with the change that the event is about, or not at all.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from freshly.chassis.data.transactions import DbSession
from freshly.chassis.dependencies import Request


class Event:
    """Something that has happened: a frozen dataclass of ids."""


Listener = Callable[[Any, AsyncSession], Awaitable[None]]
Listeners = Mapping[type[Event], Sequence[Listener]]


@dataclass
class EventBus:
    """Calls the listeners of an event."""

    request: Request
    session: DbSession

    async def publish(self, event: Event) -> None:
        """Call each listener in turn. A listener's error is the publisher's."""
        listeners: Listeners = self.request.state.resources.listeners
        for listener in listeners.get(type(event), ()):
            await listener(event, self.session)
