"""The language model: the port to any server that speaks Chat Completions."""

import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from freshly.chassis.errors import BadGateway, Unavailable


class ModelNotConfigured(Unavailable):
    code = "model_not_configured"
    detail = (
        "The assistant is not set up: set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of "
        "your own"
    )
    headers = {}


class ModelUnavailable(Unavailable):
    code, detail = "model_unavailable", "The assistant does not answer just now. Try again."
    headers = {"Retry-After": "5"}


class ModelAnswerUnusable(BadGateway):
    code, detail = "model_answer_unusable", "The assistant could not answer that. Try again."


@dataclass(frozen=True)
class Said:
    role: Literal["system", "user", "assistant"]
    text: str
    picture: str | None = None  # a data URL


@dataclass(frozen=True)
class Manner:
    """How an answer is wanted; None is as the settings have it."""

    max_tokens: int | None = None
    temperature: float | None = None
    as_json: bool = False


@dataclass(frozen=True)
class Drawn:
    """A drawn picture: its address, or itself."""

    url: str | None
    content: bytes | None


class LanguageModel(Protocol):
    """Every method raises ModelNotConfigured, ModelUnavailable, ModelAnswerUnusable."""

    def check(self) -> None:
        """Raises ModelNotConfigured where no model is set."""

    async def answer(self, said: Sequence[Said], manner: Manner) -> str: ...

    def stream(self, said: Sequence[Said], manner: Manner) -> AsyncGenerator[str, None]:
        """The answer in pieces. Closed early, it closes the connection to the model."""
        ...

    async def draw(self, prompt: str, *, size: str, quality: str, style: str) -> Drawn: ...


def parsed(answer: str) -> Any:
    """The JSON of an answer, with or without a fence around it. Raises ValueError."""
    text = answer.strip()
    if text.startswith("```"):
        text = text.partition("\n")[2].rpartition("```")[0]
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
