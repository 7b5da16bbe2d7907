"""A model that misbehaves in whatever way it is told to."""

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

GenerationOptions = Literal["well", "silent", "huge", "malformed", "busy", "broken"]
SILENCE = 60  # seconds
HUGE = 10 * 2**20  # bytes
SECRET = "a provider's own words"  # noqa: S105 - nobody may read them
LOOK = 0.1  # seconds


@dataclass
class BadModel:
    url: str = ""
    manner: GenerationOptions = "well"
    asked: int = 0
    inside: int = 0  # callers that wait, as far as is known

    async def complete(self, request: Request) -> Response:
        await request.json()
        self.asked += 1
        self.inside += 1
        try:
            return await self._answer(request)
        finally:
            self.inside -= 1

    async def _answer(self, request: Request) -> Response:
        if self.manner == "silent":
            for _ in range(int(SILENCE / LOOK)):
                if await request.is_disconnected():
                    break
                await asyncio.sleep(LOOK)
            return Response(status_code=504)
        if self.manner == "busy":
            return JSONResponse({"error": {"message": SECRET}}, 429, headers={"Retry-After": "1"})
        if self.manner == "broken":
            return JSONResponse({"error": {"message": SECRET}}, 500)
        if self.manner == "malformed":
            return Response(f'{{"choices": [{{"{SECRET}"', media_type="application/json")
        text = "word " * (HUGE // 5) if self.manner == "huge" else "Soup."
        return Response(_completion(text), media_type="application/json")


def _completion(text: str) -> str:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    return json.dumps({**answer, "choices": [choice]})


@asynccontextmanager
async def bad_model() -> AsyncIterator[BadModel]:
    model = BadModel()
    app = Starlette(routes=[Route("/v1/chat/completions", model.complete, methods=["POST"])])
    async with serving(app) as url:
        model.url = f"{url}/v1"
        yield model
