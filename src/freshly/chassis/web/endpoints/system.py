"""Health, readiness and metrics."""

import asyncio
import os
from collections.abc import Iterable
from hmac import compare_digest
from ipaddress import ip_address
from time import monotonic
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, multiprocess
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from freshly.chassis.data.transactions import CurrentDatabase, Database
from freshly.chassis.data.watchdog import DatabaseWatchdog
from freshly.chassis.errors import AppError, NotFound, Problem, problems
from freshly.chassis.jobs.admin import queue_statistics
from freshly.chassis.observability.logging import get_logger
from freshly.chassis.observability.metrics import cache_bytes, database_transactions, registry
from freshly.chassis.web.error_responses import problem
from freshly.chassis.web.pages import home_page, prefers_html
from freshly.chassis.web.proxies import forwarded_for
from freshly.settings import Settings

logger = get_logger(__name__)
router = APIRouter(tags=["system"])
READY_TIMEOUT = 2  # seconds
# No limit counts calls of /ready, so the database is asked at most twice a second.
READY_FOR_SECONDS = 0.5
_answered_at: WeakKeyDictionary[DatabaseWatchdog, float] = WeakKeyDictionary()


class Welcome(BaseModel):
    message: str
    version: str
    docs: str
    health: str
    environment: str


class Health(BaseModel):
    status: str
    app: str
    env: str


class Pool(BaseModel):
    taken: int
    waiting: int
    capacity: int


class Ready(BaseModel):
    status: str
    database: str
    redis: str
    pool: Pool


@router.get("/", response_model=Welcome, summary="Get the name and version of the API")
async def welcome(request: Request) -> object:
    if prefers_html(request):
        return home_page(request)
    settings: Settings = request.state.resources.settings
    return Welcome(
        message=f"Welcome to {settings.app_name}",
        version=request.app.version,
        docs="/docs",
        health="/health",
        environment=settings.app_env,
    )


@router.get("/health", summary="Check that the process answers")
@router.head("/health", include_in_schema=False)
async def health(request: Request) -> Health:
    settings: Settings = request.state.resources.settings
    return Health(status="healthy", app=settings.app_name, env=settings.app_env)


@router.get(
    "/ready",
    response_model=Ready,
    summary="Check that the database answers",
    responses={503: {"model": Problem, "description": "The database does not respond"}},
)
@router.head("/ready", include_in_schema=False)
async def ready(request: Request, db: CurrentDatabase) -> object:
    try:
        if monotonic() - _answered_at.get(db.watchdog, -READY_FOR_SECONDS) > READY_FOR_SECONDS:
            async with asyncio.timeout(READY_TIMEOUT), db.read() as session:
                await session.execute(text("SELECT 1"))
            _answered_at[db.watchdog] = monotonic()
    except Exception as error:  # noqa: BLE001 - any error means "not ready"
        logger.warning("not ready", error=repr(error))
        return not_ready()
    admission = db.admission
    pool = Pool(taken=admission.taken, waiting=admission.waiting, capacity=admission.capacity)
    redis = request.state.resources.redis_state()
    return Ready(status="ready", database="connected", redis=redis, pool=pool)


def not_ready() -> object:
    detail = "The database does not respond. Please try again in a moment."
    members = {"database": "disconnected", "status": "not_ready"}
    return problem(503, "not_ready", detail, headers={"Retry-After": "2"}, members=members)


COUNT_TIMEOUT = 2  # seconds


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "content": {CONTENT_TYPE_LATEST: {}},
            "description": "Metrics in Prometheus' text format",
        },
        **problems(NotFound),
    },
    summary="Get metrics for Prometheus (with METRICS_TOKEN, or from this machine)",
)
async def read_metrics(request: Request) -> Response:
    if not _may_read_metrics(request):
        raise NotFound
    db: Database = request.state.resources.db
    for state in ("taken", "waiting", "capacity"):
        database_transactions.labels(state).set(getattr(db.admission, state))
    cache_bytes.set(db.cache.size)
    numbers = generate_latest(_registry()) + await _job_metrics(db)
    return Response(numbers, media_type=CONTENT_TYPE_LATEST)


async def _job_metrics(db: Database) -> bytes:
    """Return the metrics of jobs, read from the database. Without a database return nothing."""
    try:
        async with asyncio.timeout(COUNT_TIMEOUT), db.read() as session:
            load = await queue_statistics(session)
    except (SQLAlchemyError, OSError, AppError) as error:
        logger.warning("jobs not counted", error=repr(error))
        return b""
    depth = GaugeMetricFamily(
        "freshly_jobs", "Jobs that are not done, by kind and state", labels=("kind", "state")
    )
    for (kind, state), number in load.counts.items():
        depth.add_metric((kind, state), number)
    lag = "How long the job that is due longest has waited to be taken"
    found = CollectorRegistry()
    found.register(
        _Snapshot(
            depth,
            GaugeMetricFamily("freshly_jobs_lag_seconds", lag, value=load.lag_seconds),
            GaugeMetricFamily("freshly_job_workers", "Processes that run jobs", load.workers),
        )
    )
    return generate_latest(found)


class _Snapshot(Collector):
    """Metrics that were read just now and are stored in no process."""

    def __init__(self, *numbers: Metric) -> None:
        self.numbers = numbers

    def collect(self) -> Iterable[Metric]:
        return self.numbers


def _registry() -> CollectorRegistry:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return registry
    together = CollectorRegistry()
    multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return together


def _may_read_metrics(request: Request) -> bool:
    """Return True for the token, or without one for a client on this machine.

    A proxy on this machine has the address of this machine too, so its requests do not count.
    """
    settings: Settings = request.state.resources.settings
    if settings.metrics_token is not None:
        expected = f"Bearer {settings.metrics_token.get_secret_value()}".encode()
        return compare_digest(request.headers.get("Authorization", "").encode(), expected)
    if forwarded_for(request.scope) is not None:
        return False
    try:
        return ip_address(request.client.host if request.client else "").is_loopback
    except ValueError:
        return False
