from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, model_validator

from freshly.chassis.web.schemas import (
    LARGEST_INT,
    Id,
    Line,
    ReadSchema,
    Schema,
    WholeNumber,
    example,
)

GOAL_VARIANTS = {
    "lose-weight": "lose_weight",
    "leaner": "get_leaner",
    "muscle-gain": "muscle_gain",
    "weight-gain": "gain_weight",
}
Goal = Annotated[
    Literal["lose_weight", "get_leaner", "balanced", "muscle_gain", "gain_weight"],
    BeforeValidator(lambda goal: GOAL_VARIANTS.get(goal, goal) if isinstance(goal, str) else goal),
]
Gender = Literal["male", "female"]
DietType = Literal["halal", "kosher", "vegetarian", "vegan", "pescatarian"]
TrainingLevel = Literal["light", "casual", "intense"]
Age = Annotated[int, Field(ge=13, le=LARGEST_INT)]
Height = Annotated[float, Field(ge=100, le=250, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=30, le=300, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Words = Annotated[list[Line], Field(max_length=200)]
Ids = Annotated[list[Id], Field(max_length=1000)]


class PreferenceCreate(Schema):
    """Diet, allergies and targets of a user. Targets are stored as sent, not computed."""

    model_config = example({"diet_type": "vegetarian", "calorie_target": 1900})

    age: Age | None = None
    gender: Gender | None = None
    height_cm: Height | None = None
    weight_kg: Weight | None = None
    diet_codes: Words = []
    allergen_ingredient_ids: Ids = []
    disliked_ingredient_ids: Ids = []
    diet_type: DietType | None = None
    food_allergies: Words = []
    goal: Goal = "balanced"
    is_athlete: bool = Field(
        default=False, validation_alias=AliasChoices("is_athlete", "athlete_mode")
    )
    training_level: TrainingLevel | None = None
    calorie_target: WholeNumber = Field(
        default=2000, validation_alias=AliasChoices("calorie_target", "target_calories")
    )
    protein_grams: Amount | None = None
    carb_grams: Amount | None = None
    fat_grams: Amount | None = None
    protein_calories: Amount | None = None
    carb_calories: Amount | None = None
    fat_calories: Amount | None = None
    calorie_min: WholeNumber | None = None
    calorie_max: WholeNumber | None = None

    @model_validator(mode="after")
    def _level_goes_with_athlete(self) -> Self:
        if self.is_athlete and self.training_level is None:
            raise ValueError("Training level is required for an athlete.")
        if not self.is_athlete and self.training_level is not None:
            raise ValueError("Training level is for athletes only. Please leave it out.")
        return self

    @model_validator(mode="after")
    def _target_in_range(self) -> Self:
        low, high = self.calorie_min, self.calorie_max
        if low is not None and high is not None and low > high:
            raise ValueError("Calorie minimum must not be above calorie maximum.")
        if low is not None and self.calorie_target < low:
            raise ValueError("Calorie target must not be below calorie minimum.")
        if high is not None and self.calorie_target > high:
            raise ValueError("Calorie target must not be above calorie maximum.")
        return self


class PreferenceUpdate(Schema):
    """Only the fields that are sent change; null leaves a field as it is."""

    model_config = example({"food_allergies": ["peanut"]})

    age: Age | None = None
    gender: Gender | None = None
    height_cm: Height | None = None
    weight_kg: Weight | None = None
    diet_codes: Words | None = None
    allergen_ingredient_ids: Ids | None = None
    disliked_ingredient_ids: Ids | None = None
    diet_type: DietType | None = None
    food_allergies: Words | None = None
    goal: Goal | None = None
    is_athlete: bool | None = Field(
        default=None, validation_alias=AliasChoices("is_athlete", "athlete_mode")
    )
    training_level: TrainingLevel | None = None
    calorie_target: WholeNumber | None = Field(
        default=None, validation_alias=AliasChoices("calorie_target", "target_calories")
    )
    protein_grams: Amount | None = None
    carb_grams: Amount | None = None
    fat_grams: Amount | None = None
    protein_calories: Amount | None = None
    carb_calories: Amount | None = None
    fat_calories: Amount | None = None
    calorie_min: WholeNumber | None = None
    calorie_max: WholeNumber | None = None

    @model_validator(mode="after")
    def _level_goes_with_athlete(self) -> Self:
        if self.is_athlete and self.training_level is None:
            raise ValueError("Training level is required for an athlete.")
        if self.is_athlete is False and self.training_level is not None:
            raise ValueError("Training level is for athletes only. Please leave it out.")
        return self


BODY_FIELDS = ("age", "gender", "height_cm", "weight_kg")


class PreferenceRead(ReadSchema):
    id: int
    user_id: int
    age: int | None
    gender: str | None
    height_cm: float | None
    weight_kg: float | None
    diet_codes: list[str]
    allergen_ingredient_ids: list[int]
    disliked_ingredient_ids: list[int]
    diet_type: str | None
    food_allergies: list[str]
    goal: str
    is_athlete: bool
    training_level: str | None
    calorie_target: int
    protein_grams: float | None
    carb_grams: float | None
    fat_grams: float | None
    protein_calories: float | None
    carb_calories: float | None
    fat_calories: float | None
    calorie_min: int | None
    calorie_max: int | None
    created_at: datetime
    updated_at: datetime

    def without_body(self) -> Self:
        """Return what other users may read of a user who does not share the profile."""
        return self.model_copy(update=dict.fromkeys(BODY_FIELDS))
