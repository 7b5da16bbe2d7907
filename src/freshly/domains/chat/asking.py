"""One turn of a conversation: read, ask the model holding nothing, then keep what was said."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any
from uuid import uuid4

import anyio

from freshly.chassis.clock import Today
from freshly.chassis.database import Session, Units
from freshly.chassis.injection import from_lifespan
from freshly.chassis.links import CurrentLinks
from freshly.chassis.model import LanguageModel, Manner, Said
from freshly.chassis.objects import ObjectStore
from freshly.domains.chat import pictures, policy
from freshly.domains.chat.errors import ConversationNotFound, NotAFoodPicture
from freshly.domains.chat.household import Household, Stocked, described
from freshly.domains.chat.models import ChatConversation, ChatMessage
from freshly.domains.chat.proposals import Splitter
from freshly.domains.chat.repository import ConversationRepository, KitchenReader
from freshly.domains.chat.schemas import ChatReply, ChatRequest, Delta, Done, ProposedMeal
from freshly.domains.chat.service import picture_link
from freshly.domains.families.access import Access, CurrentAccess
from freshly.settings import Settings

REMEMBERED = 6  # of the person, and as many of the assistant
LONGEST_TITLE = 60  # characters of the first text


@dataclass
class Turn:
    """What is known before the model is asked; `said` is what it is sent."""

    asked: ChatRequest
    system: str
    picture: str | None = None  # its path
    said: list[Said] = field(default_factory=list)


@dataclass
class AskService:
    access: CurrentAccess
    units: Units
    model: Annotated[LanguageModel, from_lifespan("model")]
    objects: Annotated[ObjectStore, from_lifespan("objects")]
    settings: Annotated[Settings, from_lifespan("settings")]
    links: CurrentLinks
    today: Today

    async def answer(self, asked: ChatRequest) -> ChatReply:
        turn = await self.begin(asked)
        splitter = Splitter()
        try:
            answer = await self.model.answer(turn.said, Manner())
            reply = splitter.feed(answer) + splitter.finish()
            conversation_id, message_id = await self._keep(turn, reply, interrupted=False)
        except BaseException:
            await self._drop_picture(turn)
            raise
        return ChatReply(
            reply=reply,
            conversation_id=conversation_id,
            message_id=message_id,
            image_url=picture_link(self.links, self.settings.chat_images_bucket, turn.picture),
            meal=splitter.meal,
        )

    async def stream(self, turn: Turn) -> AsyncGenerator[Delta | ProposedMeal | Done, None]:
        """The answer as it comes. Whoever leaves early has the part so far kept."""
        splitter, reply = Splitter(), ""
        complete = kept = False
        try:
            async with aclosing(self.model.stream(turn.said, Manner())) as pieces:
                async for piece in pieces:
                    if text := splitter.feed(piece):
                        reply += text
                        yield Delta(text=text)
            complete = True
            if text := splitter.finish():
                reply += text
                yield Delta(text=text)
            with anyio.CancelScope(shield=True):
                conversation_id, message_id = await self._keep(turn, reply, interrupted=False)
                kept = True
        finally:
            if not kept:
                with anyio.CancelScope(shield=True):
                    await self._keep_part(turn, reply, interrupted=not complete)
        if splitter.meal:
            yield splitter.meal
        yield Done(conversation_id=conversation_id, message_id=message_id, interrupted=False)

    async def begin(self, asked: ChatRequest) -> Turn:
        """Everything that can be refused is refused here, before the model is asked."""
        self.model.check()
        if asked.image and not policy.mentions_food(asked.text):
            raise NotAFoodPicture
        picture = await pictures.from_text(asked.image, self.settings) if asked.image else None
        async with self.units.reading() as session:
            turn = await self._read(asked, session)
        if picture:
            folder = f"{self.access.user_id}/{asked.conversation_id or 'new'}"
            turn.picture = f"{folder}/{uuid4().hex}.{picture.extension}"
            bucket = self.settings.chat_images_bucket
            await self.objects.put(bucket, turn.picture, picture.content)
            turn.said.append(Said("system", policy.ABOUT_PICTURES))
        turn.said.append(Said("user", asked.text, picture.data_url() if picture else None))
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
        turn = Turn(asked, system)
        turn.said = [
            Said("system", _system(system, household)),
            Said("system", policy.note_for(policy.mode_of(asked.text))),
            *(
                Said("user" if message.role == "user" else "assistant", message.content)
                for message in earlier
            ),
        ]
        return turn

    async def _keep(self, turn: Turn, reply: str, *, interrupted: bool) -> tuple[int, int]:
        """Both sides of the turn, together: neither is kept without the other."""
        asked = turn.asked
        async with self.units.writing() as session:
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
            return conversation.id, answer.id

    async def _keep_part(self, turn: Turn, reply: str, *, interrupted: bool) -> None:
        if reply:
            try:
                await self._keep(turn, reply, interrupted=interrupted)
            except ConversationNotFound:  # deleted meanwhile, and its pictures with it
                await self._drop_picture(turn)
        else:
            await self._drop_picture(turn)

    async def _drop_picture(self, turn: Turn) -> None:
        if turn.picture is None:
            return
        with anyio.CancelScope(shield=True):
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
