"""Texts that stay within one line, such as names.

A control character or a mark that changes the direction of a text makes a name look like another
name, or like further lines of an email or of the model's prompt.
"""

import re

# Control characters, line and paragraph separators, and marks of direction.
NOT_IN_A_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+")
MAX_IN_EMAIL = 60  # characters of a name
LINK_PARTS = ((re.compile(r":(?=/)|@"), r" "), (re.compile(r"(?<=\w)\.(?=[^\W\d])"), ". "))


def as_one_line(text: str) -> str:
    """Return the text without the characters that names must not have.

    Lone surrogates, which UTF-8 does not know, become question marks.
    """
    encodable = text.encode("utf-8", "replace").decode()
    return " ".join(NOT_IN_A_LINE.sub(" ", encodable).split())


def name_in_email(name: str) -> str:
    """Return a name for the text of an email: short, and nothing that mail programs make a link.

    The name may be older than the rule that names are one line.
    """
    line = as_one_line(name)
    for pattern, replacement in LINK_PARTS:
        line = pattern.sub(replacement, line)
    return line if len(line) <= MAX_IN_EMAIL else f"{line[: MAX_IN_EMAIL - 1].rstrip()}…"
