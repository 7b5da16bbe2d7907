"""Authentication of requests."""

from starlette.types import Scope

from freshly.chassis.security.caller import Caller, authenticate


async def _caller(scope: Scope) -> Caller | Exception | None:
    """Why nobody was found is for the endpoint to say, if it asks for somebody at all."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            try:
                state, text = scope["state"], value.decode("latin-1")
                return await authenticate(state["identity"], state["db"], text)
            except Exception as error:  # noqa: BLE001 - raised where somebody is asked for
                return error
    return None
