class BadSettings(Exception):
    """A wrong setting. The text is one line that names the setting and the reason."""
