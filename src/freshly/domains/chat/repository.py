from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, Select, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from freshly.chassis.data.functions import now
from freshly.chassis.data.page_bytes import row_bytes, rows_within_bytes
from freshly.chassis.data.pagination import MAX_LIST_ROWS
from freshly.domains.chat.errors import ConversationNotFound
from freshly.domains.chat.models import ChatConversation, ChatMessage
from freshly.domains.families.access import Access, GuardedRepository
from freshly.domains.ingredients.models import Ingredient
from freshly.domains.pantry.models import PantryItem
from freshly.domains.preferences.models import UserPreference

MAX_STOCK_ROWS = 400  # read at most; the token budget allows fewer

ORDER = ChatMessage.created_at, ChatMessage.id
FRAME_BYTES = 1_000  # names, numbers, dates and the signature of a link in a message
MESSAGE_BYTES = row_bytes(FRAME_BYTES, ChatMessage.content, ChatMessage.image_url)


class ConversationRepository(GuardedRepository[ChatConversation]):
    model = ChatConversation
    not_found = ConversationNotFound

    async def page(self, skip: int, limit: int) -> Sequence[Row[Any]]:
        """Return conversations with their number of messages, internal ones included.

        The conversation with the latest activity comes first.
        """
        count = (
            select(func.count())
            .select_from(ChatMessage)
            .where(ChatMessage.conversation_id == ChatConversation.id)
            .scalar_subquery()
        )
        c = ChatConversation
        rows = await self.session.execute(
            select(
                *(c.id, c.user_id, c.title, c.created_at, c.updated_at),
                count.label("message_count"),
            )
            .where(c.visible_to(self.access))
            .order_by(c.updated_at.desc(), c.id.desc())
            .offset(skip)
            .limit(limit)
        )
        return rows.all()

    async def messages(
        self, conversation_id: int, skip: int, limit: int
    ) -> tuple[list[ChatMessage], bool]:
        """Return a page of the messages that users see, oldest first, and True if more follow.

        The page ends also after MAX_PAGE_BYTES. Check access to the conversation before.
        """
        rows, has_more = await rows_within_bytes(
            *(self.session, _visible_messages(conversation_id), ORDER, MESSAGE_BYTES, limit),
            offset=skip,
        )
        return [row[0] for row in rows], has_more

    async def last_messages(self, conversation_id: int) -> Sequence[ChatMessage]:
        """Return the last messages that users see, up to MAX_LIST_ROWS, oldest first.

        There are fewer if they would take more than MAX_PAGE_BYTES.
        """
        messages, _ = await rows_within_bytes(
            *(self.session, _visible_messages(conversation_id), ORDER, MESSAGE_BYTES),
            MAX_LIST_ROWS,
            newest_first=True,
        )
        return [row[0] for row in reversed(messages)]

    async def system(self, conversation_id: int) -> ChatMessage | None:
        """Return the system prompt, which the first turn stored for the whole conversation."""
        return await self.session.scalar(
            select(ChatMessage)
            .where(
                ChatMessage.conversation_id == conversation_id,
                ChatMessage.role == "system",
                ChatMessage.is_internal == 0,
            )
            .order_by(ChatMessage.created_at, ChatMessage.id)
            .limit(1)
        )

    async def mode_message(self, conversation_id: int) -> ChatMessage | None:
        """Return the internal message with the mode of the latest turn."""
        return await self.session.scalar(
            select(ChatMessage)
            .where(ChatMessage.conversation_id == conversation_id, ChatMessage.is_internal == 1)
            .order_by(ChatMessage.id)
            .limit(1)
        )

    async def latest(self, conversation_id: int, of_each: int) -> list[ChatMessage]:
        """Return the last `of_each` messages of the user and of the assistant, oldest first."""
        messages: list[ChatMessage] = []
        for role in ("user", "assistant"):
            messages += await self.session.scalars(
                select(ChatMessage)
                .where(
                    ChatMessage.conversation_id == conversation_id,
                    ChatMessage.role == role,
                    ChatMessage.is_internal == 0,
                )
                .order_by(ChatMessage.created_at.desc(), ChatMessage.id.desc())
                .limit(of_each)
            )
        return sorted(messages, key=lambda message: (message.created_at, message.id))

    async def pictures(self, conversation_id: int) -> list[str]:
        """Return the paths of its pictures. Skip URLs of the existing app."""
        paths = await self.session.scalars(
            select(ChatMessage.image_url).where(
                ChatMessage.conversation_id == conversation_id, ChatMessage.image_url.is_not(None)
            )
        )
        return [path for path in paths if path and "://" not in path]

    async def add(self, message: ChatMessage) -> ChatMessage:
        self.session.add(message)
        await self.session.flush()
        return message

    async def touch(self, conversation_id: int) -> None:
        await self.session.execute(
            update(ChatConversation)
            .where(ChatConversation.id == conversation_id)
            .values(updated_at=now())
        )


def _visible_messages(conversation_id: int) -> Select[ChatMessage]:
    return select(ChatMessage).where(
        ChatMessage.conversation_id == conversation_id, ChatMessage.is_internal == 0
    )


class HouseholdReader:
    """Reads the data for the assistant: the user's preferences, and stock that the user can see."""

    def __init__(self, session: AsyncSession, access: Access) -> None:
        self.session = session
        self.access = access

    async def preference(self) -> UserPreference | None:
        return await self.session.scalar(
            select(UserPreference).where(UserPreference.user_id == self.access.user_id)
        )

    async def names(self, ids: Sequence[int]) -> dict[int, str]:
        rows = await self.session.execute(
            select(Ingredient.id, Ingredient.name).where(
                Ingredient.id.in_(ids), Ingredient.visible_to(self.access)
            )
        )
        return {row.id: row.name for row in rows}

    async def stock(
        self, today: date
    ) -> Sequence[tuple[str, Decimal | None, str | None, date | None]]:
        """Return name, quantity, unit and expiry of stock that is not used up or expired.

        Stock that expires first comes first.
        """
        item = PantryItem
        rows = await self.session.execute(
            select(Ingredient.name, item.quantity, item.unit, item.expires_at)
            .join(Ingredient, Ingredient.id == item.ingredient_id)
            .where(
                item.visible_to(self.access),
                or_(item.quantity.is_(None), item.quantity > Decimal(0)),
                or_(item.expires_at.is_(None), item.expires_at >= today),
            )
            .order_by(item.expires_at.asc().nulls_last(), item.id)
            .limit(MAX_STOCK_ROWS)
        )
        return [(row.name, row.quantity, row.unit, row.expires_at) for row in rows]
