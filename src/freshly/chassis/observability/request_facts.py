"""Facts of one request or job that its log line tells."""

from contextvars import ContextVar


class RequestFacts:
    """The statements sent, and the outcome of the last read of the cache."""

    __slots__ = ("cache", "statements")

    def __init__(self) -> None:
        self.statements = 0
        self.cache: str | None = None  # hit, miss or uncached


request_facts: ContextVar[RequestFacts | None] = ContextVar("request_facts", default=None)
