"""Chat Completions by the openai library, which takes a second to import: so, late."""

import base64
import binascii
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import anyio

from freshly.chassis.logging import get_logger
from freshly.chassis.model import (
    Drawn,
    Manner,
    ModelAnswerUnusable,
    ModelNotConfigured,
    ModelUnavailable,
    Said,
)
from freshly.settings import Settings

if TYPE_CHECKING:
    from openai import AsyncOpenAI

logger = get_logger(__name__)

CONNECT = 3.0  # seconds
FIRST_BYTE = 20.0
TOTAL = 60.0
DRAWING = 120.0
RETRIES = 1
LONGEST_ANSWER = 200_000  # characters; a model that does not stop is stopped
BUSY = 429


class OpenAIModel:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def check(self) -> None:
        if not (self._settings.openai_api_key or self._settings.openai_base_url):
            raise ModelNotConfigured

    @cached_property
    def _client(self) -> "AsyncOpenAI":
        import openai  # noqa: PLC0415

        self.check()
        key = self._settings.openai_api_key
        return openai.AsyncOpenAI(
            api_key=key.get_secret_value() if key else "none",
            base_url=self._settings.openai_base_url,
            timeout=openai.Timeout(TOTAL, connect=CONNECT),
            max_retries=RETRIES,
        )

    async def close(self) -> None:
        if "_client" in self.__dict__:
            await self._client.close()

    async def answer(self, said: Sequence[Said], manner: Manner) -> str:
        self.check()
        with _named_errors():
            with anyio.fail_after(TOTAL):
                answer = await self._client.chat.completions.create(**self._asked(said, manner))
            text = answer.choices[0].message.content
        if not text:
            raise ModelAnswerUnusable
        return str(text)[:LONGEST_ANSWER]

    async def stream(self, said: Sequence[Said], manner: Manner) -> AsyncGenerator[str, None]:
        self.check()
        import openai  # noqa: PLC0415

        patience = openai.Timeout(TOTAL, connect=CONNECT, read=FIRST_BYTE)
        asked = self._asked(said, manner)
        length = 0
        with _named_errors():
            until = anyio.current_time() + TOTAL
            chunks = await self._client.chat.completions.create(
                **asked, stream=True, timeout=patience
            )
            try:
                async for chunk in chunks:
                    piece = chunk.choices[0].delta.content if chunk.choices else None
                    if piece:
                        length += len(piece)
                        yield piece
                    if length > LONGEST_ANSWER or anyio.current_time() > until:
                        raise ModelAnswerUnusable
            finally:
                with anyio.CancelScope(shield=True):
                    await chunks.close()
        if not length:
            raise ModelAnswerUnusable

    async def draw(self, prompt: str, *, size: str, quality: str, style: str) -> Drawn:
        self.check()
        asked: dict[str, Any] = {"size": size, "quality": quality, "style": style}
        with _named_errors():
            drawn = await self._client.images.generate(
                model=self._settings.openai_image_model,
                prompt=prompt,
                n=1,
                timeout=DRAWING,
                **asked,
            )
            first = (drawn.data or [])[0]
            content = base64.b64decode(first.b64_json) if first.b64_json else None
        if not (first.url or content):
            raise ModelAnswerUnusable
        return Drawn(url=first.url, content=content)

    def _asked(self, said: Sequence[Said], manner: Manner) -> dict[str, Any]:
        settings = self._settings
        sees = any(one.picture for one in said)
        asked: dict[str, Any] = {
            "model": settings.openai_vision_model if sees else settings.openai_model,
            "messages": [_message(one) for one in said],
            "max_tokens": manner.max_tokens or settings.openai_max_tokens,
            "temperature": (
                settings.openai_temperature if manner.temperature is None else manner.temperature
            ),
        }
        if manner.as_json:
            asked["response_format"] = {"type": "json_object"}
        return asked


def _message(said: Said) -> dict[str, Any]:
    if said.picture is None:
        return {"role": said.role, "content": said.text}
    return {
        "role": said.role,
        "content": [
            {"type": "text", "text": said.text},
            {"type": "image_url", "image_url": {"url": said.picture}},
        ],
    }


@contextmanager
def _named_errors() -> Iterator[None]:
    """What the model's server says is for the log; the caller learns whether to try again."""
    import openai  # noqa: PLC0415

    try:
        yield
    except (openai.APIConnectionError, TimeoutError) as error:
        logger.warning("model unreachable", reason=type(error).__name__)
        raise ModelUnavailable from error
    except openai.APIStatusError as error:
        logger.warning("model refused", status=error.status_code, reason=error.message[:500])
        busy = error.status_code == BUSY
        raise (ModelUnavailable if busy else ModelAnswerUnusable) from error
    except (
        openai.OpenAIError,
        binascii.Error,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
    ) as error:
        logger.warning("model answered nonsense", reason=str(error)[:500])
        raise ModelAnswerUnusable from error
