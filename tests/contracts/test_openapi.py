"""The OpenAPI document: complete, and good enough to generate a typed client."""

import compileall
import json
import re
import subprocess
import sys

import pytest

from freshly.app import create_app
from freshly.chassis.web.openapi import NAMES_OF_CLIENTS
from freshly.chassis.web.schemas import Schema
from freshly.wiring.registry import DOMAINS, tags
from tests.conftest import settings_for
from tests.contracts.test_guards import PUBLIC

METHODS = {"get", "post", "put", "patch", "delete"}
PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    return create_app(settings_for("sqlite://", tmp_path_factory.mktemp("app"))).openapi()


def operations(document):
    found = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    ]
    assert len(found) > 120
    return found


def test_every_operation_has_a_summary_and_describes_its_errors(document):
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        assert operation["summary"], where
        assert set(operation["tags"]) <= tags().keys(), where
        signed_in = path not in {open_path.replace(":path}", "}") for open_path in PUBLIC}
        assert ("security" in operation) == signed_in, where
        assert not signed_in or "401" in operation["responses"], where
        # Any text will do for these: another than the right one is 412, 200 or 403.
        any_text = {"If-Match", "If-None-Match", "X-Reauth"}
        named = {one["name"] for one in operation.get("parameters", ())} - any_text
        assert ("422" in operation["responses"]) or not (named or operation.get("requestBody")), (
            where
        )
        for status, response in operation["responses"].items():
            if status == "default" or int(status) >= 400:
                assert response["content"] == PROBLEM, f"{where} {status}"
                assert response["description"], f"{where} {status}"


def test_retries_and_states_are_described(document):
    for path, method, operation in operations(document):
        named = {one["name"] for one in operation.get("parameters", ())}
        assert ("Idempotency-Key" in named) == (method == "post"), path
        assert ("If-Match" in named) == ("412" in operation["responses"]), path
        if "304" in operation["responses"]:
            assert (method, "ETag" in operation["responses"]["200"]["headers"]) == ("get", True)
    item = document["paths"]["/pantry-items/{id}"]
    assert "ETag" in item["patch"]["responses"]["200"]["headers"]
    assert "412" in item["delete"]["responses"]
    assert "304" in item["get"]["responses"]


def test_headers_that_routes_read_are_described(document):
    def readers(name):
        return {
            f"{method.upper()} {path}"
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
            if any(
                (one["in"], one["name"]) == ("header", name)
                for one in operation.get("parameters", ())
            )
        }

    assert readers("X-Reauth") == {
        "POST /auth/change-password",
        "POST /auth/confirm-email",
        "POST /users/me/export",
        "DELETE /users/me",
    }
    assert {"GET /meals/me", "GET /users/me"} <= readers("If-None-Match")


def test_operation_ids_are_unique(document):
    names = [operation["operationId"] for _, _, operation in operations(document)]

    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z_]+", name) for name in names)


def test_tags_have_descriptions_and_the_order_of_the_domains(document):
    named = [tag["name"] for tag in document["tags"]]

    assert named == ["system", *(domain.tag for domain in DOMAINS if domain.tag), "jobs"]
    assert all(tag["description"] for tag in document["tags"])


def test_every_json_request_body_has_a_valid_example(document):
    models = {model.__name__: model for model in subclasses(Schema)}
    bodies = set()
    for _, _, operation in operations(document):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            bodies |= set(re.findall(r"schemas/(\w+)", json.dumps(content)))
    uploads = {name for name in bodies if name.startswith("Body_")}  # files, not JSON

    assert len(bodies - uploads) > 40
    for name in bodies - uploads:
        shown = document["components"]["schemas"][name]
        assert shown.get("examples"), f"{name} has no example: model_config = example(...)"
        for one in shown["examples"]:
            models[name].model_validate(one)
            assert one.keys() <= shown["properties"].keys(), f"{name} ignores a key of its example"


def subclasses(model):
    for one in model.__subclasses__():
        yield one
        yield from subclasses(one)


def test_renamed_classes_keep_the_schema_names_that_clients_know(document):
    schemas = document["components"]["schemas"]

    assert schemas["ActivityRead"]["properties"]["kind"]["$ref"] == "#/components/schemas/Happened"
    for ours, theirs in NAMES_OF_CLIENTS.items():
        assert ours not in schemas
        assert schemas[theirs]["title"] == theirs


def test_a_typed_client_can_be_generated_and_passes_mypy(document, tmp_path):
    source, client = tmp_path / "openapi.json", tmp_path / "freshly_client"
    source.write_text(json.dumps(document))
    (tmp_path / "config.yaml").write_text("post_hooks: []\n")

    made = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"),
            *("--path", source, "--output-path", client, "--config", tmp_path / "config.yaml"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert made.returncode == 0, made.stderr
    assert "warning" not in (made.stdout + made.stderr).lower(), made.stdout + made.stderr
    assert compileall.compile_dir(client, quiet=1)
    apis = [path for path in (client / "api").rglob("*.py") if path.stem != "__init__"]
    assert len(apis) == len(operations(document))
    checked = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--ignore-missing-imports", "--follow-imports=silent"),
            *("--cache-dir", tmp_path / "mypy", "--config-file", "/dev/null", client),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout[-2000:]
