"""A language model server that misbehaves in a chosen way."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support.fake_services import serving

Behaviour = Literal["well", "silent", "huge", "malformed", "busy", "broken"]
SILENCE = 60  # seconds
HUGE = 10 * 2**20  # bytes
SECRET = "a provider's own words"  # noqa: S105 - no client may see them
POLL_INTERVAL = 0.1  # seconds


@dataclass
class BadModel:
    """A Chat Completions server that behaves as its `behaviour` says."""

    url: str = ""
    behaviour: Behaviour = "well"
    calls: int = 0
    waiting: int = 0  # callers that have not disconnected, as far as the server knows

    async def complete(self, request: Request) -> Response:
        await request.json()
        self.calls += 1
        self.waiting += 1
        try:
            return await self._respond(request)
        finally:
            self.waiting -= 1

    async def _respond(self, request: Request) -> Response:
        if self.behaviour == "silent":
            for _ in range(int(SILENCE / POLL_INTERVAL)):
                if await request.is_disconnected():
                    break
                await asyncio.sleep(POLL_INTERVAL)
            return Response(status_code=504)
        if self.behaviour == "busy":
            return JSONResponse({"error": {"message": SECRET}}, 429, headers={"Retry-After": "1"})
        if self.behaviour == "broken":
            return JSONResponse({"error": {"message": SECRET}}, 500)
        if self.behaviour == "malformed":
            return Response(f'{{"choices": [{{"{SECRET}"', media_type="application/json")
        text = "word " * (HUGE // 5) if self.behaviour == "huge" else "Soup."
        return Response(_completion(text), media_type="application/json")


def _completion(text: str) -> str:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    completion = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    return json.dumps({**completion, "choices": [choice]})


@asynccontextmanager
async def bad_model() -> AsyncIterator[BadModel]:
    model = BadModel()
    app = Starlette(routes=[Route("/v1/chat/completions", model.complete, methods=["POST"])])
    async with serving(app) as url:
        model.url = f"{url}/v1"
        yield model
