"""Chat Completions by the openai library, which takes a second to import: so, late."""

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from freshly.adapters.openai.call_limiter import CallLimiter
from freshly.adapters.openai.retries import asked_to_wait, pause_before
from freshly.chassis.observability.logging import get_logger
from freshly.chassis.ports.llm import (
    GeneratedImage,
    GenerationOptions,
    Kind,
    LlmMessage,
    ModelAnswerUnusable,
    ModelBusy,
    ModelFailing,
    ModelNotConfigured,
    ModelUnavailable,
    TokenUsage,
    kind_of,
)
from freshly.settings import Settings

if TYPE_CHECKING:
    from openai import AsyncOpenAI

logger = get_logger(__name__)

LONGEST_TOKEN = 16  # characters, four times the usual; a model that does not stop is stopped
LONGEST_TEXT_BODY = 2_000_000  # bytes, and for each token that was asked for
BYTES_AROUND_A_TOKEN = 1_000  # streamed, each comes in an event of its own
LONGEST_DRAWING = 8_000_000  # bytes; 1792 x 1024 pixels that do not compress, in base64
MOST_TOKENS = 10_000_000  # of one call; a server that counts more miscounts
BUSY, BAD_REQUEST, UNPROCESSABLE, BROKEN = 429, 400, 422, 500
TRIED_WITHOUT_USAGE = (BAD_REQUEST, UNPROCESSABLE)

T = TypeVar("T")


class TooMuch(ValueError):
    """More bytes than any answer has."""


class OpenAIModel:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.guard = CallLimiter(settings)
        self._counts_streams = True  # until its server refuses to be asked for it
        self._preparing = asyncio.Lock()

    def check(self, kind: Kind) -> None:
        if not (self._settings.openai_api_key or self._settings.openai_base_url):
            raise ModelNotConfigured
        self.guard.check(kind)

    @cached_property
    def _client(self) -> "AsyncOpenAI":
        import httpx2  # noqa: PLC0415
        import openai  # noqa: PLC0415

        settings = self._settings
        key = settings.openai_api_key
        patience = openai.Timeout(
            settings.openai_timeout,
            connect=settings.openai_connect_timeout,
            read=settings.openai_first_byte_timeout,
        )
        return openai.AsyncOpenAI(
            api_key=key.get_secret_value() if key else "none",
            base_url=settings.openai_base_url,
            max_retries=0,  # by ourselves: within the time of the whole call
            default_headers={"Accept-Encoding": "identity"},
            http_client=httpx2.AsyncClient(
                timeout=patience,
                limits=httpx2.Limits(max_connections=settings.openai_max_calls),
                event_hooks={"response": [self._bounded]},
            ),
        )

    async def _prepared(self) -> None:
        """Imports in a thread, the first time: everybody else would stand still for a second."""
        async with self._preparing:
            if "_client" not in self.__dict__:
                await asyncio.to_thread(lambda: self._client)

    async def close(self) -> None:
        if "_client" in self.__dict__:
            await self._client.close()

    async def stream(
        self, said: Sequence[LlmMessage], manner: GenerationOptions
    ) -> AsyncGenerator[str | TokenUsage, None]:
        """Asked for in pieces even where the whole is wanted: so silence is told from slowness, and
        the model stops when the connection is closed. A server that knows no pieces may answer with
        the whole."""
        kind = kind_of(said)
        self.check(kind)
        await self._prepared()
        async with self.guard.call(kind):
            until = asyncio.get_running_loop().time() + self._settings.openai_timeout
            asked = self._asked(said, manner)
            length, longest = 0, LONGEST_TOKEN * asked["max_tokens"]
            async with aclosing(self._pieces(asked, until)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, str):
                        length += len(piece)
                        if length > longest:
                            logger.warning("model does not stop", characters=length)
                            raise ModelAnswerUnusable
                    yield piece
            if not length:
                raise ModelAnswerUnusable

    async def _pieces(
        self, asked: dict[str, Any], until: float
    ) -> AsyncGenerator[str | TokenUsage, None]:
        with _named_errors():
            answer = await self._begun(asked, until)
            try:
                found = _whole(answer) if _is_json(answer) else aiter(answer)
                while True:
                    async with asyncio.timeout_at(until):
                        chunk = await anext(found, None)
                    if chunk is None:
                        return
                    if text := _text_of(chunk):
                        yield text
                    if spent := _spent(_part(chunk, "usage")):
                        yield spent
            finally:
                with anyio.CancelScope(shield=True):
                    await answer.close()

    async def _begun(self, asked: dict[str, Any], until: float) -> Any:
        """The stream, of which nothing was read yet."""
        import openai  # noqa: PLC0415

        if self._counts_streams:
            counted = {**asked, "stream_options": {"include_usage": True}}
            try:
                return await self._tried(
                    lambda: self._client.chat.completions.create(**counted, stream=True), until
                )
            except openai.APIStatusError as error:
                if error.status_code not in TRIED_WITHOUT_USAGE:
                    raise
        begun = await self._tried(
            lambda: self._client.chat.completions.create(**asked, stream=True), until
        )
        self._counts_streams = False
        return begun

    async def generate_image(
        self, prompt: str, *, size: str, quality: str, style: str, as_bytes: bool = False
    ) -> GeneratedImage:
        self.check("image")
        await self._prepared()
        total = self._settings.openai_timeout
        asked: dict[str, Any] = {"size": size, "quality": quality, "style": style}
        if as_bytes and self._settings.openai_image_model.startswith("dall-e"):
            asked["response_format"] = "b64_json"  # later models know no other, and not the word
        async with self.guard.call("image"):
            until = asyncio.get_running_loop().time() + total
            with _named_errors():
                drawn = await self._tried(
                    lambda: self._client.images.generate(
                        model=self._settings.openai_image_model,
                        prompt=prompt,
                        n=1,
                        timeout=self._patience_for_the_whole(),
                        **asked,
                    ),
                    until,
                )
                first = (drawn.data or [])[0]
                content = base64.b64decode(first.b64_json) if first.b64_json else None
                url = first.url if content is None else None
            if not content and (as_bytes or not _is_address(url)):
                raise ModelAnswerUnusable
            return GeneratedImage(url=url, content=content, spent=_spent(drawn.usage))

    def _patience_for_the_whole(self) -> Any:
        """A picture comes at once: its first byte is as late as its last."""
        import openai  # noqa: PLC0415

        settings = self._settings
        return openai.Timeout(settings.openai_timeout, connect=settings.openai_connect_timeout)

    async def _tried(self, call: Callable[[], Awaitable[T]], until: float) -> T:
        """Again where that can help, and while there is time. What timed out is not tried again:
        its time is gone, and the model may be at work on it."""
        import openai  # noqa: PLC0415

        tries = 0
        while True:
            try:
                async with asyncio.timeout_at(until):
                    return await call()
            except openai.APITimeoutError:
                raise
            except (openai.APIConnectionError, openai.APIStatusError) as error:
                tries += 1
                pause = pause_before(tries, error, until)
                if isinstance(error.__cause__, TooMuch) or tries > self._settings.openai_retries:
                    raise
                if pause is None:
                    raise
                logger.info("model is asked again", tries=tries, reason=type(error).__name__)
            await asyncio.sleep(pause)

    async def _bounded(self, response: Any) -> None:
        """Bytes are counted as they come, and none are unpacked: a little may hide a lot."""
        draws = response.request.url.path.endswith("/images/generations")
        most = LONGEST_DRAWING if draws else LONGEST_TEXT_BODY
        if not draws:
            most += BYTES_AROUND_A_TOKEN * self._settings.openai_max_tokens
        packed = response.headers.get("content-encoding", "identity") != "identity"
        response.stream = _bounded_stream(response.stream, 0 if packed else most)

    def _asked(self, said: Sequence[LlmMessage], manner: GenerationOptions) -> dict[str, Any]:
        settings = self._settings
        sees = kind_of(said) == "vision"
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


def _bounded_stream(stream: Any, most: int) -> Any:
    import httpx2  # noqa: PLC0415

    class Bounded(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            received = 0
            async for part in stream:
                received += len(part)
                if received > most:
                    raise TooMuch(f"more than {most} bytes")
                yield part

        async def aclose(self) -> None:
            await stream.aclose()

    return Bounded()


def _message(said: LlmMessage) -> dict[str, Any]:
    if said.picture is None:
        return {"role": said.role, "content": said.text}
    return {
        "role": said.role,
        "content": [
            {"type": "text", "text": said.text},
            {"type": "image_url", "image_url": {"url": said.picture}},
        ],
    }


def _is_json(answer: Any) -> bool:
    return str(answer.response.headers.get("content-type", "")).startswith("application/json")


async def _whole(answer: Any) -> AsyncIterator[Any]:
    yield json.loads(await answer.response.aread())


def _part(whole: Any, name: str) -> Any:
    """Of an object of the library, or of JSON that it did not see."""
    return whole.get(name) if isinstance(whole, dict) else getattr(whole, name, None)


def _text_of(chunk: Any) -> str:
    """Without what no database keeps, and no JSON carries: NUL, and halves of characters."""
    choices = _part(chunk, "choices")
    if not choices:
        return ""
    said = _part(choices[0], "delta") or _part(choices[0], "message")
    text = _part(said, "content")
    if text is None:
        return ""
    if not isinstance(text, str):
        raise TypeError("content is no text")
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _spent(usage: Any) -> TokenUsage | None:
    total = _part(usage, "total_tokens")
    return TokenUsage(total) if type(total) is int and 0 < total < MOST_TOKENS else None


def _is_address(url: object) -> bool:
    return isinstance(url, str) and url.startswith(("https://", "http://"))


@contextmanager
def _named_errors() -> Iterator[None]:
    """What the model's server says is for the log; the caller learns whether to try again."""
    import openai  # noqa: PLC0415

    try:
        yield
    except (openai.APIConnectionError, TimeoutError) as error:
        logger.warning("model unreachable", reason=type(error).__name__)
        raise (
            ModelAnswerUnusable() if isinstance(error.__cause__, TooMuch) else ModelUnavailable()
        ) from error
    except openai.APIStatusError as error:
        logger.warning("model refused", status=error.status_code, reason=error.message[:500])
        if error.status_code == BUSY:
            raise ModelBusy(asked_to_wait(error.response.headers) or 5) from error
        raise (ModelFailing if error.status_code >= BROKEN else ModelAnswerUnusable) from error
    except (
        openai.OpenAIError,
        binascii.Error,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        RecursionError,
    ) as error:
        logger.warning("model answered nonsense", reason=str(error)[:500])
        raise ModelAnswerUnusable from error
