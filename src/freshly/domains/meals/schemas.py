from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import (
    AliasChoices,
    AliasGenerator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    computed_field,
    model_validator,
)
from pydantic.alias_generators import to_camel

from freshly.chassis.web.schemas import (
    LARGEST_INT,
    LONGEST_TEXT,
    Id,
    Line,
    LongText,
    OneLine,
    PictureAddress,
    Schema,
    WholeNumber,
    example,
)
from freshly.domains.meals.models import Difficulty, Meal, MealType

BOTH_SPELLINGS = ConfigDict(
    alias_generator=AliasGenerator(
        validation_alias=lambda name: AliasChoices(to_camel(name), name),
        serialization_alias=to_camel,
    )
)
MOST_LINES = 200


def _written(amount: object) -> object:
    """Return a number as text: 1.50 becomes "1.5"."""
    if isinstance(amount, bool) or not isinstance(amount, int | float | Decimal):
        return amount
    text = f"{Decimal(str(amount)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


AmountText = Annotated[Line, BeforeValidator(_written)]
Lines = Annotated[list[LongText], Field(max_length=MOST_LINES)]
Words = Annotated[list[Line], Field(max_length=MOST_LINES)]
Cuisine = Annotated[OneLine, Field(max_length=120)]
Picture = Annotated[PictureAddress, Field(max_length=LONGEST_TEXT)]
Whole = Annotated[int, Field(ge=-LARGEST_INT, le=LARGEST_INT)]


class MealIngredient(Schema):
    """The amount is text ("2 cups"), or a number with a separate `unit`."""

    name: Line
    amount: AmountText
    in_pantry: bool = Field(default=False, validation_alias=AliasChoices("inPantry", "in_pantry"))

    @model_validator(mode="before")
    @classmethod
    def _join_unit(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        amount, unit = given.get("amount"), given.get("unit")
        if isinstance(unit, str) and unit.strip() and amount is not None:
            text = str(_written(amount)).strip()
            if not text.casefold().endswith(unit.strip().casefold()):
                return {**given, "amount": f"{text} {unit.strip()}".strip()}
        return given


class Macros(Schema):
    protein: Whole
    fats: Whole
    carbs: Whole


class MealCreate(Schema):
    model_config = BOTH_SPELLINGS | example(
        {
            "name": "Pea soup",
            "image": "",
            "calories": 320,
            "prepTime": 10,
            "cookTime": 25,
            "totalTime": 35,
            "mealType": "Dinner",
            "cuisine": "Dutch",
            "tags": ["quick"],
            "macros": {"protein": 18, "fats": 6, "carbs": 45},
            "difficulty": "Easy",
            "servings": 4,
            "dietCompatibility": ["vegetarian"],
            "goalFit": ["balanced"],
            "ingredients": [
                {"name": "split peas", "amount": "500 g"},
                {"name": "carrot", "amount": "2"},
            ],
            "instructions": ["Boil the peas.", "Add the carrots."],
            "cookingTools": ["pot"],
        }
    )

    name: Line
    image: Picture
    calories: WholeNumber
    prep_time: WholeNumber
    cook_time: WholeNumber
    total_time: WholeNumber
    meal_type: MealType
    cuisine: Cuisine
    tags: Words
    macros: Macros
    difficulty: Difficulty
    servings: WholeNumber
    diet_compatibility: Words
    goal_fit: Words
    ingredients: Annotated[list[MealIngredient], Field(max_length=MOST_LINES)]
    instructions: Lines
    cooking_tools: Words
    notes: LongText = ""
    is_favorite: bool = False
    family_id: Id | None = None


class MealUpdate(Schema):
    """Only the fields that are sent change. A null `familyId` detaches the family."""

    model_config = BOTH_SPELLINGS | example({"servings": 6, "isFavorite": True})

    name: Line | None = None
    image: Picture | None = None
    calories: WholeNumber | None = None
    prep_time: WholeNumber | None = None
    cook_time: WholeNumber | None = None
    total_time: WholeNumber | None = None
    meal_type: MealType | None = None
    cuisine: Cuisine | None = None
    tags: Words | None = None
    macros: Macros | None = None
    difficulty: Difficulty | None = None
    servings: WholeNumber | None = None
    diet_compatibility: Words | None = None
    goal_fit: Words | None = None
    ingredients: Annotated[list[MealIngredient], Field(max_length=MOST_LINES)] | None = None
    instructions: Lines | None = None
    cooking_tools: Words | None = None
    notes: LongText | None = None
    is_favorite: bool | None = None
    family_id: Id | None = None


class AttachFamily(Schema):
    model_config = BOTH_SPELLINGS | example({"familyId": 1})

    family_id: Id


class IngredientOut(BaseModel):
    name: str
    amount: str
    in_pantry: Annotated[bool, Field(serialization_alias="inPantry")] = False


class IngredientBoth(IngredientOut):
    @computed_field(alias="in_pantry")
    def in_pantry_too(self) -> bool:
        return self.in_pantry


class MacrosOut(BaseModel):
    protein: int = 0
    fats: int = 0
    carbs: int = 0


def _or_empty(value: object) -> object:
    return [] if value is None else value


Strings = Annotated[list[str], BeforeValidator(_or_empty)]


class MealRead(BaseModel):
    """A meal in camelCase. Only the list of meals has both spellings."""

    model_config = ConfigDict(
        from_attributes=True,
        alias_generator=AliasGenerator(serialization_alias=to_camel),
    )

    id: int
    created_by_user_id: int
    family_id: int | None
    name: str
    image: str | None
    calories: int
    prep_time: int | None
    cook_time: int | None
    total_time: int | None
    meal_type: MealType
    cuisine: str | None
    tags: Strings
    macros: Annotated[MacrosOut, BeforeValidator(lambda macros: macros or {})]
    difficulty: Difficulty | None
    servings: int | None
    diet_compatibility: Strings
    goal_fit: Strings
    ingredients: Annotated[list[IngredientOut], BeforeValidator(_or_empty)]
    instructions: Strings
    cooking_tools: Strings
    notes: str | None
    is_favorite: bool


class MealBoth(BaseModel):
    """Each field in camelCase and snake_case: some screens of the app read one, some the other."""

    id: int
    createdByUserId: int
    created_by_user_id: int
    familyId: int | None
    family_id: int | None
    name: str
    image: str | None
    calories: int
    prepTime: int | None
    prep_time: int | None
    cookTime: int | None
    cook_time: int | None
    totalTime: int | None
    total_time: int | None
    mealType: MealType
    meal_type: MealType
    cuisine: str | None
    tags: list[str]
    macros: MacrosOut
    difficulty: Difficulty | None
    servings: int | None
    dietCompatibility: list[str]
    diet_compatibility: list[str]
    goalFit: list[str]
    goal_fit: list[str]
    ingredients: list[IngredientBoth]
    instructions: list[str]
    cookingTools: list[str]
    cooking_tools: list[str]
    notes: str | None
    isFavorite: bool
    is_favorite: bool
    created_at: datetime
    updated_at: datetime
    createdAt: datetime
    updatedAt: datetime

    @classmethod
    def of(cls, meal: Meal) -> "MealBoth":
        """Return the meal for its creator, or for a member of its family."""
        read = MealRead.model_validate(meal).model_dump()
        read |= {"created_at": meal.created_at, "updated_at": meal.updated_at}
        return cls.model_validate({name: read[SNAKE.get(name, name)] for name in cls.model_fields})

    @classmethod
    def on_plan(cls, meal: Meal) -> "MealBoth":
        """Return the dish for a reader of a plan, without its family and the mark of a favorite.

        An offer leaves out the same: see `Meal.snapshot`.
        """
        hidden = {"familyId": None, "family_id": None, "isFavorite": False, "is_favorite": False}
        return cls.of(meal).model_copy(update=hidden)


SNAKE = {to_camel(name): name for name in (*MealRead.model_fields, "created_at", "updated_at")}
