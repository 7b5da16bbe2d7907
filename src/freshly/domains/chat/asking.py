"""One turn of a conversation: read, ask the model holding nothing, then keep what was said."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import uuid4

import anyio

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
from freshly.domains.chat.repository import ConversationRepository, KitchenReader
from freshly.domains.chat.schemas import ChatReply, ChatRequest, Delta, Done, ProposedMeal
from freshly.domains.chat.service import picture_link
from freshly.domains.families.access import Access, CurrentAccess
from freshly.domains.usage.service import Assistant

REMEMBERED = 6  # of the person, and as many of the assistant
LONGEST_TITLE = 60  # characters of the first text


@dataclass
class Turn:
    """`said` is what the model is sent, `pieces` its answer, `reply` what is read of it so far."""

    asked: ChatRequest
    system: str
    said: list[LlmMessage]
    picture: str | None = None  # its path
    pieces: AsyncGenerator[str, None] = field(init=False)
    reply: str = ""
    is_over: bool = False  # it is kept, or nothing of it is


@dataclass
class AskService:
    access: CurrentAccess
    db: CurrentDatabase
    assistant: Injected[Assistant]
    objects: CurrentObjectStore
    settings: CurrentSettings
    links: CurrentSignedUrls
    today: Today

    async def answer(self, asked: ChatRequest) -> ChatReply:
        async with self.begun(asked) as turn:
            splitter = Splitter()
            answer = "".join([piece async for piece in turn.pieces])
            reply = splitter.feed(answer) + splitter.finish()
            conversation_id, message_id = await self._keep(turn, reply, interrupted=False)
            return ChatReply(
                reply=reply,
                conversation_id=conversation_id,
                message_id=message_id,
                image_url=picture_link(self.links, self.settings.chat_images_bucket, turn.picture),
                meal=splitter.meal,
            )

    async def stream(self, turn: Turn) -> AsyncGenerator[Delta | ProposedMeal | Done, None]:
        """The answer as it comes. Whoever leaves early has the part so far kept, by `begun`."""
        splitter = Splitter()
        async for piece in turn.pieces:
            if text := splitter.feed(piece):
                turn.reply += text
                yield Delta(text=text)
        if text := splitter.finish():
            turn.reply += text
            yield Delta(text=text)
        with anyio.CancelScope(shield=True):
            conversation_id, message_id = await self._keep(turn, turn.reply, interrupted=False)
        if splitter.meal:
            yield splitter.meal
        yield Done(conversation_id=conversation_id, message_id=message_id, interrupted=False)

    @asynccontextmanager
    async def begun(self, asked: ChatRequest) -> AsyncIterator[Turn]:
        """Everything that can be refused is refused here, before the model is asked."""
        turn = await self._prepared(asked)
        try:
            async with self.assistant.stream(turn.said, GenerationOptions()) as turn.pieces:
                yield turn
        finally:
            await self.end(turn)

    async def _prepared(self, asked: ChatRequest) -> Turn:
        self.assistant.check("vision" if asked.image else "text")
        if asked.image and not policy.mentions_food(asked.text):
            raise NotAFoodPicture
        picture = await pictures.from_text(asked.image, self.settings) if asked.image else None
        async with self.db.read() as session:
            turn = await self._read(asked, session)
        if picture:
            folder = f"{self.access.user_id}/{asked.conversation_id or 'new'}"
            turn.picture = f"{folder}/{uuid4().hex}.{picture.extension}"
            bucket = self.settings.chat_images_bucket
            await self.objects.put(bucket, turn.picture, picture.content)
            turn.said.append(LlmMessage("system", policy.ABOUT_PICTURES))
        turn.said.append(LlmMessage("user", asked.text, picture.data_url() if picture else None))
        return turn

    async def _read(self, asked: ChatRequest, session: Session) -> Turn:
        conversations = ConversationRepository(session, self.access)
        system = (asked.system or "").strip() or policy.DEFAULT_SYSTEM
        earlier: list[ChatMessage] = []
        if asked.conversation_id is not None:
            await conversations.get(asked.conversation_id)
            locked = await conversations.system(asked.conversation_id)
            system = locked.content if locked else system
            earlier = await conversations.latest(asked.conversation_id, REMEMBERED)
        household = await household_of(self.access, session, self.today)
        said = [
            LlmMessage("system", _system(system, household)),
            LlmMessage("system", policy.note_for(policy.mode_of(asked.text))),
            *(
                LlmMessage("user" if message.role == "user" else "assistant", message.content)
                for message in earlier
            ),
        ]
        return Turn(asked, system, said)

    async def _keep(self, turn: Turn, reply: str, *, interrupted: bool) -> tuple[int, int]:
        """Both sides of the turn, together: neither is kept without the other."""
        asked = turn.asked
        async with self.db.write() as session:
            conversations = ConversationRepository(session, self.access)
            if asked.conversation_id is None:
                conversation = await conversations.save(
                    ChatConversation(
                        user_id=self.access.user_id, title=asked.text[:LONGEST_TITLE].strip()
                    )
                )
            else:
                conversation = await conversations.get(asked.conversation_id, lock=True)
            if await conversations.system(conversation.id) is None:
                await conversations.add(_message(conversation.id, "system", turn.system))
            mode = policy.note_for(policy.mode_of(asked.text))
            if note := await conversations.note(conversation.id):
                note.content = mode
            else:
                await conversations.add(_message(conversation.id, "system", mode, is_internal=1))
            await conversations.add(
                _message(conversation.id, "user", asked.text, image_url=turn.picture)
            )
            answer = await conversations.add(
                _message(conversation.id, "assistant", reply, interrupted=interrupted)
            )
            await conversations.touch(conversation.id)
        turn.is_over = True
        return conversation.id, answer.id

    async def end(self, turn: Turn) -> None:
        """Keeps what was streamed, if the turn was not kept; nothing else is left of it."""
        if turn.is_over:
            return
        with anyio.CancelScope(shield=True):
            if turn.reply:
                try:
                    await self._keep(turn, turn.reply, interrupted=True)
                except ConversationNotFound:  # deleted meanwhile, and its pictures with it
                    await self._drop_picture(turn)
            else:
                await self._drop_picture(turn)
        turn.is_over = True

    async def _drop_picture(self, turn: Turn) -> None:
        if turn.picture is None:
            return
        await pictures.remove(self.objects, self.settings.chat_images_bucket, [turn.picture])


def _message(conversation_id: int, role: str, content: str, **more: Any) -> ChatMessage:
    return ChatMessage(conversation_id=conversation_id, role=role, content=content, **more)


def _system(system: str, household: str) -> str:
    parts = (system, policy.ABOUT_MEALS, policy.ABOUT_KITCHEN)
    return "\n\n".join((*parts, f"<household>{household}</household>"))


async def household_of(access: Access, session: Session, today: date) -> str:
    """What the assistant is told of this person's kitchen, as JSON."""
    kitchen = KitchenReader(session, access)
    facts: dict[str, Any] = {"today": today.isoformat()}
    if preference := await kitchen.preference():
        avoided, disliked = preference.allergen_ingredient_ids, preference.disliked_ingredient_ids
        names = await kitchen.names([*avoided, *disliked])
        facts |= {
            "allergies": [
                *preference.food_allergies,
                *(names[one] for one in avoided if one in names),
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
            "dislikes": [names[one] for one in disliked if one in names],
        }
    stock = [
        Stocked(name, _amount(quantity, unit), expires)
        for name, quantity, unit, expires in await kitchen.stock(today)
    ]
    return described(Household(facts, stock))


def _amount(quantity: Any, unit: str | None) -> str:
    return f"{quantity.normalize():f} {unit or ''}".strip() if quantity is not None else "some"
