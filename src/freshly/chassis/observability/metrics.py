"""Metrics for Prometheus, which `GET /metrics` shows."""

from collections.abc import Callable
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from freshly.chassis.observability.request_facts import request_facts

REQUEST_BUCKETS_SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1, 2.5, 5, 10),
)
MODEL_BUCKETS_SECONDS = (0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60)

registry = CollectorRegistry()
request_seconds = Histogram(
    "freshly_http_request_seconds",
    "Duration of requests in seconds, by the template of their route",
    ("method", "route", "status"),
    buckets=REQUEST_BUCKETS_SECONDS,
    registry=registry,
)
statements = Counter("freshly_sql_statements", "Statements sent to the database", registry=registry)
cache_reads = Counter(
    "freshly_cache_reads",
    "Reads of the cache, by outcome: hit, miss or uncached",
    ("outcome",),
    registry=registry,
)
redis_up = Gauge(
    "freshly_redis_up",
    "1 if Redis answers each server process, 0 if it does not answer one. Absent without REDIS_URL",
    ("use",),
    registry=registry,
    multiprocess_mode="livemin",
)
emails = Counter(
    "freshly_emails",
    "Emails given to the mail server, by outcome: sent or failed",
    ("outcome",),
    registry=registry,
)
account_events = Counter(
    "freshly_account_events",
    "Events of accounts, such as sign_in, by outcome: done or refused",
    ("event", "outcome"),
    registry=registry,
)
rate_limited = Counter(
    "freshly_rate_limited",
    "Calls rejected by a rate limit, by its group",
    ("group",),
    registry=registry,
)
overloads = Counter(
    "freshly_overloaded",
    "Requests rejected because the queue for database connections was full or too slow",
    registry=registry,
)
database_transactions = Gauge(
    "freshly_database_units",
    "Database transactions by state: taken, waiting, and the capacity",
    ("state",),
    registry=registry,
    multiprocess_mode="livesum",
)
job_runs = Counter(
    "freshly_job_runs",
    "Runs of jobs, by kind and outcome: done, retried, failed, stopped or lease_lost",
    ("kind", "outcome"),
    registry=registry,
)
cache_bytes = Gauge(
    "freshly_cache_bytes",
    "Approximate size of the responses cached in memory",
    registry=registry,
    multiprocess_mode="livesum",
)
model_calls = Counter(
    "freshly_model_calls",
    "Calls of the language model, by kind and outcome: answered, rejected (by the circuit breaker),"
    " full (no free slot), left (cancelled), busy, unavailable, failing or unusable",
    ("kind", "outcome"),
    registry=registry,
)
model_seconds = Histogram(
    "freshly_model_seconds",
    "Duration of calls of the language model in seconds, retries included",
    ("kind",),
    buckets=MODEL_BUCKETS_SECONDS,
    registry=registry,
)
model_in_flight = Gauge(
    "freshly_model_in_flight",
    "Calls of the language model in progress",
    registry=registry,
    multiprocess_mode="livesum",
)
model_breakers = Gauge(
    "freshly_model_breaker",
    "Circuit breaker state after the last call: 0 closed, 1 half-open, 2 open",
    ("kind",),
    registry=registry,
    multiprocess_mode="livemax",
)
model_tokens = Counter(
    "freshly_model_tokens",
    "Tokens charged to users, as counted by the model or as estimated",
    ("counted_by",),
    registry=registry,
)


# Prometheus sees no increase in a counter that begins with its first event, so alerts need these.
for _outcome in ("sent", "failed"):
    emails.labels(_outcome)
for _outcome in ("done", "refused"):
    account_events.labels("sign_in", _outcome)


@cache
def _request_histogram(method: str, route: str, status: int) -> Any:
    return request_seconds.labels(method, route, str(status))


def observe_request(method: str, route: str, status: int, seconds: float) -> None:
    """Record a request's duration.

    `route` is a template such as `/meals/{id}`. Paths would make a time series for each meal.
    """
    _request_histogram(method, route, status).observe(seconds)


def count_model_call(kind: str, outcome: str, seconds: float | None = None) -> None:
    """Count a call of the language model.

    `seconds` is None for a call that was not sent (`rejected` or `full`).
    """
    model_calls.labels(kind, outcome).inc()
    if seconds is not None:
        model_seconds.labels(kind).observe(seconds)


def count_statements(engine: AsyncEngine) -> None:
    """Count each statement that the engine sends."""

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def _count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            count_statement()


def count_statement() -> None:
    """Count a statement, also for the log line of the request that sends it."""
    statements.inc()
    if (facts := request_facts.get()) is not None:
        facts.statements += 1


def cache_read_counter() -> Callable[[str], None]:
    """Return a function that counts a read of the cache by its outcome."""
    counts = {name: cache_reads.labels(name) for name in ("hit", "miss", "uncached")}

    def count(outcome: str) -> None:
        counts[outcome].inc()
        if (facts := request_facts.get()) is not None:
            facts.cache = outcome

    return count
