"""What an operator watches, in Prometheus' format.

With several processes behind one port each keeps its numbers in a folder, and whichever is asked
adds them up (`PROMETHEUS_MULTIPROC_DIR`, which `serve` sets).
"""

import os
from ipaddress import ip_address

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, multiprocess

from freshly.chassis.cache import Cache
from freshly.chassis.errors import NotFound, problems
from freshly.chassis.gate import Gate
from freshly.chassis.numbers import connections, kept, registry

router = APIRouter(tags=["system"])


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
    return Response(generate_latest(_collected()), media_type=CONTENT_TYPE_LATEST)


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
