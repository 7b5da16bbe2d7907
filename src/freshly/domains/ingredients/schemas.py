from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from freshly.chassis.web.schemas import (
    LARGEST_INT,
    Id,
    Nullable,
    OneLine,
    ReadSchema,
    Schema,
    example,
)
from freshly.domains.ingredients.measures import to_thousandths

CanonicalKind = Literal["weight", "volume", "count"]
Name = Annotated[OneLine, Field(min_length=2, max_length=120)]
Category = Annotated[Annotated[OneLine, Field(max_length=80)] | None, Nullable]
UnitCode = Annotated[Annotated[OneLine, Field(max_length=16)] | None, Nullable]
# In g/ml. Puffed rice has 0.05 and honey 1.4.
Density = Annotated[float, Field(ge=0.05, le=3, allow_inf_nan=False)]
PieceWeight = Annotated[float, Field(gt=0, lt=20_000, allow_inf_nan=False)]  # g
Pieces = Annotated[int, Field(ge=1, le=LARGEST_INT)]


# The units of units.py whose weight depends on the food.
HouseholdUnit = Literal[
    "clove", "head", "bunch", "sprig", "stalk", "slice", "can", "jar", "package", "bottle", "stick"
]
Grams = Annotated[
    Decimal,
    Field(ge=Decimal("0.001"), lt=20_000, allow_inf_nan=False),
    AfterValidator(to_thousandths),
]
Days = Annotated[int, Field(ge=1, le=3650)]


class ShelfLifeWrite(Schema):
    """Shelf life in days; null for an unsuitable place."""

    pantry: Days | None = None
    fridge: Days | None = None
    freezer: Days | None = None


class FoodFactsWrite(Schema):
    category: Category = None
    canonical_unit_type: CanonicalKind | None = None
    canonical_unit: UnitCode = None
    avg_weight_per_unit_g: PieceWeight | None = None
    density_g_per_ml: Density | None = None
    pieces_per_package: Pieces | None = None
    measures: Annotated[
        dict[HouseholdUnit, Grams] | None,
        Field(description="Grams per household unit, such as a clove. Replaces all of them."),
    ] = None
    shelf_life: ShelfLifeWrite | None = None


class IngredientCreate(FoodFactsWrite):
    model_config = example({"name": "Gooseberry jam", "category": "Pantry"})

    name: Name
    family_id: Annotated[
        Id | None, Field(description="The family that owns it. Without it, you do.")
    ] = None


class IngredientUpdate(FoodFactsWrite):
    model_config = example({"category": "Spreads"})

    name: Name | None = None


class IngredientMerge(Schema):
    model_config = example({"into_id": 1})

    into_id: Id


class IngredientRead(ReadSchema):
    id: int
    name: str
    scope: Literal["catalogue", "family", "personal"]
    family_id: int | None
    food_id: Annotated[
        int | None, Field(description="The ingredient of which this is another name.")
    ]
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
    """An ingredient with its food data.

    Facts that another name of a food lacks are those of the food.
    """

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
