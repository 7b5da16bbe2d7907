"""`GET /metrics`, for Prometheus."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, multiprocess
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from freshly.chassis.data.transactions import Database
from freshly.chassis.errors import AppError, NotFound, problems
from freshly.chassis.jobs.admin import QueueStatistics, queue_statistics
from freshly.chassis.observability.logging import error_text, get_logger
from freshly.chassis.observability.metrics import cache_bytes, database_transactions, registry
from freshly.chassis.observability.processes import (
    METRICS_FOLDER,
    ProcessCollector,
    forget_dead_processes,
    register_process,
)
from freshly.chassis.resources import Resources
from freshly.chassis.web.operator_access import is_operator
from freshly.chassis.web.readiness import free_bytes
from freshly.settings import Settings

logger = get_logger(__name__)
router = APIRouter(tags=["system"])
COUNT_TIMEOUT_SECONDS = 2


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
    if not is_operator(request):
        raise NotFound
    resources: Resources = request.state.resources
    measure(resources.db)
    queue = await _queue(resources.db, resources.settings)
    disk = await to_thread.run_sync(free_bytes, resources.settings.folders_written)
    metrics = await to_thread.run_sync(_render, queue, disk, request.app.version)
    return Response(metrics, media_type=CONTENT_TYPE_LATEST)


@asynccontextmanager
async def measuring(db: Database) -> AsyncIterator[None]:
    """Set the gauges each second if other processes show them in their responses, too."""
    if METRICS_FOLDER not in os.environ:
        yield
        return
    register_process()
    task = asyncio.create_task(_measure_each_second(db))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _measure_each_second(db: Database) -> None:
    while True:
        measure(db)
        await asyncio.sleep(1)


def measure(db: Database) -> None:
    """Set the gauges of this process."""
    for state in ("taken", "waiting", "capacity"):
        database_transactions.labels(state).set(getattr(db.admission, state))
    cache_bytes.set(db.cache.size)


async def _queue(db: Database, settings: Settings) -> QueueStatistics | None:
    """Return the state of the queue, or None if the database does not tell it."""
    try:
        async with asyncio.timeout(COUNT_TIMEOUT_SECONDS), db.read() as session:
            return await queue_statistics(session, settings.heartbeat_timeout)
    except (SQLAlchemyError, OSError, AppError) as error:
        logger.warning("jobs not counted", error=error_text(error))
        return None


def _render(queue: QueueStatistics | None, disk: int | None, version: str) -> bytes:
    """Return the metrics of all processes. Reading their files takes milliseconds."""
    found = CollectorRegistry()
    found.register(ProcessCollector())
    found.register(_Snapshot(snapshot(queue, disk, version)))
    return generate_latest(_registry()) + generate_latest(found)


def snapshot(queue: QueueStatistics | None, disk: int | None, version: str) -> list[Metric]:
    """Return the metrics that are read at each request and that no process stores."""
    build = GaugeMetricFamily("freshly_build_info", "The running release", labels=("version",))
    build.add_metric((version,), 1)
    told = "1 if the database answered for these metrics, else 0"
    is_up = GaugeMetricFamily("freshly_database_up", told, int(queue is not None))
    metrics: list[Metric] = [build, is_up]
    if disk is not None:
        free = "Free space of the disk of the database or of the files, whichever has less"
        metrics.append(GaugeMetricFamily("freshly_disk_free_bytes", free, disk))
    if queue is not None:
        metrics += _queue_metrics(queue)
    return metrics


def _queue_metrics(queue: QueueStatistics) -> list[Metric]:
    depth = GaugeMetricFamily(
        "freshly_jobs", "Jobs that are not done, by kind and state", labels=("kind", "state")
    )
    for (kind, state), number in queue.counts.items():
        depth.add_metric((kind, state), number)
    lag = "How long the job that is due longest has waited to be taken"
    workers = "Processes that run jobs and have a recent heartbeat"
    return [
        depth,
        GaugeMetricFamily("freshly_jobs_lag_seconds", lag, queue.lag_seconds),
        GaugeMetricFamily("freshly_job_workers", workers, queue.workers),
    ]


class _Snapshot(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self.metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self.metrics


def _registry() -> CollectorRegistry:
    if METRICS_FOLDER not in os.environ:
        return registry
    forget_dead_processes()
    together = CollectorRegistry()
    multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return together
