"""The numbers that an operator watches; `metrics` shows them."""

from collections.abc import Callable
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

registry = CollectorRegistry()
answers = Histogram(
    "freshly_http_request_seconds",
    "How long requests took, by the template of their route",
    ("method", "route", "status"),
    buckets=BUCKETS,
    registry=registry,
)
statements = Counter("freshly_sql_statements", "Statements sent to the database", registry=registry)
reads = Counter(
    "freshly_cache_reads",
    "Reads of the cache, by what came of them",
    ("outcome",),
    registry=registry,
)
refusals = Counter(
    "freshly_rate_limited", "Calls refused, by group of limits", ("group",), registry=registry
)
overloads = Counter(
    "freshly_overloaded", "Requests refused for want of a connection", registry=registry
)
connections = Gauge(
    "freshly_database_units",
    "Units of work by state, of at most so many (capacity)",
    ("state",),
    registry=registry,
    multiprocess_mode="livesum",
)
job_runs = Counter(
    "freshly_job_runs", "Runs of jobs, by what came of them", ("kind", "outcome"), registry=registry
)
kept = Gauge(
    "freshly_cache_bytes",
    "About what the process keeps of answers",
    registry=registry,
    multiprocess_mode="livesum",
)
model_calls = Counter(
    "freshly_model_calls",
    "Calls of the model by kind, and what came of them",
    ("kind", "outcome"),
    registry=registry,
)
model_seconds = Histogram(
    "freshly_model_seconds",
    "How long calls of the model took, its retries included",
    ("kind",),
    buckets=(0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60),
    registry=registry,
)
model_in_flight = Gauge(
    "freshly_model_in_flight",
    "Calls of the model that are under way",
    registry=registry,
    multiprocess_mode="livesum",
)
model_breakers = Gauge(
    "freshly_model_breaker",
    "Whether the model is left in peace: 0 no, 1 it is being tried, 2 yes (as of the last call)",
    ("kind",),
    registry=registry,
    multiprocess_mode="livemax",
)
model_tokens = Counter(
    "freshly_model_tokens",
    "Tokens charged to people, as the model counted them or as estimated",
    ("counted_by",),
    registry=registry,
)


@cache
def _of(method: str, route: str, status: int) -> Any:
    return answers.labels(method, route, str(status))


def observe(method: str, route: str, status: int, seconds: float) -> None:
    """`route` is a template, of which there are few; a path would be one of millions."""
    _of(method, route, status).observe(seconds)


def model_called(kind: str, outcome: str, seconds: float | None = None) -> None:
    """Without seconds it was refused before it was sent: `spared` or `full`."""
    model_calls.labels(kind, outcome).inc()
    if seconds is not None:
        model_seconds.labels(kind).observe(seconds)


def count_statements(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def _count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            statements.inc()


def count_reads() -> Callable[[str], None]:
    """To be told what came of a read of the cache."""
    counts = {name: reads.labels(name) for name in ("hit", "miss", "uncached")}
    return lambda outcome: counts[outcome].inc()
