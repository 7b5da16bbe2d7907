from freshly.chassis.errors import NotFound, Unprocessable


class PreferencesNotSet(NotFound):
    code, detail = "preferences_not_set", "Preferences not set"


class CalorieRange(Unprocessable):
    code, detail = "calorie_range", "calorie_target must be from calorie_min to calorie_max"
