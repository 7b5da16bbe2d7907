from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from freshly.chassis.errors import Problem
from freshly.chassis.web.schemas import AnyText, Id, Line, LongText, ReadSchema, Schema, example
from freshly.domains.meals.schemas import MealRead

LONGEST_PICTURE_TEXT = 7_500_000  # characters; 5 MB in base64, and a margin

PictureText = Annotated[AnyText, Field(max_length=LONGEST_PICTURE_TEXT)]
Prompt = Annotated[AnyText, Field(max_length=4000)]
ScanType = Literal["groceries", "receipt"]


class ChatRequest(Schema):
    """`message` takes precedence over `prompt`. `system` applies to the first turn only."""

    model_config = example({"message": "What can I cook with what expires first?"})

    prompt: LongText | None = Field(default=None, examples=["What can I cook tonight?"])
    message: LongText | None = None
    image: PictureText | None = Field(default=None, description="Base64 or a data URL.")
    system: LongText | None = None
    conversation_id: Id | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.text:
            raise ValueError("Please write a message.")
        return self

    @property
    def text(self) -> str:
        return (self.message or "").strip() or (self.prompt or "").strip()


class ProposedMeal(MealRead):
    """A dish that a client can store with `POST /meals/me`."""

    model_config = ConfigDict(serialize_by_alias=True)  # for events, too

    id: Annotated[int | None, Field(exclude=True)] = None  # type: ignore[assignment]  # not stored yet
    created_by_user_id: Annotated[int | None, Field(exclude=True)] = None  # type: ignore[assignment]


class ChatReply(BaseModel):
    reply: str
    conversation_id: int
    message_id: int
    image_url: str | None
    meal: ProposedMeal | None = None


class LegacyRequest(Schema):
    model_config = example({"prompt": "A soup of leeks, as JSON"})

    prompt: Annotated[LongText, Field(min_length=1, examples=["A soup of leeks, as JSON"])]
    system: LongText | None = None


class LegacyReply(BaseModel):
    reply: str


class ConversationCreate(Schema):
    model_config = example({"title": "Sunday lunch"})

    title: Line | None = Field(default=None, examples=["Sunday lunch"])


class MessageRead(ReadSchema):
    id: int
    conversation_id: int
    role: str
    content: str
    created_at: datetime
    is_internal: int
    image_url: str | None
    interrupted: bool


class ConversationRead(ReadSchema):
    id: int
    user_id: int
    title: str | None
    created_at: datetime
    updated_at: datetime
    messages: list[MessageRead] = []


class ConversationSummary(ReadSchema):
    id: int
    user_id: int
    title: str | None
    created_at: datetime
    updated_at: datetime
    message_count: int


class ImageRequest(Schema):
    model_config = example({"prompt": "A bowl of tomato soup"})

    prompt: Annotated[Prompt, Field(min_length=1, examples=["A bowl of tomato soup"])]
    size: Literal["256x256", "512x512", "1024x1024", "1792x1024", "1024x1792"] = "1024x1024"
    quality: Literal["standard", "hd"] = "standard"
    style: Literal["vivid", "natural"] = "vivid"


class ImageReply(BaseModel):
    image_url: str
    prompt: str


class ScanRequest(Schema):
    model_config = example({"image_data": "iVBORw0KGgo=", "scan_type": "groceries"})

    image_data: PictureText
    scan_type: ScanType = "groceries"


class ScannedItem(BaseModel):
    name: str
    quantity: str
    category: str
    confidence: Annotated[float, Field(ge=0, le=1)]
    unit: str | None = None
    price: float | None = None


class ScanReply(BaseModel):
    """The last three fields are set for receipts only."""

    items: list[ScannedItem]
    total_items: int
    analysis_notes: str | None
    store_name: str | None = None
    receipt_date: str | None = None
    total_amount: float | None = None


class Delta(BaseModel):
    text: str


class Done(BaseModel):
    conversation_id: int
    message_id: int
    interrupted: bool


class StreamProblem(BaseModel):
    problem: Problem
