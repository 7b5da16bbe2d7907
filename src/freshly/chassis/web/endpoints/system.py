"""Health and readiness."""

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from freshly.chassis.data.schema_state import SchemaState
from freshly.chassis.errors import Problem
from freshly.chassis.resources import RedisState, Resources
from freshly.chassis.web.error_responses import problem
from freshly.chassis.web.operator_access import is_operator
from freshly.chassis.web.pages import home_page, prefers_html
from freshly.chassis.web.readiness import Disk, Readiness, Report
from freshly.settings import Settings

router = APIRouter(tags=["system"])


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


class Details(BaseModel):
    """The part of the response that only the operator sees."""

    schema_state: SchemaState | None = Field(default=None, serialization_alias="schema")
    redis: RedisState | None = None
    disk: Disk | None = None
    workers: int | None = None
    pool: Pool | None = None


class Ready(Details):
    status: str
    database: Literal["connected"]


@router.get("/", response_model=Welcome, summary="Get the name and version of the API")
async def welcome(request: Request) -> object:
    if prefers_html(request):
        return home_page(request)
    settings: Settings = request.state.resources.settings
    return Welcome(
        message=f"Welcome to {settings.app_name}",
        version=request.app.version,
        docs=f"{settings.base_path}/docs",
        health=f"{settings.base_path}/health",
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
    response_model_exclude_none=True,
    summary="Check that the server can serve (the operator sees details, as of /metrics)",
    responses={503: {"model": Problem, "description": "The database cannot be used"}},
)
@router.head("/ready", include_in_schema=False)
async def ready(request: Request) -> object:
    readiness: Readiness = request.state.readiness
    resources: Resources = request.state.resources
    report = await readiness.check(resources)
    details = _details(resources, report) if is_operator(request) else Details()
    if not report.is_ready:
        return not_ready(report, details)
    return Ready(status="ready", database="connected", **dict(details))


def _details(resources: Resources, report: Report) -> Details:
    admission = resources.db.admission
    return Details(
        schema_state=report.schema,
        redis=resources.redis_state(),
        disk=report.disk,
        workers=report.workers,
        pool=Pool(taken=admission.taken, waiting=admission.waiting, capacity=admission.capacity),
    )


def not_ready(report: Report, details: Details) -> object:
    is_connected = report.database == "connected"
    detail = "The database is being updated." if is_connected else "The database does not respond."
    members = {
        **details.model_dump(by_alias=True, exclude_none=True),
        "database": report.database,
        "status": "not_ready",
    }
    detail = f"{detail} Please try again in a moment."
    return problem(503, "not_ready", detail, headers={"Retry-After": "2"}, members=members)
