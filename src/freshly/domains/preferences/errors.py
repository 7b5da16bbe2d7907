from freshly.chassis.errors import NotFound


class PreferencesNotSet(NotFound):
    code, detail = "preferences_not_set", "Preferences not set"
