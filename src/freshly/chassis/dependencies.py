"""The one place where classes meet FastAPI's dependency injection."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import cache
from inspect import Parameter, Signature, iscoroutinefunction, signature
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_origin

from fastapi import Depends, Request, Response
from fastapi.params import Depends as Dependency
from starlette.types import ASGIApp, Receive, Scope, Send

T = TypeVar("T")
Build = Callable[..., Awaitable[Any]]
Plan = Callable[[Request, dict[Any, Any]], Awaitable[Any]]

# Injected[PantryService] reads as a plain PantryService everywhere but in a signature
# that FastAPI calls; there it is built from its own constructor's annotations.
if TYPE_CHECKING:
    Injected = Annotated[T, Depends()]
else:

    class Injected:
        def __class_getitem__(cls, item: Any) -> Any:
            return Annotated[item, Depends(_built(item))]


@cache
def _built(cls: type[T]) -> Build:
    """The constructor as an async function.

    FastAPI calls a plain class in a thread of its pool, as it might block. Ours do not, and a hop
    to a thread and back costs more than everything else that the injection does.
    """
    if _is_simple(cls):
        return _at_once(cls)

    async def build(**parts: Any) -> T:
        return cls(**parts)

    build.__signature__ = signature(cls)  # type: ignore[attr-defined]  # for FastAPI to read
    return build


def _at_once(call: Callable[..., Any]) -> Build:
    """Builds a thing and all of its parts, which FastAPI would do at 15 microseconds a part."""
    build = _plan(call)

    async def build_from(request: Request) -> Any:
        return await build(request, {})

    build_from.made_of = frozenset(_leaves(call))  # type: ignore[attr-defined]
    build_from.plan = build  # type: ignore[attr-defined]  # as part of another: what is known stays
    return build_from


def without_framework(endpoint: Callable[..., Any]) -> ASGIApp | None:
    """An endpoint that asks for nothing but such things, and gives an answer, called directly.

    FastAPI takes 30 microseconds to find that there is nothing else to be found out.
    """
    if not _is_simple(endpoint) or signature(endpoint).return_annotation is not Response:
        return None
    call = _plan(endpoint)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response: Response = await call(Request(scope, receive, send), {})
        await response(scope, receive, send)

    return app


def _leaves(call: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    for parameter in _parameters(call).values():
        if (wanted := _dependency(parameter)) is not None:
            yield wanted
            yield from _leaves(wanted)


def is_made_of(built: Any, part: Any) -> bool:
    """Does building this thing call that?"""
    return built is part or part in getattr(built, "made_of", ())


def depends_on(dependant: Any, part: Any) -> bool:
    """Does anything that FastAPI calls for a route?"""
    return is_made_of(dependant.call, part) or any(
        depends_on(one, part) for one in dependant.dependencies
    )


def asks_for(endpoint: Callable[..., Any], part: Any) -> bool:
    """Does one of the endpoint's own parameters?"""
    wanted = map(_dependency, _parameters(endpoint).values())
    return any(is_made_of(one, part) for one in wanted if one is not None)


def _plan(call: Callable[..., Any]) -> Plan:
    planned: Plan | None = getattr(call, "plan", None)
    if planned is not None:
        return planned
    parts = {
        name: _plan(wanted) if (wanted := _dependency(parameter)) else None
        for name, parameter in _parameters(call).items()
    }
    asynchronous = iscoroutinefunction(call)

    async def build(request: Request, known: dict[Any, Any]) -> Any:
        if call in known:
            return known[call]
        values = {
            name: await part(request, known) if part else request for name, part in parts.items()
        }
        made = await call(**values) if asynchronous else call(**values)
        known[call] = made
        return made

    return build


async def build_with(wanted: Callable[..., Any], request: Any, known: Mapping[Any, Any]) -> Any:
    """A thing and its parts where no request is: `request` stands in for it, with its `state`.

    `known` are parts that are there already, by the function that would have made them.
    """
    return await _plan(wanted)(request, dict(known))


def _is_simple(call: Callable[..., Any]) -> bool:
    """Is it made of nothing but the request, by way of classes and coroutines?

    What is opened and closed again, such as a session, is for FastAPI to take care of.
    """
    if not (isinstance(call, type) or iscoroutinefunction(call)):
        return False
    return all(
        parameter.annotation is Request
        or ((wanted := _dependency(parameter)) is not None and _is_simple(wanted))
        for parameter in _parameters(call).values()
    )


def _parameters(call: Callable[..., Any]) -> Mapping[str, Parameter]:
    found: Signature = signature(call)
    return found.parameters


def _dependency(parameter: Parameter) -> Callable[..., Any] | None:
    if get_origin(parameter.annotation) is not Annotated:
        return None
    for extra in get_args(parameter.annotation)[1:]:
        if isinstance(extra, Dependency):
            return extra.dependency
    return None


def from_lifespan(name: str) -> Any:
    """A part that was made at start and lives as long as the process: `state[name]`."""

    async def look_up(request: Request) -> Any:
        return getattr(request.state, name)

    return Depends(look_up)
