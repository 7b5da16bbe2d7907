from dataclasses import dataclass
from uuid import uuid4

from freshly.chassis.dependencies import Injected
from freshly.chassis.ports.llm import GenerationOptions, LlmMessage, ModelAnswerUnusable
from freshly.chassis.resources import CurrentObjectStore, CurrentSettings
from freshly.chassis.security.caller import CurrentCaller
from freshly.chassis.security.image_sanitizer import (
    TYPES,
    NotAPicture,
    Picture,
    TooManyPixels,
    rewritten,
)
from freshly.chassis.security.signed_urls import CurrentSignedUrls
from freshly.domains.chat import policy
from freshly.domains.chat.pictures import LARGEST_SIDE
from freshly.domains.chat.schemas import ImageReply, ImageRequest, LegacyReply, LegacyRequest
from freshly.domains.chat.service import PICTURES_LIVE
from freshly.domains.usage.service import Assistant

LEGACY = GenerationOptions(max_tokens=750, temperature=0.2)


@dataclass
class DrawService:
    caller: CurrentCaller
    assistant: Injected[Assistant]
    objects: CurrentObjectStore
    settings: CurrentSettings
    links: CurrentSignedUrls

    async def draw(self, wanted: ImageRequest) -> ImageReply:
        """Servers answer with an address, or with the picture, which is then kept here."""
        drawn = await self.assistant.generate_image(
            wanted.prompt, size=wanted.size, quality=wanted.quality, style=wanted.style
        )
        if drawn.url is not None:
            return ImageReply(image_url=drawn.url, prompt=wanted.prompt)
        bucket = self.settings.chat_images_bucket
        picture = await _picture(drawn.content or b"")
        path = f"{self.caller.user_id}/drawn/{uuid4().hex}.{picture.extension}"
        await self.objects.put(bucket, path, picture.content)
        link, _ = self.links.signed(bucket, path, PICTURES_LIVE)
        return ImageReply(image_url=link, prompt=wanted.prompt)


@dataclass
class LegacyService:
    """One question, one answer, nothing kept."""

    assistant: Injected[Assistant]

    async def answer(self, asked: LegacyRequest) -> LegacyReply:
        system = (asked.system or "").strip() or policy.LEGACY_SYSTEM
        said = [LlmMessage("system", system), LlmMessage("user", asked.prompt)]
        return LegacyReply(reply=await self.assistant.answer(said, LEGACY))


async def _picture(content: bytes) -> Picture:
    """What is served from here is a picture, whatever the model's server called one."""
    try:
        return await rewritten(content, set(TYPES.values()), largest_side=LARGEST_SIDE)
    except (NotAPicture, TooManyPixels) as error:
        raise ModelAnswerUnusable from error
