from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, String, Text, false
from sqlalchemy.orm import Mapped, mapped_column

from freshly.chassis.cache.invalidation import CacheTopic, InvalidatesFor
from freshly.chassis.data.base import Base, Created, Updated
from freshly.chassis.data.quotas import CountsTowards
from freshly.domains.families.access import Access, Guarded

CONVERSATIONS = CacheTopic("conversations")


class ChatConversation(Created, Updated, Guarded):
    __tablename__ = "chat_conversations"

    id: Mapped[int] = mapped_column(primary_key=True, init=False, index=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    title: Mapped[str | None] = mapped_column(String(255), default=None)

    __cache_tags__ = (InvalidatesFor(CONVERSATIONS, person="user_id"),)
    __quotas__ = (CountsTowards("conversations", person="user_id"),)

    @classmethod
    def visible_to(cls, access: Access) -> ColumnElement[bool]:
        return cls.user_id == access.user_id


class ChatMessage(Created, Base):
    __tablename__ = "chat_messages"

    id: Mapped[int] = mapped_column(primary_key=True, init=False, index=True)
    conversation_id: Mapped[int] = mapped_column(
        ForeignKey("chat_conversations.id", ondelete="CASCADE"), index=True
    )
    role: Mapped[str] = mapped_column(String(20))
    content: Mapped[str] = mapped_column(Text)
    is_internal: Mapped[int] = mapped_column(default=0)
    # A path in the bucket of chat pictures. Rows of the existing app hold a whole URL.
    image_url: Mapped[str | None] = mapped_column(Text, default=None)
    interrupted: Mapped[bool] = mapped_column(server_default=false(), default=False)

    __cache_tags__ = (InvalidatesFor(through="conversation_id"),)
    __quotas__ = (
        CountsTowards("messages", through="conversation_id"),
        CountsTowards("texts", through="conversation_id", bytes_of=("content",)),
    )
    __table_args__: Any = ()
