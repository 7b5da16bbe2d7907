from freshly.chassis.errors import NotFound, Unprocessable


class PreferencesNotSet(NotFound):
    code, detail = "preferences_not_set", "Preferences not set"


class CalorieRange(Unprocessable):
    code = "calorie_range"
    detail = "Calorie target must be between calorie minimum and calorie maximum."
