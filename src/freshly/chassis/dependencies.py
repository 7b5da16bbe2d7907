"""Dependency injection: how FastAPI and the jobs build services from their constructors.

This is the only module below `web` that imports FastAPI. The others take `Depends` and `Request`
from here.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from inspect import Parameter, iscoroutinefunction, signature
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_origin

from fastapi import Depends, Request, Response
from fastapi.params import Depends as Dependency
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Depends", "Injected", "Request", "build_with", "direct", "direct_app"]

T = TypeVar("T")
Provider = Callable[..., Awaitable[Any]]
Plan = Callable[[Request, dict[Any, Any]], Awaitable[Any]]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Awaitable[Response]])

# The class that a provider builds, and the endpoints that are marked with @direct.
_class_of: dict[Provider, type] = {}
_direct: set[Callable[..., Any]] = set()

# Injected[PantryService] means PantryService to a type checker. In the signature of an endpoint or
# a constructor, FastAPI builds the service from the annotations of its own constructor.
if TYPE_CHECKING:
    Injected = Annotated[T, Depends()]
else:

    class Injected:
        def __class_getitem__(cls, item: Any) -> Any:
            return Annotated[item, Depends(_provider(item))]


@cache
def _provider(cls: type[T]) -> Provider:
    """Return the coroutine function that builds the class.

    FastAPI calls a plain class in a thread of its pool, because its constructor might block. Ours
    do not block, and the thread costs more than the rest of the injection.
    """
    provide: Provider
    if _needs_only_request(cls):
        build = _plan(cls)

        # Building all parts in one go saves FastAPI's 15 microseconds a part.
        async def provide(request: Request) -> Any:
            return await build(request, {})
    else:

        async def provide(**arguments: Any) -> T:
            return cls(**arguments)

        provide.__signature__ = signature(cls)  # type: ignore[attr-defined]  # FastAPI reads it
    _class_of[provide] = cls
    return provide


def direct(endpoint: Endpoint) -> Endpoint:
    """Mark an endpoint that is called without FastAPI, which saves 30 microseconds.

    Its parameters must be the request and what we build from it, and it must return a Response.
    """
    returns = signature(endpoint).return_annotation
    if not _needs_only_request(endpoint) or returns is not Response:
        raise TypeError(f"{endpoint.__name__} needs FastAPI: it cannot be @direct")
    _direct.add(endpoint)
    return endpoint


def direct_app(endpoint: Callable[..., Any]) -> ASGIApp | None:
    """Return the endpoint as an ASGI app, or None if it is not marked with `@direct`."""
    if endpoint not in _direct:
        return None
    call = _plan(endpoint)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response: Response = await call(Request(scope, receive, send), {})
        await response(scope, receive, send)

    return app


async def build_with(wanted: Callable[..., Any], request: Any, known: Mapping[Any, Any]) -> Any:
    """Build an object and its parts outside a request.

    `request` stands in for a request, with its `state`. `known` holds parts that exist already, by
    the function that would provide them.
    """
    return await _plan(wanted)(request, dict(known))


def _plan(call: Callable[..., Any]) -> Plan:
    """Return a function that calls `call` with its parameters, each part built once."""
    call = _class_of.get(call, call)
    parts = {
        name: _plan(dependency) if (dependency := _dependency(parameter)) else None
        for name, parameter in _parameters(call).items()
    }
    is_coroutine = iscoroutinefunction(call)

    async def build(request: Request, known: dict[Any, Any]) -> Any:
        if call in known:
            return known[call]
        values = {
            name: await part(request, known) if part else request for name, part in parts.items()
        }
        result = await call(**values) if is_coroutine else call(**values)
        known[call] = result
        return result

    return build


def _needs_only_request(call: Callable[..., Any]) -> bool:
    """Return whether it is built from nothing but the request, through classes and coroutines.

    FastAPI builds everything else, such as a session, which is opened and closed again.
    """
    call = _class_of.get(call, call)
    if not (isinstance(call, type) or iscoroutinefunction(call)):
        return False
    return all(
        parameter.annotation is Request
        or ((dependency := _dependency(parameter)) is not None and _needs_only_request(dependency))
        for parameter in _parameters(call).values()
    )


def _parameters(call: Callable[..., Any]) -> Mapping[str, Parameter]:
    return signature(call).parameters


def _dependency(parameter: Parameter) -> Callable[..., Any] | None:
    if get_origin(parameter.annotation) is not Annotated:
        return None
    for extra in get_args(parameter.annotation)[1:]:
        if isinstance(extra, Dependency):
            return extra.dependency
    return None
