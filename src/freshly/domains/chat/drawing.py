from dataclasses import dataclass
from typing import Annotated
from uuid import uuid4

from freshly.chassis.identity import CurrentCaller
from freshly.chassis.injection import from_lifespan
from freshly.chassis.links import CurrentLinks
from freshly.chassis.model import LanguageModel, Manner, Said
from freshly.chassis.objects import ObjectStore
from freshly.domains.chat import policy
from freshly.domains.chat.schemas import ImageReply, ImageRequest, LegacyReply, LegacyRequest
from freshly.domains.chat.service import PICTURES_LIVE
from freshly.settings import Settings

LEGACY = Manner(max_tokens=750, temperature=0.2)


@dataclass
class DrawService:
    caller: CurrentCaller
    model: Annotated[LanguageModel, from_lifespan("model")]
    objects: Annotated[ObjectStore, from_lifespan("objects")]
    settings: Annotated[Settings, from_lifespan("settings")]
    links: CurrentLinks

    async def draw(self, wanted: ImageRequest) -> ImageReply:
        """Servers answer with an address, or with the picture, which is then kept here."""
        drawn = await self.model.draw(
            wanted.prompt, size=wanted.size, quality=wanted.quality, style=wanted.style
        )
        if drawn.url is not None:
            return ImageReply(image_url=drawn.url, prompt=wanted.prompt)
        bucket = self.settings.chat_images_bucket
        path = f"{self.caller.user_id}/drawn/{uuid4().hex}.png"
        await self.objects.put(bucket, path, drawn.content or b"")
        link, _ = self.links.signed(bucket, path, PICTURES_LIVE)
        return ImageReply(image_url=link, prompt=wanted.prompt)


@dataclass
class LegacyService:
    """One question, one answer, nothing kept."""

    caller: CurrentCaller
    model: Annotated[LanguageModel, from_lifespan("model")]

    async def answer(self, asked: LegacyRequest) -> LegacyReply:
        system = (asked.system or "").strip() or policy.LEGACY_SYSTEM
        said = [Said("system", system), Said("user", asked.prompt)]
        return LegacyReply(reply=await self.model.answer(said, LEGACY))
