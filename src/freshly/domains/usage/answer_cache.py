"""Answers of the model that are the same for the same question, kept for a day."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import astuple, dataclass
from datetime import timedelta
from typing import TypeVar

from pydantic import TypeAdapter

from freshly.chassis.cache.invalidation import CacheTopic
from freshly.chassis.data.transactions import CurrentDatabase
from freshly.chassis.ports.llm import GenerationOptions, LlmMessage, kind_of
from freshly.chassis.resources import CurrentSettings

Answer = TypeVar("Answer")
ANSWERS = CacheTopic("answers")
EVERYONE = "all"
KEPT_FOR = timedelta(days=1)


@dataclass
class AnswerCache:
    """Keeps checked answers by the content of their question.

    It is for calls at a low temperature whose answer depends on nothing but the question, never for
    conversations. A hit asks no model, so it charges no tokens.
    """

    db: CurrentDatabase
    settings: CurrentSettings

    async def read(
        self,
        messages: Sequence[LlmMessage],
        options: GenerationOptions,
        kind: TypeAdapter[Answer],
        ask: Callable[[], Awaitable[Answer | None]],
        *,
        owner: str = EVERYONE,
    ) -> Answer | None:
        """Return the kept answer, or ask and keep the answer. `ask` returns None for a bad one.

        `owner` is the tag of an Owner if others must not share the answer.
        """
        cache, tags = self.db.cache, [ANSWERS.of(owner)]
        key = f"answers/{owner}/{self._digest(messages, options)}"
        kept = await cache.find(key, tags, kind)
        if kept is not None:
            return kept
        answer = await ask()
        if answer is not None:
            await cache.keep(key, tags, kind, answer, KEPT_FOR)
        return answer

    def _digest(self, messages: Sequence[LlmMessage], options: GenerationOptions) -> str:
        """Return the hash of model, prompt and question.

        The whole prompt is hashed, so each version of it has answers of its own.
        """
        settings = self.settings
        models = {"text": settings.openai_model, "vision": settings.openai_vision_model}
        asked = [
            settings.openai_base_url,
            models[kind_of(messages)],
            astuple(options),
            [astuple(message) for message in messages],
        ]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()
