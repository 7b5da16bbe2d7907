"""The language model, called with the openai library.

The library takes a second to import, so it is imported by the first call.
"""

import asyncio
import base64
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from freshly.adapters.openai.call_limiter import CallLimiter
from freshly.adapters.openai.chunks import chunks_of, text_of, usage_of
from freshly.adapters.openai.errors import translated_errors
from freshly.adapters.openai.response_size import ResponseTooLarge, limit_response_size
from freshly.adapters.openai.retries import retry_delay
from freshly.chassis.observability.logging import get_logger
from freshly.chassis.observability.tracing import tracing
from freshly.chassis.ports.llm import (
    GeneratedImage,
    GenerationOptions,
    LlmMessage,
    ModelAnswerUnusable,
    ModelKind,
    ModelNotConfigured,
    TokenUsage,
    kind_of,
)
from freshly.settings import Settings

if TYPE_CHECKING:
    from openai import AsyncOpenAI

logger = get_logger(__name__)

# Four times the usual length. A model that ignores its limit of tokens is cut off there.
MAX_CHARACTERS_PER_TOKEN = 16
BAD_REQUEST, UNPROCESSABLE = 400, 422
UNKNOWN_OPTION_STATUSES = (BAD_REQUEST, UNPROCESSABLE)

T = TypeVar("T")


class OpenAIModel:
    """Implements LanguageModel."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.call_limiter = CallLimiter(settings)
        # Set to False once the server rejects the option `include_usage` for streams.
        self._supports_stream_usage = True
        self._import_lock = asyncio.Lock()

    def ensure_available(self, kind: ModelKind) -> None:
        if not (self._settings.openai_api_key or self._settings.openai_base_url):
            raise ModelNotConfigured
        self.call_limiter.ensure_available(kind)

    @cached_property
    def _client(self) -> "AsyncOpenAI":
        import httpx2  # noqa: PLC0415 - imported late, as the module says
        import openai  # noqa: PLC0415 - imported late, as the module says

        settings = self._settings
        key = settings.openai_api_key
        timeout = openai.Timeout(
            settings.openai_timeout,
            connect=settings.openai_connect_timeout,
            read=settings.openai_first_byte_timeout,
        )
        return openai.AsyncOpenAI(
            api_key=key.get_secret_value() if key else "none",
            base_url=settings.openai_base_url,
            max_retries=0,  # `_with_retries` keeps to the deadline of the whole call
            default_headers={"Accept-Encoding": "identity"},
            http_client=httpx2.AsyncClient(
                timeout=timeout,
                limits=httpx2.Limits(max_connections=settings.openai_max_calls),
                event_hooks={"request": [_name_trace], "response": [self._limit_response_size]},
            ),
        )

    async def _import_library(self) -> None:
        """Import in a thread at the first call, since the import would block the event loop."""
        async with self._import_lock:
            if "_client" not in self.__dict__:
                await asyncio.to_thread(lambda: self._client)

    async def close(self) -> None:
        if "_client" in self.__dict__:
            await self._client.close()

    async def stream(
        self, messages: Sequence[LlmMessage], options: GenerationOptions
    ) -> AsyncGenerator[str | TokenUsage, None]:
        """Yield the answer in chunks. Closing the generator closes the connection to the model.

        Callers that need the whole answer use it too, because a stream shows whether the server is
        silent or slow, and because the model stops when the connection closes. A server that cannot
        stream may respond with the whole answer.
        """
        kind = kind_of(messages)
        self.ensure_available(kind)
        await self._import_library()
        async with self.call_limiter.call(kind):
            deadline = asyncio.get_running_loop().time() + self._settings.openai_timeout
            body = self._request_body(messages, options)
            length, max_length = 0, MAX_CHARACTERS_PER_TOKEN * body["max_tokens"]
            async with aclosing(self._chunks(body, deadline)) as chunks:
                async for chunk in chunks:
                    if isinstance(chunk, str):
                        length += len(chunk)
                        if length > max_length:
                            logger.warning("model exceeds its token limit", characters=length)
                            raise ModelAnswerUnusable
                    yield chunk
            if not length:
                raise ModelAnswerUnusable

    async def _chunks(
        self, body: dict[str, Any], deadline: float
    ) -> AsyncGenerator[str | TokenUsage, None]:
        with translated_errors():
            response = await self._start_stream(body, deadline)
            try:
                chunks = chunks_of(response)
                while True:
                    async with asyncio.timeout_at(deadline):
                        chunk = await anext(chunks, None)
                    if chunk is None:
                        return
                    if text := text_of(chunk):
                        yield text
                    if usage := usage_of(chunk):
                        yield usage
            finally:
                with anyio.CancelScope(shield=True):
                    await response.close()

    async def _start_stream(self, body: dict[str, Any], deadline: float) -> Any:
        """Return the response before any chunk is read.

        Asks for the token usage. If the server rejects the request, tries without it, and does not
        ask again if that succeeds.
        """
        import openai  # noqa: PLC0415 - imported late, as the module says

        if self._supports_stream_usage:
            with_usage = {**body, "stream_options": {"include_usage": True}}
            try:
                return await self._with_retries(
                    lambda: self._client.chat.completions.create(**with_usage, stream=True),
                    deadline,
                )
            except openai.APIStatusError as error:
                if error.status_code not in UNKNOWN_OPTION_STATUSES:
                    raise
        response = await self._with_retries(
            lambda: self._client.chat.completions.create(**body, stream=True), deadline
        )
        self._supports_stream_usage = False
        return response

    async def generate_image(
        self, prompt: str, *, size: str, quality: str, style: str, as_bytes: bool = False
    ) -> GeneratedImage:
        """Return a picture. With `as_bytes` the result never is a URL to be fetched."""
        self.ensure_available("image")
        await self._import_library()
        options: dict[str, Any] = {"size": size, "quality": quality, "style": style}
        if as_bytes and self._settings.openai_image_model.startswith("dall-e"):
            # Later models always return bytes, and reject this option.
            options["response_format"] = "b64_json"
        async with self.call_limiter.call("image"):
            deadline = asyncio.get_running_loop().time() + self._settings.openai_timeout
            with translated_errors():
                response = await self._with_retries(
                    lambda: self._client.images.generate(
                        model=self._settings.openai_image_model,
                        prompt=prompt,
                        n=1,
                        timeout=self._image_timeout(),
                        **options,
                    ),
                    deadline,
                )
                image = (response.data or [])[0]
                content = base64.b64decode(image.b64_json) if image.b64_json else None
                url = image.url if content is None else None
            if not content and (as_bytes or not _is_http_url(url)):
                raise ModelAnswerUnusable
            return GeneratedImage(url=url, content=content, usage=usage_of(response))

    def _image_timeout(self) -> Any:
        """Return a timeout that allows the first byte to be late: a picture arrives all at once."""
        import openai  # noqa: PLC0415 - imported late, as the module says

        settings = self._settings
        return openai.Timeout(settings.openai_timeout, connect=settings.openai_connect_timeout)

    async def _with_retries(self, call: Callable[[], Awaitable[T]], deadline: float) -> T:
        """Return the result of the call, retried where that can help and while there is time.

        A timeout is not retried: little time is left, and the model may still be at work on it.
        """
        import openai  # noqa: PLC0415 - imported late, as the module says

        attempts = 0
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    return await call()
            except openai.APITimeoutError:
                raise
            except (openai.APIConnectionError, openai.APIStatusError) as error:
                attempts += 1
                delay = retry_delay(attempts, error, deadline)
                too_large = isinstance(error.__cause__, ResponseTooLarge)
                if delay is None or too_large or attempts > self._settings.openai_retries:
                    raise
                logger.info("model call retried", attempts=attempts, reason=type(error).__name__)
            await asyncio.sleep(delay)

    async def _limit_response_size(self, response: Any) -> None:
        limit_response_size(response, self._settings.openai_max_tokens)

    def _request_body(
        self, messages: Sequence[LlmMessage], options: GenerationOptions
    ) -> dict[str, Any]:
        settings = self._settings
        is_vision = kind_of(messages) == "vision"
        body: dict[str, Any] = {
            "model": settings.openai_vision_model if is_vision else settings.openai_model,
            "messages": [_message_body(message) for message in messages],
            "max_tokens": options.max_tokens or settings.openai_max_tokens,
            "temperature": (
                settings.openai_temperature if options.temperature is None else options.temperature
            ),
        }
        if options.as_json:
            body["response_format"] = {"type": "json_object"}
        return body


async def _name_trace(request: Any) -> None:
    """Tell the model's server which trace its call belongs to."""
    if traceparent := tracing.traceparent():
        request.headers["traceparent"] = traceparent


def _message_body(message: LlmMessage) -> dict[str, Any]:
    if message.picture is None:
        return {"role": message.role, "content": message.text}
    return {
        "role": message.role,
        "content": [
            {"type": "text", "text": message.text},
            {"type": "image_url", "image_url": {"url": message.picture}},
        ],
    }


def _is_http_url(url: object) -> bool:
    return isinstance(url, str) and url.startswith(("https://", "http://"))
