"""Errors that end a command with one line."""


class CommandFailed(Exception):
    """An expected failure of a command. Its text is the line that the operator reads."""
