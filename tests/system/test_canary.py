"""Canaries in every input of the API turn up in no log, no error, and no other household.

One canary stands for what users write, the other for secrets. Secrets are not in Redis either.
"""

import asyncio
import gzip
import json
from contextlib import asynccontextmanager, suppress
from datetime import date

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from sqlalchemy import text

from freshly.chassis.observability.logging import configure_logging
from tests.conftest import client_of, running, settings_for
from tests.support.api import Kitchen
from tests.support.fake_services import model_server

TEXT, SECRET = "canary-text-7391", "canary-secret-2846"
SECRET_FIELDS = {"password", "new_password", "code", "reset_token", "refresh_token", "invite_code"}
TEST_CLIENT = "httpx2"  # logs the addresses that it sends requests to
LONGEST_TEXT = 1_000_000
METHODS = ("post", "put", "patch", "delete")
ENDS_THE_SESSION = {"/users/me", "/auth/logout"}


@pytest.fixture
async def app(database_url, redis_url, tmp_path):
    async with model_server() as model:
        settings = settings_for(
            database_url,
            tmp_path,
            redis_url=SecretStr(redis_url),
            cache="auto",
            openai_base_url=model.url,
        )
        async with running(settings) as served:
            served.model = model
            yield served


@pytest.fixture
def logged(capsys):
    """Return a function that returns everything logged so far, also by libraries."""
    configure_logging("DEBUG")
    capsys.readouterr()
    yield lambda: capsys.readouterr().err
    configure_logging("WARNING")


def filled(schema, definitions, name=""):
    """Return a value of the schema with a canary in each text."""
    while "$ref" in schema or "anyOf" in schema:
        reference = schema.get("$ref", "").rpartition("/")[2]
        schema = definitions[reference] if reference else schema["anyOf"][0]
    if "enum" in schema or "const" in schema:
        return schema.get("const", schema.get("enum", [""])[0])
    made = {
        "array": lambda: [filled(schema["items"], definitions, name)],
        "string": lambda: canary(schema, name),
        "boolean": lambda: False,
        "integer": lambda: max(1, schema.get("minimum", 1)),
        "number": lambda: max(1, schema.get("minimum", 1)),
        "object": lambda: {
            key: filled(value, definitions, key)
            for key, value in schema.get("properties", {}).items()
        },
    }
    return made[schema.get("type", "object")]()


def canary(schema, name):
    match schema.get("format"):
        case "email":
            return f"{TEXT}@example.com"
        case "date":
            return date(2030, 1, 7).isoformat()
    if schema.get("maxLength", 0) > LONGEST_TEXT:
        return ""  # a picture, which would be refused before the model gets the question
    value = SECRET if name in SECRET_FIELDS else TEXT
    return value[: schema.get("maxLength", len(value))]


def writes(document):
    """Yield method, path and options of a request for each operation that writes."""
    definitions = document["components"]["schemas"]
    for template, operations in document["paths"].items():
        for method in METHODS:
            if method in operations and template not in ENDS_THE_SESSION:
                operation = operations[method]
                body = operation.get("requestBody", {}).get("content", {}).get("application/json")
                options = {"json": filled(body["schema"], definitions)} if body else {}
                query = [p for p in operation.get("parameters", ()) if p["in"] == "query"]
                options["params"] = {p["name"]: TEXT for p in query if p.get("required")}
                path = template.replace("{path}", TEXT).replace("{bucket}", "users")
                while "{" in path:
                    path = f"{path.partition('{')[0]}1{path.partition('}')[2]}"
                yield method.upper(), path, options


async def send_all(person, document):
    """Send all requests at once, as the user and without a user. Return the responses."""
    calls = []
    for number, (method, path, options) in enumerate(writes(document)):
        headers = {"User-Agent": TEXT, "Idempotency-Key": f"{SECRET}-{number}"}
        anonymous = {**headers, "Authorization": f"Bearer {SECRET}"}
        calls += [
            person.request(method, path, headers=headers, **options),
            person.client.request(method, path, headers=anonymous, **options),
        ]
    assert len(calls) > 100
    return await asyncio.gather(*calls)


@asynccontextmanager
async def locked(db):
    """Let no other transaction write, for as long as the context is open."""
    if db.engine.dialect.name == "sqlite":
        async with db.write():
            yield
        return
    async with db.engine.begin() as connection:
        tables = "users, meals, pantry_items, grocery_lists, recipes, chat_conversations"
        await connection.execute(text(f"LOCK TABLE {tables} IN EXCLUSIVE MODE"))
        yield


def found_in(content):
    return [one for one in (TEXT, SECRET) if one in content]


async def contents_of_redis(url):
    """Return all keys and values, decompressed."""
    redis = Redis.from_url(url)
    parts = []
    for key in await redis.keys("*"):
        parts.append(key)
        with suppress(Exception):  # a value of another type than a text
            value = await redis.get(key)
            parts.append(value)
            parts.append(gzip.decompress(value.partition(b"\n")[2]))
    await redis.aclose()
    return b"\n".join(part for part in parts if part).decode("latin-1")


async def test_canaries_are_found_in_no_log_no_error_and_no_other_household(app, logged, redis_url):
    async with client_of(app) as client, client_of(app) as other_client:
        alice = await Kitchen(client).person("Alice")
        await Kitchen(client).family(alice)
        bob = await Kitchen(other_client).person("Bob")
        await Kitchen(other_client).family(bob)
        document = app.app.openapi()

        await alice.post_ok("/chat", {"message": TEXT, "system": TEXT}, status=200)
        responses = await send_all(alice, document)
        async with locked(app.resources.db):
            responses += await send_all(alice, document)

        assert sum(response.status_code < 300 for response in responses) > 8
        errors = [one for one in responses if one.status_code >= 400]
        assert [one.text for one in errors if found_in(one.text)] == []
        assert [one.status_code for one in errors if one.status_code == 500] == []
        reads = [
            path
            for path, operations in document["paths"].items()
            if "get" in operations and "{" not in path
        ]
        for path in reads:
            response = await bob.get(path)
            assert found_in(response.text) == [], path
        for number in range(1, 6):
            for path in ("meals", "pantry-items", "grocery-lists", "recipes", "families"):
                response = await bob.get(f"/{path}/{number}")
                assert found_in(response.text) == [], path
        for path in ("/pantry-items/me", "/meals/me", "/users/me", "/families"):
            await alice.get(path)

    assert TEXT in json.dumps([one["messages"] for one in app.model.requests])
    lines = logged()
    assert len(lines.splitlines()) > 200
    leaks = [
        line
        for line in lines.splitlines()
        if found_in(line.replace(f"/{TEXT}", "")) and json.loads(line)["logger"] != TEST_CLIENT
    ]
    assert leaks == []
    assert SECRET not in await contents_of_redis(redis_url)
