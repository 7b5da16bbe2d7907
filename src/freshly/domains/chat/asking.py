"""Runs a turn of a conversation in three steps: read rows, call the model, store the messages.

No database connection is held during the call of the model.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import uuid4

import anyio

from freshly.chassis.data.quotas import Holder, ensure_room
from freshly.chassis.data.transactions import CurrentDatabase, Session
from freshly.chassis.dependencies import Injected
from freshly.chassis.ports.llm import GenerationOptions, LlmMessage
from freshly.chassis.resources import CurrentObjectStore, CurrentSettings
from freshly.chassis.security.signed_urls import CurrentSignedUrls
from freshly.chassis.web.clock import Today
from freshly.domains.chat import pictures, policy
from freshly.domains.chat.errors import ConversationNotFound, NotAFoodPicture
from freshly.domains.chat.household import Household, Stocked, described
from freshly.domains.chat.models import ChatConversation, ChatMessage
from freshly.domains.chat.proposals import Splitter
from freshly.domains.chat.repository import ConversationRepository, HouseholdReader
from freshly.domains.chat.schemas import ChatReply, ChatRequest, Delta, Done, ProposedMeal
from freshly.domains.chat.service import picture_link
from freshly.domains.families.access import Access, CurrentAccess
from freshly.domains.storage.service import StoredFiles
from freshly.domains.usage.service import Assistant

EARLIER_MESSAGES_PER_ROLE = 6  # the latest messages of the user, and as many of the assistant
MESSAGES_PER_TURN = 4  # at most: the system text, the mode, the question and the answer


@dataclass
class Turn:
    """A turn of a conversation.

    `messages` go to the model, `pieces` come from it, and `reply` is the text streamed so far.
    """

    request: ChatRequest
    system: str
    messages: list[LlmMessage]
    picture_path: str | None = None
    pieces: AsyncGenerator[str, None] = field(init=False)
    reply: str = ""
    is_finished: bool = False  # the messages are stored, or nothing is to be stored


@dataclass
class AskService:
    access: CurrentAccess
    db: CurrentDatabase
    assistant: Injected[Assistant]
    objects: CurrentObjectStore
    settings: CurrentSettings
    links: CurrentSignedUrls
    today: Today
    files: Injected[StoredFiles]

    async def answer(self, request: ChatRequest) -> ChatReply:
        async with self.begin(request) as turn:
            splitter = Splitter()
            answer = "".join([piece async for piece in turn.pieces])
            reply = splitter.feed(answer) + splitter.finish()
            conversation_id, message_id = await self._store(turn, reply, interrupted=False)
            return ChatReply(
                reply=reply,
                conversation_id=conversation_id,
                message_id=message_id,
                image_url=picture_link(
                    self.links, self.settings.chat_images_bucket, turn.picture_path
                ),
                meal=splitter.meal,
            )

    async def stream(self, turn: Turn) -> AsyncGenerator[Delta | ProposedMeal | Done, None]:
        """Yield the answer in parts. If the client disconnects, `begin` stores the text so far."""
        splitter = Splitter()
        async for piece in turn.pieces:
            if text := splitter.feed(piece):
                turn.reply += text
                yield Delta(text=text)
        if text := splitter.finish():
            turn.reply += text
            yield Delta(text=text)
        with anyio.CancelScope(shield=True):
            conversation_id, message_id = await self._store(turn, turn.reply, interrupted=False)
        if splitter.meal:
            yield splitter.meal
        yield Done(conversation_id=conversation_id, message_id=message_id, interrupted=False)

    @asynccontextmanager
    async def begin(self, request: ChatRequest) -> AsyncIterator[Turn]:
        """Check the request, then start the answer of the model. Finish the turn at the end.

        Raise every error that is known before the model is called.
        """
        turn = await self._prepare(request)
        try:
            async with self.assistant.stream(turn.messages, GenerationOptions()) as turn.pieces:
                yield turn
        finally:
            await self.end(turn)

    async def _prepare(self, request: ChatRequest) -> Turn:
        self.assistant.check("vision" if request.image else "text")
        if request.image and not policy.mentions_food(request.text):
            raise NotAFoodPicture
        picture = (
            await pictures.from_text(request.image, self.settings, self.access.user_id)
            if request.image
            else None
        )
        async with self.db.read() as session:
            await self._ensure_room(request, session)
            turn = await self._read(request, session)
        if picture:
            await self.files.ensure_room(len(picture.content))
            folder = f"{self.access.user_id}/{request.conversation_id or 'new'}"
            turn.picture_path = f"{folder}/{uuid4().hex}.{picture.extension}"
            bucket = self.settings.chat_images_bucket
            await self.objects.put(bucket, turn.picture_path, picture.content)
            turn.messages.append(LlmMessage("system", policy.ABOUT_PICTURES))
        turn.messages.append(
            LlmMessage("user", request.text, picture.data_url() if picture else None)
        )
        return turn

    async def _ensure_room(self, request: ChatRequest, session: Session) -> None:
        """Raise QuotaExceeded before the model is called, if its answer could not be stored."""
        me: Holder = ("person", self.access.user_id)
        if request.conversation_id is None:
            await ensure_room(session, "conversations", me)
        await ensure_room(session, "messages", me, MESSAGES_PER_TURN)
        await ensure_room(session, "texts", me, len(request.text.encode()))

    async def _read(self, request: ChatRequest, session: Session) -> Turn:
        conversations = ConversationRepository(session, self.access)
        system = (request.system or "").strip() or policy.DEFAULT_SYSTEM
        earlier: list[ChatMessage] = []
        if request.conversation_id is not None:
            await conversations.get(request.conversation_id)
            stored_system = await conversations.system(request.conversation_id)
            system = stored_system.content if stored_system else system
            earlier = await conversations.latest(request.conversation_id, EARLIER_MESSAGES_PER_ROLE)
        household = await household_json(self.access, session, self.today)
        messages = [
            LlmMessage("system", _system(system, household)),
            LlmMessage("system", policy.mode_text(policy.mode_of(request.text))),
            *(
                LlmMessage("user" if message.role == "user" else "assistant", message.content)
                for message in earlier
            ),
        ]
        return Turn(request, system, messages)

    async def _store(self, turn: Turn, reply: str, *, interrupted: bool) -> tuple[int, int]:
        """Store both messages of the turn in one transaction.

        Return the ids of the conversation and of the answer.
        """
        request = turn.request
        async with self.db.write() as session:
            conversations = ConversationRepository(session, self.access)
            if request.conversation_id is None:
                conversation = await conversations.save(
                    ChatConversation(user_id=self.access.user_id)
                )
            else:
                conversation = await conversations.get(request.conversation_id, lock=True)
            if await conversations.system(conversation.id) is None:
                await conversations.add(_message(conversation.id, "system", turn.system))
            mode = policy.mode_text(policy.mode_of(request.text))
            if message := await conversations.mode_message(conversation.id):
                message.content = mode
            else:
                await conversations.add(_message(conversation.id, "system", mode, is_internal=1))
            await conversations.add(
                _message(conversation.id, "user", request.text, image_url=turn.picture_path)
            )
            answer = await conversations.add(
                _message(conversation.id, "assistant", reply, interrupted=interrupted)
            )
            await conversations.touch(conversation.id)
        turn.is_finished = True
        return conversation.id, answer.id

    async def end(self, turn: Turn) -> None:
        """Store an unfinished turn as interrupted. Delete its picture if no text was streamed."""
        if turn.is_finished:
            return
        with anyio.CancelScope(shield=True):
            if turn.reply:
                try:
                    await self._store(turn, turn.reply, interrupted=True)
                except ConversationNotFound:  # deleted meanwhile, with its pictures
                    await self._delete_picture(turn)
            else:
                await self._delete_picture(turn)
        turn.is_finished = True

    async def _delete_picture(self, turn: Turn) -> None:
        if turn.picture_path is None:
            return
        await pictures.remove(self.objects, self.settings.chat_images_bucket, [turn.picture_path])


def _message(conversation_id: int, role: str, content: str, **columns: Any) -> ChatMessage:
    return ChatMessage(conversation_id=conversation_id, role=role, content=content, **columns)


def _system(given: str, household: str) -> str:
    """Return the system prompt. The client's text follows the policy and cannot replace it."""
    parts = (policy.DEFAULT_SYSTEM, policy.ABOUT_MEALS, policy.ABOUT_HOUSEHOLD)
    added = () if given == policy.DEFAULT_SYSTEM else (policy.FROM_CLIENT, given)
    return "\n\n".join((*parts, f"<household>{household}</household>", *added))


async def household_json(access: Access, session: Session, today: date) -> str:
    """Return the JSON that tells the assistant about the user's preferences and stock."""
    kitchen = HouseholdReader(session, access)
    facts: dict[str, Any] = {"today": today.isoformat()}
    if preference := await kitchen.preference():
        avoided, disliked = preference.allergen_ingredient_ids, preference.disliked_ingredient_ids
        names = await kitchen.names([*avoided, *disliked])
        facts |= {
            "allergies": [
                *preference.food_allergies,
                *(names[ingredient_id] for ingredient_id in avoided if ingredient_id in names),
            ],
            "diet": preference.diet_type,
            "diet_rules": preference.diet_codes,
            "goal": preference.goal,
            "calories_per_day": preference.calorie_target,
            "calories_at_least": preference.calorie_min,
            "calories_at_most": preference.calorie_max,
            "protein_grams": preference.protein_grams,
            "carb_grams": preference.carb_grams,
            "fat_grams": preference.fat_grams,
            "training": preference.training_level,
            "dislikes": [
                names[ingredient_id] for ingredient_id in disliked if ingredient_id in names
            ],
        }
    stock = [
        Stocked(name, _amount(quantity, unit), expires)
        for name, quantity, unit, expires in await kitchen.stock(today)
    ]
    return described(Household(facts, stock))


def _amount(quantity: Any, unit: str | None) -> str:
    return f"{quantity.normalize():f} {unit or ''}".strip() if quantity is not None else "some"
