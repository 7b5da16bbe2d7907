"""The building blocks of request and response bodies."""

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic_core import PydanticCustomError, PydanticKnownError

from freshly.chassis.data.types import LARGEST_QUANTITY, THOUSANDTH
from freshly.chassis.errors import OUT_OF_RANGE_ID
from freshly.chassis.one_line import NOT_IN_A_LINE
from freshly.chassis.web.own_hosts import own_hosts
from freshly.settings import is_loopback

LARGEST_INT = 2**31 - 1
LONGEST_TEXT = 20_000
# A path names a file of ours. A local installation has no TLS for its links to files.
PICTURE_ADDRESS = re.compile(
    r"https://[^\s]+|(?!//)[^:\\]*"
    r"|http://(?P<host>[\w.-]+|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?/(?:[^\s\\]*/)?files/[^\s\\]+"
)


def _storable(text: str) -> str:
    """Refuse what PostgreSQL cannot store: NUL, and the lone surrogates that JSON can spell."""
    if "\0" in text:
        raise PydanticCustomError("nul_character", "Text must not contain a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PydanticKnownError("string_unicode") from error
    return text


def _one_line(text: str) -> str:
    if NOT_IN_A_LINE.search(text):
        raise PydanticCustomError("not_one_line", "Text must be one line")
    return text


def _picture_address(text: str) -> str:
    """Refuse other schemes, such as `javascript:`, and hosts of others without TLS."""
    found = PICTURE_ADDRESS.fullmatch(text.strip())
    host = found["host"] if found else None
    if found is None or (host is not None and not _is_ours(host)):
        raise PydanticCustomError("picture_address", "Address must begin with https://")
    return text


def _is_ours(host: str) -> bool:
    name = host.lower().strip("[]")
    return is_loopback(name) or name in own_hosts.get()


def _within_32_bits(id: int) -> int:
    if not -LARGEST_INT <= id <= LARGEST_INT:
        raise PydanticCustomError(OUT_OF_RANGE_ID, "No row has this id")
    return id


def _to_thousandths(quantity: Decimal) -> Decimal:
    if quantity > LARGEST_QUANTITY:
        raise PydanticCustomError(
            "quantity_too_large", "Quantity should be less than {bound}", {"bound": 10**7}
        )
    return quantity.quantize(THOUSANDTH, ROUND_HALF_UP)


def _blank_is_null(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def plain(quantity: Decimal) -> str:
    """Return the number without an exponent: 1E+3 is "1000"."""
    return f"{quantity:f}"


# Each text in a request is one of these, which a guard test checks: PostgreSQL can store it, and
# its length has a limit.
AnyText = Annotated[str, AfterValidator(_storable)]
LongText = Annotated[AnyText, Field(max_length=LONGEST_TEXT)]
# Names and other texts that are shown within a line.
OneLine = Annotated[AnyText, AfterValidator(_one_line)]
Line = Annotated[OneLine, Field(max_length=255)]
ShortText = Annotated[OneLine, Field(max_length=64)]
Title = Annotated[OneLine, Field(max_length=200)]
# The address of a picture: with https, or a file of ours.
PictureAddress = Annotated[OneLine, AfterValidator(_picture_address)]

# No row has an id that does not fit its column, so such an id is a 404 like any unknown id.
Id = Annotated[int, AfterValidator(_within_32_bits), Field(json_schema_extra={"format": "int32"})]
WholeNumber = Annotated[int, Field(ge=0, le=LARGEST_INT)]

# Columns have three decimals. More are rounded half up.
QuantityIn = Annotated[
    Decimal, Field(ge=0, allow_inf_nan=False, lt=10**7), AfterValidator(_to_thousandths)
]
QuantityOut = Annotated[Decimal, PlainSerializer(plain, return_type=str)]

Nullable = BeforeValidator(_blank_is_null)


def example(body: dict[str, Any]) -> ConfigDict:
    """Return the configuration of a schema whose example in the API's description is `body`."""
    return ConfigDict(json_schema_extra={"examples": [body]})


class Schema(BaseModel):
    """The base of request bodies. Unknown keys are ignored, as the existing app expects."""


class ReadSchema(BaseModel):
    """The base of response bodies, built from rows or from plain values."""

    model_config = ConfigDict(from_attributes=True)


class Message(BaseModel):
    message: str


class Ok(BaseModel):
    ok: bool = True


def changes(update: BaseModel) -> dict[str, Any]:
    """Return the fields that were sent with a value. Null means "no change" to the app."""
    return {
        name: value
        for name in update.model_fields_set
        if (value := getattr(update, name)) is not None
    }


def sent_values(update: BaseModel, *, never_null: Collection[str] = ()) -> dict[str, Any]:
    """The fields that the client sent. Null clears a field, except one that is never null."""
    sent = update.model_dump(include=update.model_fields_set)
    return {
        name: value for name, value in sent.items() if value is not None or name not in never_null
    }


def assign(row: object, values: Mapping[str, Any]) -> None:
    """Set the attributes of a row by name."""
    for name, value in values.items():
        setattr(row, name, value)


class Stamped(ReadSchema):
    created_at: datetime
    updated_at: datetime
