"""Resources: what lives as long as the process, in the server and in a worker."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from freshly.chassis.data.events import Listeners
from freshly.chassis.data.idempotency_keys import ResponseCipher
from freshly.chassis.data.transactions import Database
from freshly.chassis.dependencies import Depends, Request
from freshly.chassis.ports.email import Mailer
from freshly.chassis.ports.llm import LanguageModel
from freshly.chassis.ports.oauth import OAuthVerifier
from freshly.chassis.ports.object_storage import ObjectStore
from freshly.chassis.rate_limits.policy import Limiter
from freshly.chassis.resilience.graceful_shutdown import GracefulShutdown
from freshly.chassis.security.caller import Identity
from freshly.chassis.security.passwords import Passwords
from freshly.chassis.security.signed_urls import UrlSigner
from freshly.settings import Settings

RedisState = Literal["unused", "connected", "away"]


@dataclass(frozen=True, slots=True)
class Resources:
    """The resources of the process, opened by `wiring/resources.py`.

    The class is here and not in `wiring`, because domains and jobs read it and may not import
    `wiring`. A request finds it as `request.state.resources`.
    """

    settings: Settings
    db: Database
    redis_state: Callable[[], RedisState]
    identity: Identity
    passwords: Passwords
    limiter: Limiter
    listeners: Listeners
    mailer: Mailer
    oauth: OAuthVerifier
    objects: ObjectStore
    llm: LanguageModel
    url_signer: UrlSigner
    response_cipher: ResponseCipher
    shutdown: GracefulShutdown


def resource(field: Any) -> Any:
    """Return the dependency that provides one field: `resource(Resources.mailer)`."""
    get = field.__get__

    async def provide(request: Request) -> Any:
        return get(request.state.resources)

    return Depends(provide)


CurrentSettings = Annotated[Settings, resource(Resources.settings)]
CurrentObjectStore = Annotated[ObjectStore, resource(Resources.objects)]
CurrentPasswords = Annotated[Passwords, resource(Resources.passwords)]
