"""The model on the account of whoever calls: the only way to it for any domain."""

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
    Kind,
    LanguageModel,
    LlmMessage,
    TokenUsage,
    kind_of,
    tokens_in,
)
from freshly.chassis.resources import CurrentSettings, Resources, resource
from freshly.domains.families.access import Owner
from freshly.domains.usage.allowance import Allowance, UsageCharge
from freshly.domains.usage.repository import UsageRepository
from freshly.domains.usage.schemas import UsageRead

AROUND_A_MESSAGE = 8  # tokens
PICTURE = 1_200  # tokens of one that is sent; gpt-4o counts 1105 for the largest
# Of a drawn one, where its server counts none: as many of gpt-4o's as cost as much.
DRAWING = {"standard": 4_000, "hd": 8_000}


@dataclass
class Assistant:
    model: Annotated[LanguageModel, resource(Resources.llm)]
    allowance: Injected[Allowance]
    settings: CurrentSettings

    def check(self, kind: Kind = "text") -> None:
        """Raises what is known before a call is prepared: no model, or none that answers."""
        self.model.check(kind)

    async def answer(self, said: Sequence[LlmMessage], manner: GenerationOptions) -> str:
        async with self.asked(said, manner) as pieces:
            return "".join([piece async for piece in pieces])

    @asynccontextmanager
    async def asked(
        self, said: Sequence[LlmMessage], manner: GenerationOptions
    ) -> AsyncIterator[AsyncGenerator[str, None]]:
        """The answer in pieces. Raises RateLimited before it begins; leaving ends it."""
        self.check(kind_of(said))
        question = sum(map(_tokens_of, said))
        most = manner.max_tokens or self.settings.openai_max_tokens
        bill = await self.allowance.reserve(question + most)
        try:
            heard = self._heard(said, manner, bill, question=question, most=most)
            async with aclosing(heard) as pieces:
                yield pieces
        finally:
            await self.allowance.settle(bill)

    async def generate_image(
        self, prompt: str, *, size: str, quality: str, style: str, as_bytes: bool = False
    ) -> GeneratedImage:
        self.check("image")
        price = DRAWING[quality]
        bill = await self.allowance.reserve(price)
        bill.estimated = price
        try:
            drawn = await self.model.generate_image(
                prompt, size=size, quality=quality, style=style, as_bytes=as_bytes
            )
            bill.counted = drawn.spent.tokens if drawn.spent else None
        except AppError:
            bill.estimated = 0
            raise
        finally:
            await self.allowance.settle(bill)
        return drawn

    async def _heard(
        self,
        said: Sequence[LlmMessage],
        manner: GenerationOptions,
        bill: UsageCharge,
        *,
        question: int,
        most: int,
    ) -> AsyncGenerator[str, None]:
        """Charged is the question and what came of the answer, also to whoever leaves early;
        nothing, where the model failed before it said anything."""
        bill.estimated = question
        heard = 0
        try:
            async with aclosing(self.model.stream(said, manner)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, TokenUsage):
                        bill.counted = piece.tokens
                    else:
                        heard += len(piece.encode())
                        bill.estimated = question + min(most, -(-heard // BYTES_PER_TOKEN))
                        yield piece
        except AppError:
            if not heard:
                bill.estimated = 0
            raise
        finally:
            await self.allowance.settle(bill)


def _tokens_of(said: LlmMessage) -> int:
    return tokens_in(said.text) + AROUND_A_MESSAGE + (PICTURE if said.picture else 0)


@dataclass
class PictureAllowance:
    """Pictures that nobody asked for by name are few, however many people fill a kitchen."""

    allowance: Injected[Allowance]
    usage: Injected[UsageRepository]
    settings: CurrentSettings

    async def take(self, owner: Owner) -> bool:
        """Whether there is one left today. It is taken, whatever becomes of it."""
        limit = self.settings.pantry_pictures_per_day
        return await self.usage.take_picture(owner, self.allowance.day(), limit)


@dataclass
class UsageService:
    session: DbSession
    allowance: Injected[Allowance]

    async def read(self) -> UsageRead:
        return await self.allowance.read(self.session)
