"""The sentences of a 422 response, such as "Password must have at least 8 characters.".

Pydantic's own messages speak to programmers. `sentence` words them for the person who filled in
the form. A sentence never repeats a value of the request, since that may be a secret.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from freshly.chassis.errors import OUT_OF_RANGE_ID

PARAMETERS = {
    "query": "query parameter",
    "path": "path parameter",
    "header": "header",
    "cookie": "cookie",
}
# A client may send unknown parameters with names of any length.
MAX_NAME_LENGTH = 64
WORDS = {
    "avg": "average",
    "id": "ID",
    "ids": "IDs",
    "max": "maximum",
    "min": "minimum",
    "prep": "preparation",
}
UNITS = {"cm", "g", "kg", "ml"}

Context = Mapping[str, Any]


def sentence(error: Mapping[str, Any]) -> str:
    """Return the sentence for one of the errors of a pydantic ValidationError."""
    type_, location, context = error["type"], error["loc"], error.get("ctx") or {}
    if type_ == "json_invalid":
        return _json_invalid(location)
    if type_ == "value_error":
        return _value_error(subject(location), context)
    predicate = PREDICATES.get(type_)
    if predicate is None:
        return _unknown(subject(location), error["msg"], context)
    words = predicate if isinstance(predicate, str) else predicate(context)
    return f"{subject(location)} {words}."


def subject(location: Sequence[str | int]) -> str:
    """Return the name of the field as a person knows it, with a capital letter.

    `("body", "ingredients", 0, "inPantry")` becomes "Ingredient 1: in pantry".
    """
    source, *path = location
    if source in PARAMETERS and path:
        name = ".".join(map(str, path))[:MAX_NAME_LENGTH]
        return f'The {PARAMETERS[str(source)]} "{name}"'
    labels: list[str] = []
    for part in path:
        if isinstance(part, str):
            labels.append(_label(part))
        elif labels:
            labels[-1] = f"{_singular(labels[-1])} {part + 1}"
    if not labels:
        return "The request body"
    text = ": ".join(labels)
    return text[:1].upper() + text[1:]


def _label(name: str) -> str:
    """Return the words of a name: `is_athlete` is "athlete", `height_cm` is "height in cm"."""
    snake_case = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name[:MAX_NAME_LENGTH])
    words = snake_case.lower().split("_")
    if words[0] == "is" and len(words) > 1:
        del words[0]
    # A unit at the end of a name, such as `g` or `g_per_ml`.
    for place in range(1, len(words)):
        if words[place] in UNITS and UNITS.issuperset({*words[place:]} - {"per"}):
            words.insert(place, "in")
            break
    return " ".join(WORDS.get(word, word) for word in words)


def _singular(label: str) -> str:
    if label.endswith("ies"):
        return label.removesuffix("ies") + "y"
    return label if label.endswith("ss") else label.removesuffix("s")


def _json_invalid(location: Sequence[str | int]) -> str:
    """Word the error of a body. FastAPI gives the position in the body in place of a field."""
    position = location[-1]
    near = f" near character {position + 1}" if isinstance(position, int) else ""
    return f"The request body is not valid JSON. Please check it{near}."


def _value_error(subject: str, context: Context) -> str:
    """Word a ValueError of a validator. The validators of our schemas raise whole sentences."""
    if "reason" in context:  # of email-validator, which may repeat the address
        return f"{subject} must be an email address, such as anna@example.com."
    error = context.get("error")
    if type(error) is ValueError and str(error).startswith("Expected UploadFile"):
        return f"{subject} must be a file."
    if type(error) is ValueError and str(error).endswith("."):
        return str(error)
    return f"{subject} is not valid."


def _unknown(subject: str, message: str, context: Context) -> str:
    """Use pydantic's message, unless its context has text, which may come from the request."""
    if any(not isinstance(value, int | float | Decimal) for value in context.values()):
        return f"{subject} is not valid."
    if message.startswith("Input should "):
        return f"{subject} must {message.removeprefix('Input should ')}."
    return f"{subject} is not valid: {message[:1].lower()}{message[1:]}."


def _length(at: str, key: str) -> Callable[[Context], str]:
    def words(context: Context) -> str:
        number = context[key]
        if (at, number) == ("at least", 1):
            return "must not be empty"
        # Pydantic calls a list "List", and the text that a validator returned "Value".
        thing = "item" if context.get("field_type") == "List" else "character"
        return f"must have {at} {_count(number, thing)}"

    return words


def _bound(relation: str, relation_of_dates: str, key: str) -> Callable[[Context], str]:
    def words(context: Context) -> str:
        bound = context[key]
        if isinstance(bound, str):  # a date, as pydantic gives it
            return f"must be {relation_of_dates} {bound}"
        return f"must be {relation} {_number(bound)}"

    return words


def _count(number: int, thing: str) -> str:
    return f"{_number(number)} {thing}{'' if number == 1 else 's'}"


def _number(number: float | Decimal) -> str:
    """Write 1000000.0 as "1,000,000"."""
    return f"{Decimal(str(number)).normalize():,f}"


def _one_of(context: Context) -> str:
    """Pydantic gives the values as "'a', 'b' or 'c'"."""
    values = str(context["expected"]).replace("'", "")
    return f"must be one of {values}" if "," in values else f"must be {values}"


def _digits(where: str, key: str) -> Callable[[Context], str]:
    def words(context: Context) -> str:
        return f"must have at most {_count(context[key], 'digit')} {where}"

    return words


TEXT = "must be text"
WHOLE_NUMBER = "must be a whole number"
NUMBER = "must be a number"
YES_OR_NO = "must be true or false"
DATE = "must be a date, such as 2026-01-31"
DATE_AND_TIME = "must be a date and time, such as 2026-01-31T18:00:00Z"
UUID = "must be a UUID"
KNOWN_KIND = "must be of a known kind"
OBJECT = "must be a JSON object"

# By the type of the error: what follows the name of the field.
PREDICATES: dict[str, str | Callable[[Context], str]] = {
    "missing": "is required",
    "extra_forbidden": "is not known here. Please remove it",
    OUT_OF_RANGE_ID: "does not exist",
    # Text.
    "string_type": TEXT,
    "string_unicode": "has characters that are not valid Unicode. Please remove them",
    "string_pattern_mismatch": "has characters that are not allowed here. Please remove them",
    "nul_character": "has a NUL character. Please remove it",
    "not_one_line": "must be one line, without control characters. Please remove them",
    "picture_address": "must be an address that begins with https://",
    "string_too_short": _length("at least", "min_length"),
    "string_too_long": _length("at most", "max_length"),
    "enum": _one_of,
    "literal_error": _one_of,
    # Text with further validators, and lists.
    "too_short": _length("at least", "min_length"),
    "too_long": _length("at most", "max_length"),
    "list_type": "must be a list",
    # Numbers.
    "int_type": WHOLE_NUMBER,
    "int_parsing": WHOLE_NUMBER,
    "int_from_float": WHOLE_NUMBER,
    "int_parsing_size": "must be a whole number with fewer digits",
    "float_type": NUMBER,
    "float_parsing": NUMBER,
    "decimal_type": NUMBER,
    "decimal_parsing": NUMBER,
    "decimal_max_digits": _digits("in total", "max_digits"),
    "decimal_max_places": _digits("after the decimal point", "decimal_places"),
    "decimal_whole_digits": _digits("before the decimal point", "whole_digits"),
    "finite_number": "must be a number, not infinity or NaN",
    "greater_than": _bound("more than", "after", "gt"),
    "greater_than_equal": _bound("at least", "on or after", "ge"),
    "less_than": _bound("less than", "before", "lt"),
    "less_than_equal": _bound("at most", "on or before", "le"),
    "quantity_too_large": _bound("less than", "before", "bound"),
    # Other values.
    "bool_type": YES_OR_NO,
    "bool_parsing": YES_OR_NO,
    "date_type": DATE,
    "date_from_datetime_parsing": DATE,
    "date_from_datetime_inexact": "must be a date without a time, such as 2026-01-31",
    "datetime_type": DATE_AND_TIME,
    "datetime_parsing": DATE_AND_TIME,
    "datetime_from_date_parsing": DATE_AND_TIME,
    "uuid_type": UUID,
    "uuid_parsing": UUID,
    "union_tag_invalid": KNOWN_KIND,
    "union_tag_not_found": KNOWN_KIND,
    "dict_type": OBJECT,
    "model_type": OBJECT,
    "model_attributes_type": OBJECT,
}
