from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from freshly.chassis.web.schemas import AnyText, Id, Schema, example
from freshly.domains.meals.schemas import BOTH_SPELLINGS, MealRead
from freshly.domains.sharing.models import ShareStatus


class ShareCreate(Schema):
    model_config = BOTH_SPELLINGS | example(
        {"mealId": 1, "recipientUserId": 2, "message": "You asked for it"}
    )

    meal_id: Annotated[Id, Field(examples=[1])]
    recipient_user_id: Annotated[Id, Field(examples=[2])]
    message: Annotated[AnyText, Field(max_length=500, examples=["You asked for it"])] | None = None


class ShareResponse(Schema):
    model_config = example({"action": "accept"})

    action: Literal["accept", "decline"]


class Somebody(BaseModel):
    id: int
    name: str


class ShareRead(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    id: int
    meal_id: int
    sender_user_id: int
    recipient_user_id: int
    family_id: int | None
    status: ShareStatus
    message: str | None
    created_at: datetime
    updated_at: datetime
    responded_at: datetime | None
    accepted_meal_id: int | None
    meal_name: str | None
    sender_name: str | None
    recipient_name: str | None
    sender: Somebody
    recipient: Somebody
    meal_detail: MealRead | None
    accepted_meal_detail: MealRead | None
