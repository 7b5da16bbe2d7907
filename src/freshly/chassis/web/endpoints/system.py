"""Is the process alive, and can it do its work?"""

import asyncio

from fastapi import APIRouter, Request
from pydantic import BaseModel
from sqlalchemy import text

from freshly.chassis.data.transactions import CurrentDatabase
from freshly.chassis.errors import Problem, problem
from freshly.chassis.observability.logging import get_logger
from freshly.settings import Settings

logger = get_logger(__name__)
router = APIRouter(tags=["system"])
READY_WITHIN = 2  # seconds


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


@router.get("/", summary="What this is")
async def welcome(request: Request) -> Welcome:
    settings: Settings = request.state.resources.settings
    return Welcome(
        message=f"Welcome to {settings.app_name}",
        version=request.app.version,
        docs="/docs",
        health="/health",
        environment=settings.app_env,
    )


@router.get("/health", summary="The process answers")
async def health(request: Request) -> Health:
    settings: Settings = request.state.resources.settings
    return Health(status="healthy", app=settings.app_name, env=settings.app_env)


@router.get(
    "/ready",
    response_model=Ready,
    summary="The database answers too",
    responses={503: {"model": Problem, "description": "The database does not answer"}},
)
async def ready(request: Request, db: CurrentDatabase) -> object:
    try:
        async with asyncio.timeout(READY_WITHIN), db.read() as session:
            await session.execute(text("SELECT 1"))
    except Exception as error:  # noqa: BLE001 - whatever it is, the answer is "not ready"
        logger.warning("not ready", error=repr(error))
        return not_ready()
    admission = db.admission
    pool = Pool(taken=admission.taken, waiting=admission.waiting, capacity=admission.capacity)
    redis = request.state.resources.redis_state()
    return Ready(status="ready", database="connected", redis=redis, pool=pool)


def not_ready() -> object:
    detail = "The database does not answer"
    members = {"database": "disconnected", "status": "not_ready"}
    return problem(503, "not_ready", detail, headers={"Retry-After": "2"}, members=members)
