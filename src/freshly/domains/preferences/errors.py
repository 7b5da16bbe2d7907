from freshly.chassis.errors import NotFound, Unprocessable


class PreferencesNotSet(NotFound):
    code, detail = "preferences_not_set", "Preferences not set"


class FoodNotFound(NotFound):
    code = "preference_food_not_found"
    detail = "One of these foods was not found. Please choose foods from your list."


class CalorieRange(Unprocessable):
    code = "calorie_range"
    detail = "Calorie target must be between calorie minimum and calorie maximum."
