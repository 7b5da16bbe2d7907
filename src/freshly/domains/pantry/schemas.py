from datetime import date, datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AliasChoices, Field, model_validator

from freshly.chassis.web.schemas import (
    Id,
    Nullable,
    OneLine,
    QuantityIn,
    QuantityOut,
    ReadSchema,
    Schema,
    ShortText,
    example,
)

Scope = Literal["personal", "family"]
Name = Annotated[Annotated[OneLine, Field(max_length=120)] | None, Nullable]
Trimmed = Annotated[
    ShortText | None, AfterValidator(lambda text: text.strip() if text else text), Nullable
]


class PantryItemCreate(Schema):
    """A new item: an ingredient by name or id, of a family with `family_id`, else of the user."""

    model_config = example({"ingredient_name": "Milk", "quantity": "1.5", "unit": "l"})

    ingredient_name: Name = Field(
        default=None, validation_alias=AliasChoices("ingredient_name", "name")
    )
    ingredient_id: Id | None = None
    quantity: QuantityIn | None = None
    unit: Trimmed = None
    expires_at: date | None = None
    category: Trimmed = None
    scope: Scope | None = None
    family_id: Id | None = None

    @model_validator(mode="after")
    def _one_scope(self) -> Self:
        scope = self.scope or ("personal" if self.family_id is None else "family")
        if scope == "family" and self.family_id is None:
            raise ValueError("A family item needs a family. Please choose one.")
        if scope == "personal" and self.family_id is not None:
            raise ValueError("A personal item has no family. Please leave the family out.")
        return self

    @model_validator(mode="after")
    def _names_an_ingredient(self) -> Self:
        if self.ingredient_name is None and self.ingredient_id is None:
            raise ValueError("Please name an ingredient or choose one.")
        return self


class PantryItemUpdate(Schema):
    """Only the fields that are sent change; null clears a field."""

    model_config = example({"quantity": "0.5"})

    ingredient_name: Name = None
    quantity: QuantityIn | None = None
    unit: Trimmed = None
    expires_at: date | None = None
    category: Trimmed = None


class PantryItemRead(ReadSchema):
    id: int
    family_id: int | None
    owner_user_id: int | None
    scope: Scope
    category: str | None
    ingredient_id: int | None
    ingredient_name: str | None
    image_url: str | None
    quantity: QuantityOut | None
    unit: str | None
    expires_at: date | None
    created_at: datetime
    updated_at: datetime
    canonical_quantity: QuantityOut | None
    canonical_unit: str | None
