"""The port for a language model: any server that speaks the Chat Completions protocol."""

import json
import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from freshly.chassis.errors import BadGateway, Unavailable

# Each kind of call has a model of its own: chat, chat about pictures, and drawing pictures.
ModelKind = Literal["text", "vision", "image"]
MODEL_KINDS: tuple[ModelKind, ...] = ("text", "vision", "image")
BYTES_PER_TOKEN = 3  # fewer than any current model has, so that estimates are never too low
MIN_RETRY_AFTER_SECONDS, MAX_RETRY_AFTER_SECONDS = 1, 300


class ModelNotConfigured(Unavailable):
    code = "model_not_configured"
    detail = (
        "The assistant is not set up. The operator must set OPENAI_API_KEY, or OPENAI_BASE_URL "
        "for another server."
    )
    headers = {}


class ModelUnavailable(Unavailable):
    code = "model_unavailable"
    detail = "The assistant does not respond. Please try again in a moment."

    def __init__(self, retry_after: float = 5) -> None:
        """`retry_after` is in seconds, as an estimate for the header `Retry-After`."""
        super().__init__()
        seconds = max(math.ceil(retry_after), MIN_RETRY_AFTER_SECONDS)
        self.headers = {"Retry-After": str(min(seconds, MAX_RETRY_AFTER_SECONDS))}


class ModelBusy(ModelUnavailable):
    """The model works, but has no capacity for this call."""

    code, detail = "model_busy", "The assistant is busy. Please try again in a moment."


class ModelAnswerUnusable(BadGateway):
    code, detail = "model_answer_unusable", "The assistant could not answer that. Please try again."


class ModelFailing(ModelAnswerUnusable):
    """The model's server failed. Unlike a bad answer, it counts for the circuit breaker."""


MODEL_ERRORS = (ModelNotConfigured, ModelUnavailable, ModelBusy, ModelAnswerUnusable)


@dataclass(frozen=True)
class LlmMessage:
    """A message of a conversation. `picture` is a data URL."""

    role: Literal["system", "user", "assistant"]
    text: str
    picture: str | None = None


@dataclass(frozen=True)
class GenerationOptions:
    """Options of a call. None means the value of the settings."""

    max_tokens: int | None = None
    temperature: float | None = None
    as_json: bool = False


@dataclass(frozen=True)
class TokenUsage:
    """Tokens of question and answer together, as counted by the model's server."""

    tokens: int


@dataclass(frozen=True)
class GeneratedImage:
    """A generated picture, either as a URL or as its bytes."""

    url: str | None
    content: bytes | None
    usage: TokenUsage | None = None


class LanguageModel(Protocol):
    """A language model. Each method raises one of MODEL_ERRORS, with texts that users may read."""

    def ensure_available(self, kind: ModelKind) -> None:
        """Raise ModelNotConfigured, or ModelUnavailable while the circuit breaker is open."""

    def stream(
        self, messages: Sequence[LlmMessage], options: GenerationOptions
    ) -> AsyncGenerator[str | TokenUsage, None]:
        """Yield the answer in chunks. Closing the generator closes the connection to the model."""
        ...

    async def generate_image(
        self, prompt: str, *, size: str, quality: str, style: str, as_bytes: bool = False
    ) -> GeneratedImage:
        """Return a picture. With `as_bytes` the result never is a URL to be fetched."""


def kind_of(messages: Sequence[LlmMessage]) -> ModelKind:
    """Return the kind of model that these messages need."""
    return "vision" if any(message.picture for message in messages) else "text"


def estimate_tokens(text: str) -> int:
    """Return an upper bound of the tokens in the text."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def parse_json(answer: str) -> Any:
    """Return the JSON of an answer, with or without a Markdown fence. Raises ValueError."""
    text = answer.strip()
    if text.startswith("```"):
        text = text.partition("\n")[2].rpartition("```")[0]
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
