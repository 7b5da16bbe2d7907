from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from freshly.chassis.web.schemas import LARGEST_INT, Nullable, OneLine, ReadSchema, Schema, example

CanonicalKind = Literal["weight", "volume", "count"]
Name = Annotated[OneLine, Field(min_length=2, max_length=120)]
Category = Annotated[Annotated[OneLine, Field(max_length=80)] | None, Nullable]
UnitCode = Annotated[Annotated[OneLine, Field(max_length=16)] | None, Nullable]
Positive = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Pieces = Annotated[int, Field(ge=1, le=LARGEST_INT)]


class IngredientCreate(Schema):
    model_config = example({"name": "Gooseberry jam", "category": "Pantry"})

    name: Name
    category: Category = None
    canonical_unit_type: CanonicalKind | None = None
    canonical_unit: UnitCode = None
    avg_weight_per_unit_g: Positive | None = None
    density_g_per_ml: Positive | None = None
    pieces_per_package: Pieces | None = None


class IngredientUpdate(Schema):
    model_config = example({"category": "Spreads"})

    name: Name | None = None
    category: Category = None
    canonical_unit_type: CanonicalKind | None = None
    canonical_unit: UnitCode = None
    avg_weight_per_unit_g: Positive | None = None
    density_g_per_ml: Positive | None = None
    pieces_per_package: Pieces | None = None


class IngredientRead(ReadSchema):
    id: int
    name: str
    category: str | None
    created_at: datetime
    canonical_unit_type: CanonicalKind | None
    canonical_unit: str | None
    avg_weight_per_unit_g: float | None
    density_g_per_ml: float | None
    pieces_per_package: int | None


class ShelfLife(BaseModel):
    """Usual shelf life in days; null for an unsuitable place."""

    pantry: int | None
    fridge: int | None
    freezer: int | None


class FoodRead(IngredientRead):
    """An ingredient with its food data. The data is null for ingredients that users added."""

    measures: Annotated[
        dict[str, float], Field(description="Grams per household unit, such as a clove.")
    ]
    aliases: Annotated[dict[str, list[str]] | None, Field(description="Other names by language.")]
    shelf_life: ShelfLife | None
    allergens: Annotated[list[str] | None, Field(description="Null means unknown, not none.")]
    nutrition: Annotated[dict[str, float | None] | None, Field(description="Nutrients per 100 g.")]
    source: str | None


class UnitRead(ReadSchema):
    id: int
    code: str
    display_name: str | None
    is_metric: bool
