from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter

from freshly.chassis.cache.body import CachedBody
from freshly.chassis.data.transactions import CurrentDatabase, DbSession
from freshly.chassis.dependencies import Injected
from freshly.chassis.resources import CurrentSettings
from freshly.chassis.security.signed_urls import CurrentSignedUrls, SignedUrls
from freshly.domains.chat.models import CONVERSATIONS, ChatConversation, ChatMessage
from freshly.domains.chat.repository import ConversationRepository
from freshly.domains.chat.schemas import (
    ConversationCreate,
    ConversationRead,
    ConversationSummary,
    MessageRead,
)
from freshly.domains.families.access import CurrentAccess

SUMMARIES = TypeAdapter(list[ConversationSummary])
PICTURE_LINK_LIFETIME = timedelta(hours=24)


@dataclass
class ConversationListing:
    """The list of the caller's conversations, cached: the app shows it beside each of them."""

    access: CurrentAccess
    db: CurrentDatabase

    async def page(self, skip: int, limit: int) -> CachedBody:
        me = self.access.owner(None)

        async def load() -> CachedBody:
            async with self.db.read() as session:
                rows = await ConversationRepository(session, self.access).page(skip, limit)
            return CachedBody.of(SUMMARIES.dump_json(SUMMARIES.validate_python(rows)))

        key = f"conversations/{me.tag}/{skip}/{limit}"
        return await self.db.cache.read(key, [CONVERSATIONS.of(me.tag)], load)


@dataclass
class ConversationService:
    session: DbSession
    access: CurrentAccess
    conversations: Injected[ConversationRepository]
    links: CurrentSignedUrls
    settings: CurrentSettings

    async def create(self, new: ConversationCreate) -> ConversationRead:
        """Create an empty conversation. Its first turn stores the system prompt."""
        conversation = await self.conversations.save(
            ChatConversation(**new.model_dump(), user_id=self.access.user_id)
        )
        return self._read(conversation, [])

    async def read(self, id: int) -> ConversationRead:
        conversation = await self.conversations.get(id)
        return self._read(conversation, await self.conversations.last_messages(id))

    async def messages(self, id: int, skip: int, limit: int) -> tuple[list[MessageRead], bool]:
        """Return a page of messages, and True if more follow."""
        await self.conversations.get(id)
        messages, has_more = await self.conversations.messages(id, skip, limit)
        return [self._message(message) for message in messages], has_more

    async def rename(self, id: int, title: str) -> None:
        conversation = await self.conversations.get(id, lock=True)
        conversation.title = title
        await self.conversations.save(conversation)

    async def delete(self, id: int) -> list[str]:
        """Delete a conversation. Return the paths of its pictures, to delete after the commit."""
        conversation = await self.conversations.get(id, lock=True)
        pictures = await self.conversations.pictures(id)
        await self.conversations.delete(conversation)
        return pictures

    def _read(
        self, conversation: ChatConversation, messages: Sequence[ChatMessage]
    ) -> ConversationRead:
        facts: dict[str, Any] = {
            name: getattr(conversation, name)
            for name in ("id", "user_id", "title", "created_at", "updated_at")
        }
        return ConversationRead(**facts, messages=[self._message(message) for message in messages])

    def _message(self, message: ChatMessage) -> MessageRead:
        read = MessageRead.model_validate(message)
        bucket = self.settings.chat_images_bucket
        read.image_url = picture_link(self.links, bucket, message.image_url)
        return read


def picture_link(links: SignedUrls, bucket: str, stored: str | None) -> str | None:
    """Return a signed link to a stored picture. Return URLs of the existing app unchanged."""
    if stored is None or "://" in stored:
        return stored
    return links.signed(bucket, stored, PICTURE_LINK_LIFETIME)[0]
