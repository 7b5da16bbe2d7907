from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import AliasChoices, BaseModel, Field, model_validator

from freshly.chassis.data.pagination import ListQuery
from freshly.chassis.web.schemas import (
    AnyText,
    Id,
    LongText,
    QuantityIn,
    QuantityOut,
    ReadSchema,
    Schema,
    ShortText,
    Title,
    example,
)
from freshly.domains.grocery.models import ListStatus

Scope = Literal["personal", "family"]


class Scoped(Schema):
    scope: Scope | None = None
    family_id: Id | None = None

    @model_validator(mode="after")
    def _family_goes_with_scope(self) -> Self:
        if self.scope == "family" and self.family_id is None:
            raise ValueError("A family list needs a family. Please choose one.")
        if self.scope == "personal" and self.family_id is not None:
            raise ValueError("A personal list has no family. Please leave the family out.")
        return self


class GroceryListCreate(Scoped):
    model_config = example({"scope": "family", "family_id": 1, "title": "Saturday"})

    scope: Scope
    title: Title | None = None
    status: ListStatus | None = ListStatus.DRAFT
    meal_plan_id: Id | None = None


class GroceryListQuery(ListQuery):
    status: Annotated[
        # Free text, as in the existing app: an unknown status matches no list.
        ShortText | None,
        Field(description="Only lists with this status."),
    ] = None


class GroceryListUpdate(Schema):
    model_config = example({"status": "finalized"})

    title: Title | None = None
    status: ListStatus | None = None
    meal_plan_id: Id | None = None


class ItemCreate(Schema):
    model_config = example({"ingredient_id": 1, "quantity": "2", "note": "the ripe ones"})

    ingredient_id: Id
    quantity: QuantityIn | None = None
    unit_id: Id | None = None
    checked: bool | None = False
    note: LongText | None = None


class ItemUpdate(Schema):
    """Only the fields that are sent change; null clears a field."""

    model_config = example({"checked": True})

    quantity: QuantityIn | None = None
    unit_id: Id | None = None
    checked: bool | None = None
    note: LongText | None = None


class ItemSummary(ReadSchema):
    id: int
    ingredient_id: int
    ingredient_name: str | None
    quantity: QuantityOut | None
    unit_code: str | None
    checked: bool
    note: str | None
    is_purchased: bool
    is_manual: bool
    canonical_quantity_needed: QuantityOut | None
    canonical_unit: str | None


class ItemRead(ItemSummary):
    grocery_list_id: int
    unit_id: int | None
    source_meal_plan_id: int | None


class GroceryListRead(BaseModel):
    id: int
    family_id: int | None
    owner_user_id: Annotated[
        int | None,
        Field(description="On a family's list: for the creator the creator, else a family owner."),
    ]
    created_by_user_id: int | None
    scope: Scope
    meal_plan_id: int | None
    title: str | None
    status: str
    created_at: datetime
    updated_at: datetime
    items: list[ItemSummary]


class AddFromMeal(Scoped):
    """`recipe_id` is the id of a meal: the existing app calls meals recipes here."""

    model_config = example({"recipe_id": 1, "list_id": 1})

    meal_id: Id = Field(validation_alias=AliasChoices("recipe_id", "meal_id"))
    list_id: Id | None = None
    title: Title | None = None
    servings_multiplier: Annotated[
        Decimal | None, Field(gt=0, le=1000, allow_inf_nan=False, decimal_places=6)
    ] = Decimal(1)

    @model_validator(mode="after")
    def _names_a_list(self) -> Self:
        if self.list_id is None and self.scope is None:
            raise ValueError("Please choose a list, or a scope for a new list.")
        return self


class MissingIngredient(ReadSchema):
    ingredient_id: int
    ingredient_name: str
    quantity: QuantityOut | None
    unit_code: str | None
    note: str | None
    source: Literal["personal_pantry", "family_pantry", "not_in_pantry"] = "not_in_pantry"


class AddedFromMeal(BaseModel):
    grocery_list: GroceryListRead
    items_added: int
    missing_ingredients: list[MissingIngredient]
    message: str


class Purchased(BaseModel):
    grocery_item: ItemRead
    pantry_quantity_added: QuantityOut | None
    pantry_unit: str | None
    message: str


class Cleared(BaseModel):
    items_removed: int
    message: str


class RemainingItem(BaseModel):
    ingredient_id: int
    ingredient_name: str
    quantity: QuantityOut | None
    unit_code: str | None
    canonical_quantity: QuantityOut | None
    canonical_unit: str | None
    note: str | None


class Synced(BaseModel):
    items_removed: int
    items_updated: int
    remaining_items: list[RemainingItem]
    message: str


class Rebuilt(BaseModel):
    grocery_list: GroceryListRead
    items_count: int
    items_rebuilt: Annotated[int, Field(description="The same as `items_count`.")]
    message: str


class PlanChoice(Schema):
    model_config = example({"meal_plan_id": 1})

    meal_plan_id: Id | None = None


class ItemChoice(Schema):
    model_config = example({"item_id": 1})

    item_id: Id


class NeedRead(BaseModel):
    meal_id: int | None
    meal_name: str
    on: date
    quantity: QuantityOut


class CoverRead(BaseModel):
    pantry_item_id: int | None
    quantity: QuantityOut
    expires_at: date | None


class ExplainedLine(BaseModel):
    item_id: Annotated[int | None, Field(description="Null if the pantry covers the whole need.")]
    ingredient_name: str
    unit: str
    needed: list[NeedRead]
    covered: list[CoverRead]
    to_buy: QuantityOut


class Unquantified(BaseModel):
    item_id: int | None
    ingredient_name: str
    text: str


class Explanation(BaseModel):
    lines: list[ExplainedLine]
    unquantified: list[Unquantified]


class NormalizeRequest(Schema):
    model_config = example({"raw_text": "2 lbs ripe tomatoes"})

    raw_text: Annotated[
        AnyText, Field(min_length=1, max_length=500, examples=["2 lbs ripe tomatoes"])
    ]


class NormalizedIngredient(BaseModel):
    normalized_name: Annotated[str, Field(min_length=1, max_length=500)]
    category: str | None
    quantity: Annotated[float | None, Field(ge=0, lt=1e7, allow_inf_nan=False)]
    unit: str | None
    confidence: Annotated[float, Field(ge=0, le=1)]
    notes: str | None
