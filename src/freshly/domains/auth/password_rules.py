"""Rules for new passwords. They need no network: the list of common passwords is a file."""

import re
from functools import cache
from importlib.resources import files
from unicodedata import normalize

from freshly.domains.auth.errors import PasswordIsPersonal, PasswordTooCommon

FEWEST_CHARACTERS = 3  # different ones
LONGEST_ENDING = 4  # digits and signs around a common word that do not make it a good password
SHORTEST_FACT = 4  # characters of a name or address that are looked for
EDGES = re.compile(r"^[\W\d_]+|[\W\d_]+$")


def check_password(password: str, address: str, name: str | None) -> None:
    """Raise PasswordTooCommon or PasswordIsPersonal if a stranger would soon guess it."""
    text = _plain(password).strip()
    if len(set(text)) < FEWEST_CHARACTERS:
        raise PasswordTooCommon
    for guess in (text, _repeated(text), _repeated(EDGES.sub("", text))):
        if guess in common_passwords() or _is_word_with_short_ending(guess, common_words()):
            raise PasswordTooCommon
    facts = _facts(address, name)
    if text in facts or _is_word_with_short_ending(text, facts):
        raise PasswordIsPersonal


def _plain(text: str) -> str:
    """Return the text in small letters, without other ways to write the same characters."""
    return normalize("NFKC", normalize("NFKC", text).casefold())


def _repeated(text: str) -> str:
    """Return what the text repeats: `password` for `passwordpassword`. Else the text."""
    return text[: (text + text).find(text, 1)] if text else text


def _is_word_with_short_ending(text: str, words: frozenset[str]) -> bool:
    word = EDGES.sub("", text)
    return len(text) - len(word) <= LONGEST_ENDING and word in words


def _facts(address: str, name: str | None) -> frozenset[str]:
    """Return the address, the name and their parts, in small letters."""
    address, name = _plain(address), _plain(name or "")
    local, _, domain = address.partition("@")
    parts = {address, local, domain, name, *re.split(r"[\W_]+", f"{local} {name} {domain}")}
    parts |= {re.sub(r"[\W_]+", "", part) for part in parts}
    parts |= {EDGES.sub("", part) for part in parts}
    return frozenset(part for part in parts if len(part) >= SHORTEST_FACT)


@cache
def common_passwords() -> frozenset[str]:
    text = files("freshly.domains.auth").joinpath("common_passwords.txt").read_text("utf-8")
    return frozenset(line for line in text.splitlines() if not line.startswith("#"))


@cache
def common_words() -> frozenset[str]:
    """Return the common passwords without the digits and signs around them."""
    words = (EDGES.sub("", password) for password in common_passwords())
    return frozenset(word for word in words if len(word) >= SHORTEST_FACT)
