"""The language model: the port to any server that speaks Chat Completions."""

import json
import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from freshly.chassis.errors import BadGateway, Unavailable

Kind = Literal["text", "vision", "image"]
KINDS: tuple[Kind, ...] = ("text", "vision", "image")
BYTES_PER_TOKEN = 3  # fewer than any model of today needs, so that estimates are never too low
SHORTEST_WAIT, LONGEST_WAIT = 1, 300  # seconds that a caller is told to wait


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
        super().__init__()
        wait = min(max(math.ceil(retry_after), SHORTEST_WAIT), LONGEST_WAIT)
        self.headers = {"Retry-After": str(wait)}


class ModelBusy(ModelUnavailable):
    """It is there, and has no time for this call."""

    code, detail = "model_busy", "The assistant is busy. Please try again in a moment."


class ModelAnswerUnusable(BadGateway):
    code, detail = "model_answer_unusable", "The assistant could not answer that. Please try again."


class ModelFailing(ModelAnswerUnusable):
    """Not this answer is at fault, but its server."""


MODEL_ERRORS = (ModelNotConfigured, ModelUnavailable, ModelBusy, ModelAnswerUnusable)


@dataclass(frozen=True)
class LlmMessage:
    role: Literal["system", "user", "assistant"]
    text: str
    picture: str | None = None  # a data URL


@dataclass(frozen=True)
class GenerationOptions:
    """How an answer is wanted; None is as the settings have it."""

    max_tokens: int | None = None
    temperature: float | None = None
    as_json: bool = False


@dataclass(frozen=True)
class TokenUsage:
    """Tokens of the question and of the answer, as the server counted them."""

    tokens: int


@dataclass(frozen=True)
class GeneratedImage:
    """A drawn picture: its address, or itself."""

    url: str | None
    content: bytes | None
    spent: TokenUsage | None = None


class LanguageModel(Protocol):
    """Every method raises one of MODEL_ERRORS, with texts of ours."""

    def check(self, kind: Kind) -> None:
        """Raises what is known before anything is sent: not set up, or away."""

    def stream(
        self, said: Sequence[LlmMessage], manner: GenerationOptions
    ) -> AsyncGenerator[str | TokenUsage, None]:
        """The answer in pieces. Closed early, it closes the connection to the model."""
        ...

    async def generate_image(
        self, prompt: str, *, size: str, quality: str, style: str, as_bytes: bool = False
    ) -> GeneratedImage:
        """`as_bytes`: never an address, from which the picture would have to be fetched."""


def kind_of(said: Sequence[LlmMessage]) -> Kind:
    return "vision" if any(one.picture for one in said) else "text"


def tokens_in(text: str) -> int:
    """An upper bound for it."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def parsed(answer: str) -> Any:
    """The JSON of an answer, with or without a fence around it. Raises ValueError."""
    text = answer.strip()
    if text.startswith("```"):
        text = text.partition("\n")[2].rpartition("```")[0]
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
