"""The language model, charged to the caller. Other domains reach it only through here."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from freshly.chassis.data.transactions import DbSession
from freshly.chassis.dependencies import Injected
from freshly.chassis.errors import AppError
from freshly.chassis.ports.llm import (
    BYTES_PER_TOKEN,
    GeneratedImage,
    GenerationOptions,
    LanguageModel,
    LlmMessage,
    ModelKind,
    TokenUsage,
    estimate_tokens,
    kind_of,
)
from freshly.chassis.resources import CurrentSettings, Resources, resource
from freshly.domains.families.access import Owner
from freshly.domains.usage.allowance import Allowance, UsageCharge
from freshly.domains.usage.repository import UsageRepository
from freshly.domains.usage.schemas import UsageRead

TOKENS_PER_MESSAGE = 8  # around the text
TOKENS_PER_PICTURE = 1_200  # gpt-4o counts 1105 for the largest picture that is sent
# For servers that count no tokens of images: the tokens of gpt-4o with the same price.
TOKENS_PER_IMAGE = {"standard": 4_000, "hd": 8_000}


@dataclass
class Assistant:
    model: Annotated[LanguageModel, resource(Resources.llm)]
    allowance: Injected[Allowance]
    settings: CurrentSettings

    def check(self, kind: ModelKind = "text") -> None:
        """Raise ModelNotConfigured or ModelUnavailable before a call is prepared, if known."""
        self.model.ensure_available(kind)

    async def answer(self, messages: Sequence[LlmMessage], options: GenerationOptions) -> str:
        async with self.stream(messages, options) as pieces:
            return "".join([piece async for piece in pieces])

    @asynccontextmanager
    async def stream(
        self, messages: Sequence[LlmMessage], options: GenerationOptions
    ) -> AsyncIterator[AsyncGenerator[str, None]]:
        """Yield the answer in pieces. Raise RateLimited before it begins. Exit cancels it."""
        self.check(kind_of(messages))
        prompt_tokens = sum(map(_tokens_of, messages))
        max_answer_tokens = options.max_tokens or self.settings.openai_max_tokens
        charge = await self.allowance.reserve(prompt_tokens + max_answer_tokens)
        try:
            metered = self._metered(
                messages,
                options,
                charge,
                prompt_tokens=prompt_tokens,
                max_answer_tokens=max_answer_tokens,
            )
            async with aclosing(metered) as pieces:
                yield pieces
        finally:
            await self.allowance.settle(charge)

    async def generate_image(
        self, prompt: str, *, size: str, quality: str, style: str, as_bytes: bool = False
    ) -> GeneratedImage:
        self.check("image")
        price = TOKENS_PER_IMAGE[quality]
        charge = await self.allowance.reserve(price)
        charge.estimated = price
        try:
            image = await self.model.generate_image(
                prompt, size=size, quality=quality, style=style, as_bytes=as_bytes
            )
            charge.counted = image.usage.tokens if image.usage else None
        except AppError:
            charge.estimated = 0
            raise
        finally:
            await self.allowance.settle(charge)
        return image

    async def _metered(
        self,
        messages: Sequence[LlmMessage],
        options: GenerationOptions,
        charge: UsageCharge,
        *,
        prompt_tokens: int,
        max_answer_tokens: int,
    ) -> AsyncGenerator[str, None]:
        """Count the tokens of a call while the answer arrives.

        A client that disconnects is charged for the prompt and the answer so far. A model that
        fails before its first piece costs nothing.
        """
        charge.estimated = prompt_tokens
        answer_bytes = 0
        try:
            async with aclosing(self.model.stream(messages, options)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, TokenUsage):
                        charge.counted = piece.tokens
                    else:
                        answer_bytes += len(piece.encode())
                        answer_tokens = -(-answer_bytes // BYTES_PER_TOKEN)  # rounded up
                        charge.estimated = prompt_tokens + min(max_answer_tokens, answer_tokens)
                        yield piece
        except AppError:
            if not answer_bytes:
                charge.estimated = 0
            raise
        finally:
            await self.allowance.settle(charge)


def _tokens_of(message: LlmMessage) -> int:
    tokens = estimate_tokens(message.text) + TOKENS_PER_MESSAGE
    return tokens + TOKENS_PER_PICTURE if message.picture else tokens


@dataclass
class PictureAllowance:
    """Limits the pictures that the server draws by itself, per owner and day."""

    allowance: Injected[Allowance]
    usage: Injected[UsageRepository]
    settings: CurrentSettings

    async def reserve(self, owner: Owner) -> bool:
        """Count a picture. Return False if none is left today. A failed picture counts, too."""
        limit = self.settings.pantry_pictures_per_day
        return await self.usage.reserve_picture(owner, self.allowance.day(), limit)


@dataclass
class UsageService:
    session: DbSession
    allowance: Injected[Allowance]

    async def read(self) -> UsageRead:
        return await self.allowance.read(self.session)
