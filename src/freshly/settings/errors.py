class BadSettings(Exception):
    """Wrong settings. The text has a line for each, with its name and the reason."""
