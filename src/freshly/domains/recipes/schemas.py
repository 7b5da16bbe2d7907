from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from freshly.chassis.web.schemas import (
    LARGEST_INT,
    AnyText,
    Id,
    LongText,
    OneLine,
    ReadSchema,
    Schema,
    example,
)

RecipeTitle = Annotated[OneLine, Field(min_length=2, max_length=200, examples=["Pea soup"])]
Description = Annotated[AnyText, Field(max_length=500)]
Servings = Annotated[int, Field(ge=1, le=LARGEST_INT)]


class RecipeQuery(BaseModel):
    family_id: Id | None = None
    q: Annotated[str | None, Field(max_length=200, pattern=r"^[^\x00]*$")] = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    offset: Annotated[int, Field(ge=0, le=LARGEST_INT)] = 0


class RecipeCreate(Schema):
    model_config = example({"family_id": 1, "title": "Pea soup", "servings": 4})

    family_id: Annotated[Id, Field(examples=[1])]
    title: RecipeTitle
    description: Description | None = None
    instructions: LongText | None = None
    servings: Servings | None = None


class RecipeUpdate(Schema):
    """Only the fields that are sent change; null leaves a field as it is."""

    model_config = example({"servings": 6})

    title: RecipeTitle | None = None
    description: Description | None = None
    instructions: LongText | None = None
    servings: Servings | None = None


class RecipeRead(ReadSchema):
    id: int
    family_id: int
    title: str
    description: str | None
    instructions: str | None
    servings: int | None
    created_by_user_id: int | None
    created_at: datetime


class DietTagRead(ReadSchema):
    id: int
    code: str
    display_name: str
