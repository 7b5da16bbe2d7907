from dataclasses import dataclass
from uuid import uuid4

from freshly.chassis.dependencies import Injected
from freshly.chassis.ports.llm import GenerationOptions, LlmMessage, ModelAnswerUnusable
from freshly.chassis.resources import CurrentObjectStore, CurrentSettings
from freshly.chassis.security.caller import CurrentCaller
from freshly.chassis.security.image_sanitizer import (
    MEDIA_TYPES,
    InvalidPicture,
    Picture,
    TooManyPixels,
    sanitize_picture,
)
from freshly.chassis.security.signed_urls import CurrentSignedUrls
from freshly.domains.chat import policy
from freshly.domains.chat.pictures import MAX_SIDE
from freshly.domains.chat.schemas import ImageReply, ImageRequest, LegacyReply, LegacyRequest
from freshly.domains.chat.service import PICTURE_LINK_LIFETIME
from freshly.domains.storage.service import StoredFiles
from freshly.domains.usage.service import Assistant

LEGACY_OPTIONS = GenerationOptions(max_tokens=750, temperature=0.2)


@dataclass
class DrawService:
    caller: CurrentCaller
    assistant: Injected[Assistant]
    objects: CurrentObjectStore
    settings: CurrentSettings
    links: CurrentSignedUrls
    files: Injected[StoredFiles]

    async def draw(self, request: ImageRequest) -> ImageReply:
        """Generate a picture. Store it if the model's server sends the content instead of a URL."""
        generated = await self.assistant.generate_image(
            request.prompt, size=request.size, quality=request.quality, style=request.style
        )
        if generated.url is not None:
            return ImageReply(image_url=generated.url, prompt=request.prompt)
        bucket = self.settings.chat_images_bucket
        picture = await _picture(generated.content or b"")
        path = f"{self.caller.user_id}/drawn/{uuid4().hex}.{picture.extension}"
        await self.files.ensure_room(len(picture.content))
        await self.objects.put(bucket, path, picture.content)
        link, _ = self.links.signed(bucket, path, PICTURE_LINK_LIFETIME)
        return ImageReply(image_url=link, prompt=request.prompt)


@dataclass
class LegacyService:
    """Answers a single prompt and stores nothing."""

    assistant: Injected[Assistant]

    async def answer(self, request: LegacyRequest) -> LegacyReply:
        system = (request.system or "").strip() or policy.LEGACY_SYSTEM
        messages = [
            LlmMessage("system", f"{policy.SCOPE}\n\n{system}"),
            LlmMessage("user", request.prompt),
        ]
        return LegacyReply(reply=await self.assistant.answer(messages, LEGACY_OPTIONS))


async def _picture(content: bytes) -> Picture:
    """Re-encode the content. Raise ModelAnswerUnusable if it is not a picture."""
    try:
        return await sanitize_picture(content, set(MEDIA_TYPES.values()), largest_side=MAX_SIDE)
    except (InvalidPicture, TooManyPixels) as error:
        raise ModelAnswerUnusable from error
