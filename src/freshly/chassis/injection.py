"""The one place where classes meet FastAPI's dependency injection."""

from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

T = TypeVar("T")

# Injected[PantryService] reads as a plain PantryService everywhere but in a signature
# that FastAPI calls; there it is built from its own constructor's annotations.
Injected = Annotated[T, Depends()]


def from_lifespan(name: str) -> Any:
    """A part that was made at start and lives as long as the process: `state[name]`."""

    async def look_up(request: Request) -> Any:
        return getattr(request.state, name)

    return Depends(look_up)
