"""Every error that pydantic can find in a request has a sentence for a person."""

import re
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, get_args
from uuid import UUID

import pytest
from fastapi.routing import iter_route_contexts
from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, ValidationError
from pydantic_core import core_schema

from freshly.app import create_app
from freshly.chassis.data.pagination import ListQuery
from freshly.chassis.web.validation_messages import PREDICATES, sentence
from tests.chassis.web.test_validation_messages import CASES
from tests.conftest import settings_for
from tests.support.role_world import make_administrator

URL_ENCODED = "application/x-www-form-urlencoded"


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


def fails(_value):
    raise AssertionError("secret")


# No route raises these today. A sentence is ready for those that the next field may need; the
# others have pydantic's own words, but never a text that may come from the request.
AHEAD = [
    (Annotated[str, Field(min_length=2)], "x", "Thing must have at least 2 characters."),
    (Annotated[list[int], Field(min_length=2)], [1], "Thing must have at least 2 items."),
    (datetime, "secret", "Thing must be a date and time, such as 2026-01-31T18:00:00Z."),
    (datetime, 10**30, "Thing must be a date and time, such as 2026-01-31T18:00:00Z."),
    (datetime, [], "Thing must be a date and time, such as 2026-01-31T18:00:00Z."),
    (UUID, "secret", "Thing must be a UUID."),
    (UUID, 1, "Thing must be a UUID."),
    (Annotated[Decimal, Field(max_digits=1)], 12, "Thing must have at most 1 digit in total."),
    (
        Annotated[Decimal, Field(max_digits=3, decimal_places=1)],
        123,
        "Thing must have at most 2 digits before the decimal point.",
    ),
    (Annotated[Cat | Dog, Field(discriminator="kind")], {}, "Thing must be of a known kind."),
    (
        Annotated[Cat | Dog, Field(discriminator="kind")],
        {"kind": "secret"},
        "Thing must be of a known kind.",
    ),
    (dict[str, int], [], "Thing must be a JSON object."),
    (Cat, [], "Thing must be a JSON object."),
    (set[int], 1, "Thing must be a valid set."),
    (Annotated[float, Field(multiple_of=2)], 1, "Thing must be a multiple of 2."),
    (Annotated[str, AfterValidator(fails)], "secret", "Thing is not valid."),
    (Annotated[str, AfterValidator(str.encode)], "\ud800", "Thing is not valid."),
]


@pytest.mark.parametrize(("type_", "value", "expected"), AHEAD)
def test_an_error_that_no_route_has_yet_is_told_without_the_value(type_, value, expected):
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(type_).validate_python(value)

    [error] = caught.value.errors()
    assert sentence({**error, "loc": ("body", "thing")}) == expected


# Errors of kinds of schemas that no request has. The locations of errors in a union have names of
# its members, which `subject` would take for fields.
ABSENT_KINDS = {
    "bytes": {"bytes_type", "bytes_too_short", "bytes_too_long", "bytes_invalid_encoding"},
    "call": set(),
    "callable": {"callable_type"},
    "complex": {"complex_type", "complex_str_parsing"},
    "counter": {"counter_type"},
    "dataclass": {"dataclass_type", "dataclass_exact_type"},
    "datetime": {
        *("datetime_object_invalid", "datetime_past", "datetime_future"),
        *("timezone_naive", "timezone_aware", "timezone_offset"),
    },
    "deque": {"deque_type"},
    "ellipsis": {"ellipsis_error"},
    "fraction": {"fraction_type", "fraction_parsing"},
    "frozendict": {"frozen_dict_type"},
    "frozenset": {"frozen_set_type"},
    "generator": {"iterable_type"},
    "is-instance": {"is_instance_of"},
    "is-subclass": {"is_subclass_of"},
    "json": {"json_type"},
    "json-or-python": {"needs_python_object"},
    "missing-sentinel": {"missing_sentinel_error"},
    "multi-host-url": set(),
    "named-tuple": {"named_tuple_type"},
    "none": {"none_required"},
    "ordered-dict": {"ordered_dict_type"},
    "set": {"set_type", "set_item_not_hashable"},
    "time": {"time_type", "time_parsing"},
    "timedelta": {"time_delta_type", "time_delta_parsing"},
    "tuple": {"tuple_type"},
    "union": set(),
    "tagged-union": set(),
    "url": {"url_type", "url_parsing", "url_syntax_violation", "url_too_long", "url_scheme"},
    "uuid": {"uuid_version"},
    "arguments": {
        *("arguments_type", "missing_argument", "unexpected_keyword_argument"),
        *("missing_keyword_only_argument", "unexpected_positional_argument"),
        *("missing_positional_only_argument", "multiple_argument_values"),
    },
    "arguments-v3": set(),
}
# Errors of options that no schema of a request has.
ABSENT_OPTIONS = {
    "ascii_only": {"string_not_ascii"},
    "default_factory_takes_data": {"default_factory_not_called"},
    "multiple_of": {"multiple_of"},
    "now_op": {"date_past", "date_future"},
    "strict": {"date_parsing"},  # otherwise it is date_from_datetime_parsing
}
IMPOSSIBLE = {
    "assertion_error": "Ruff forbids assertions in validators; one would be told as not valid.",
    "frozen_field": "Only an assignment raises it.",
    "frozen_instance": "Only an assignment raises it.",
    "get_attribute_error": "A request has no Python objects.",
    "invalid_key": "The keys of JSON are text.",
    "iteration_error": "A request has no Python iterators.",
    "mapping_type": "A request has no Python mappings but dicts.",
    "no_such_attribute": "Only an assignment raises it.",
    "recursion_depth_exceeded": "No schema contains itself.",
    "recursion_loop": "JSON has no cycles.",
}
SPECIAL = {"json_invalid", "value_error"}


def parts_of(schema):
    """Each dict of a core schema."""
    if isinstance(schema, dict):
        yield schema
        for key, value in schema.items():
            if key not in ("metadata", "serialization"):
                yield from parts_of(value)
    elif isinstance(schema, list | tuple):
        for value in schema:
            yield from parts_of(value)


def fields_of(dependant):
    yield from (*dependant.path_params, *dependant.query_params, *dependant.header_params)
    for inner in dependant.dependencies:
        yield from fields_of(inner)


def request_schemas():
    """The core schemas of all bodies and parameters of the API."""
    app = create_app(settings_for("sqlite://", Path("unused")))
    for route in iter_route_contexts(app.routes):
        if hasattr(route, "dependant"):
            body = [route.body_field] if route.body_field else []
            for field in (*fields_of(route.dependant), *body):
                info = field.field_info
                yield TypeAdapter(Annotated[info.annotation, info, *info.metadata]).core_schema
    # Some routes parse their query without FastAPI.
    for query in (ListQuery, *ListQuery.__subclasses__()):
        yield TypeAdapter(query).core_schema


def test_every_error_of_a_request_has_a_sentence_or_cannot_happen():
    absent = set().union(*ABSENT_KINDS.values(), *ABSENT_OPTIONS.values())
    kinds, options = set(), set()
    for schema in request_schemas():
        for part in parts_of(schema):
            kinds.add(str(part.get("type")))
            options |= {key for key, value in part.items() if value not in (None, False)}
    worded = {*PREDICATES, *SPECIAL}

    assert {"model", "str", "decimal", "date"} <= kinds
    assert sorted(kinds & ABSENT_KINDS.keys()) == []
    assert sorted(options & ABSENT_OPTIONS.keys()) == []
    assert {*get_args(core_schema.ErrorType)} - worded - absent == IMPOSSIBLE.keys()
    assert not worded & (absent | IMPOSSIBLE.keys())


def test_every_sentence_is_held_by_a_test():
    held = {kind for _call, kind, _expected in CASES}
    for type_, value, _expected in AHEAD:
        try:
            TypeAdapter(type_).validate_python(value)
        except ValidationError as error:
            held |= {one["type"] for one in error.errors()}

    assert {*PREDICATES, *SPECIAL} - held == {"id_out_of_range"}


async def test_each_json_body_without_a_json_header_is_415_and_names_the_header(app, kitchen):
    person = await kitchen.person()
    await make_administrator(app.resources.db, person.id)
    document = (await kitchen.client.get("/openapi.json")).json()
    statuses = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if "application/json" not in operation.get("requestBody", {}).get("content", {}):
                continue
            url = re.sub(r"\{[^}]*\}", "1", path)
            # As `curl -d` sends it.
            form = {"content": b"{}", "headers": {"Content-Type": URL_ENCODED}}
            refused = await person.request(method.upper(), url, **form)
            statuses[method, path] = refused.status_code
            if refused.status_code == 415:
                assert "Content-Type: application/json" in refused.json()["detail"]

    assert len(statuses) > 50
    assert {call: status for call, status in statuses.items() if status != 415} == {}
