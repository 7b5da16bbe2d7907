"""What an operator watches, in Prometheus' format.

With several processes behind one port each keeps its numbers in a folder, and whichever is asked
adds them up (`PROMETHEUS_MULTIPROC_DIR`, which `serve` sets).
"""

import asyncio
import math
import os
from ipaddress import ip_address

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, multiprocess
from sqlalchemy.exc import SQLAlchemyError

from freshly.chassis.cache import Cache
from freshly.chassis.database import UnitsOfWork
from freshly.chassis.errors import AppError, NotFound, problems
from freshly.chassis.gate import Gate
from freshly.chassis.jobs.operating import load_of
from freshly.chassis.logging import get_logger
from freshly.chassis.numbers import (
    connections,
    job_lag,
    job_workers,
    jobs_waiting,
    kept,
    registry,
)

logger = get_logger(__name__)
router = APIRouter(tags=["system"])
COUNTS_WITHIN = 2  # seconds


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {CONTENT_TYPE_LATEST: {}}, "description": "Prometheus' text format"},
        **problems(NotFound),
    },
    summary="Numbers for Prometheus (from private networks only)",
)
async def read_metrics(request: Request) -> Response:
    if not _is_near(request.client.host if request.client else ""):
        raise NotFound
    gate: Gate = request.state.gate
    for state in ("taken", "waiting", "capacity"):
        connections.labels(state).set(getattr(gate, state))
    answer_cache: Cache = request.state.units.cache
    kept.set(answer_cache.size)
    await _count_jobs(request.state.units)
    return Response(generate_latest(_collected()), media_type=CONTENT_TYPE_LATEST)


async def _count_jobs(units: UnitsOfWork) -> None:
    """Of all processes, so they are asked of the database; without it the other numbers come."""
    jobs_waiting.clear()
    try:
        async with asyncio.timeout(COUNTS_WITHIN), units.reading() as session:
            load = await load_of(session)
    except (SQLAlchemyError, OSError, TimeoutError, AppError) as error:
        logger.warning("jobs not counted", error=repr(error))
        job_lag.set(math.nan)
        return
    for (kind, state), number in load.depth.items():
        jobs_waiting.labels(kind, state).set(number)
    job_lag.set(load.lag)
    job_workers.set(load.workers)


def _collected() -> CollectorRegistry:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return registry
    together = CollectorRegistry()
    multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return together


def _is_near(host: str) -> bool:
    try:
        return ip_address(host).is_private
    except ValueError:
        return False
