"""Rules of the code base that no reviewer should have to remember."""

import os
import re
from inspect import getsource
from pathlib import Path
from typing import get_args

import pytest
from annotated_types import MaxLen
from pydantic import AfterValidator
from sqlalchemy import event

import freshly
from freshly.app import create_app
from freshly.chassis.data.transactions import DbSession, request_session
from freshly.chassis.dependencies import _class_of, _dependency, _parameters
from freshly.chassis.errors import Conflict
from freshly.chassis.web.preconditions import Route
from freshly.chassis.web.schemas import Schema, _storable
from freshly.domains.usage.service import Assistant
from tests.conftest import client_of, running, settings_for

SOURCE = Path(freshly.__file__).parent
REPOSITORY = SOURCE.parents[1]
PUBLIC = {
    "/",
    "/health",
    "/ready",
    "/metrics",  # with METRICS_TOKEN, or from this machine
    "/docs",
    "/docs/assets/{name}",
    "/favicon.ico",
    "/auth/register",
    "/auth/login",
    "/auth/refresh",
    "/auth/send-code",
    "/auth/verify-code",
    "/auth/forgot-password",
    "/auth/forgot-password/verify",
    "/auth/reset-password",
    "/auth/signup/oauth",
    "/auth/login/oauth",
    "/auth/link",  # the token of an email
    "/auth/sign-up",  # the token of an invitation
    "/invitations",  # needs the token of a link
    "/files/{bucket}/{path:path}",  # needs a signature, except in the public bucket
}
LONGEST_FILE = 400


# Folders that `./run` and Python create in a checkout, as in .gitignore.
CREATED_BY_TOOLS = {".git", ".venv", ".tools", "data", "__pycache__"}


def own_files(suffix=""):
    """Return every file of the repository, without git, because a bare machine has none."""
    found = []
    for folder, folders, names in os.walk(REPOSITORY):
        folders[:] = [
            name for name in folders if name not in CREATED_BY_TOOLS and "_cache" not in name
        ]
        found += [Path(folder, name) for name in names if name.endswith(suffix)]
    assert len(found) > 50
    return found


def sources():
    found = sorted(SOURCE.rglob("*.py"))
    assert found
    return found


def routes_of(app):
    routes = [route for route in app.routes if isinstance(route, Route)]
    assert routes
    return routes


def needs(call, wanted):
    """Return True if FastAPI or Freshly builds `wanted` to call this."""
    call = _class_of.get(call, call)
    dependencies = filter(None, map(_dependency, _parameters(call).values()))
    return call is wanted or any(needs(dependency, wanted) for dependency in dependencies)


@pytest.fixture
def bare_app(tmp_path):
    return create_app(settings_for("sqlite://", tmp_path))


def test_every_route_requires_a_signed_in_user_unless_listed_as_public(bare_app):
    open_routes = {route.path for route in routes_of(bare_app) if not route.signed_in}

    assert open_routes == PUBLIC


async def test_routes_for_signed_in_users_refuse_anonymous_requests(settings):
    async with running(settings) as served, client_of(served) as client:
        for route in routes_of(served.app):
            if route.signed_in:
                path = re.sub(r"{[^}]*}", "1", route.path)
                response = await client.request(route.method, path)
                assert response.status_code == 401, (route.method, path)


# These call a model, a mail server or a file store, which may be slow.
CALLING_OUT = {
    "/auth/login/oauth",
    "/auth/signup/oauth",
    "/chat",
    "/chat/stream",
    "/chat/legacy",
    "/chat/generate-image",
    "/chat/scan-grocery",
    "/chat/scan-grocery-proxy",
    "/grocery-lists/ingredients/normalize",
    "/storage/avatar/proxy",
    "/users/me/usage",
    "/users/me/stats",
    "/files/{bucket}/{path:path}",
    "/users/me/exports/{name}",
}


def holds_a_session(dependant):
    return dependant.call is request_session or any(map(holds_a_session, dependant.dependencies))


def test_routes_that_call_other_servers_hold_no_database_connection(bare_app):
    routes = [r for r in routes_of(bare_app) if r.path in CALLING_OUT]

    assert {r.path for r in routes} == CALLING_OUT
    assert [r.path for r in routes if holds_a_session(r.dependant)] == []
    assert any(holds_a_session(r.dependant) for r in routes_of(bare_app))


def test_only_the_usage_domain_calls_the_model_so_each_call_is_charged():
    callers = [path.parent.name for path in sources() if "Resources.llm" in path.read_text()]

    assert callers == ["usage"]


def test_routes_that_call_the_model_stop_when_the_client_disconnects(bare_app):
    callers = [r for r in routes_of(bare_app) if needs(r.endpoint, Assistant)]
    stopping = {r.path for r in callers if "cancel_on_disconnect(" in getsource(r.dependant.call)}

    assert len(callers) == 7
    assert {r.path for r in callers} - stopping == {"/chat/stream"}  # the framework stops streams


def test_only_the_transaction_module_commits():
    """The transaction module commits by leaving `session.begin()`, without a call of commit()."""
    assert [path for path in sources() if ".commit(" in path.read_text()] == [
        SOURCE / "commands" / "migrate.py",  # Alembic's own connection
        SOURCE / "commands" / "migration_sql.py",  # a temporary copy
    ]


def test_only_access_creates_owners():
    """An Owner proves a membership check, so only the code that checks may create it."""
    creators = [path.name for path in sources() if re.search(r"\bOwner\(", path.read_text())]

    assert creators == ["access.py"]


def test_only_endpoints_and_the_chassis_import_the_web_framework():
    importing = {
        path.relative_to(SOURCE).as_posix()
        for path in sources()
        if re.search(r"^(?:from|import) (?:fastapi|starlette)", path.read_text(), re.MULTILINE)
    }
    allowed = re.compile(
        r"chassis/(?:web/|dependencies\.py)|app\.py|wiring/registry\.py|domains/\w+/endpoints\.py|domains/families/access\.py"
    )

    assert {path for path in importing if not allowed.match(path)} == {
        "commands/serve.py"
    } & importing


def test_only_models_repositories_and_the_chassis_import_sqlalchemy():
    importing = {
        path.relative_to(SOURCE).as_posix()
        for path in sources()
        if re.search(r"^(?:from|import) sqlalchemy", path.read_text(), re.MULTILINE)
    }
    allowed = re.compile(
        r"chassis/|domains/\w+/(?:models|(?:\w+_)?repository)\.py|domains/families/access\.py"
        r"|(?:commands/(?:migrat\w+|schema|doctor/databases|failures|serve|worker)|settings/\w+"
        r"|wiring/tables)\.py"
    )

    assert {path for path in importing if not allowed.match(path)} == set()


def test_no_file_has_more_than_400_lines():
    long = {
        path.relative_to(REPOSITORY).as_posix(): lines
        for path in [*own_files(".py"), REPOSITORY / "run"]
        if (lines := len(path.read_text().splitlines())) > LONGEST_FILE
    }

    assert long == {}


def test_no_file_has_a_vague_name():
    vague = re.compile(r"utils?|helpers?|managers?|common|misc")

    assert [path for path in own_files() if vague.fullmatch(path.stem)] == []


def test_no_file_names_a_package_registry():
    hosts = re.compile(
        "|".join(["py" + "pi.", "python" + "hosted", "npm" + "js", "registry." + "yarn"])
    )

    naming = [path for path in own_files() if hosts.search(path.read_text(errors="replace"))]

    assert naming == []


def schemas():
    found = set()
    waiting = [Schema]
    while waiting:
        waiting += (subclasses := waiting.pop().__subclasses__())
        found.update(subclasses)
    assert found
    return found


def texts_in(annotation, metadata=()):
    """Yield the annotations of each `str` in a type."""
    if annotation is str:
        yield tuple(metadata)
    inner = get_args(annotation)
    own = getattr(annotation, "__metadata__", ())
    for part in inner[:1] if own else inner:
        yield from texts_in(part, (*metadata, *own) if own else metadata)


def flat(metadata):
    for item in metadata:
        yield item
        yield from getattr(item, "metadata", ())


@pytest.mark.parametrize("schema", sorted(schemas(), key=str), ids=lambda s: s.__name__)
def test_every_text_of_a_request_has_a_maximum_length_and_no_nul(schema, bare_app):
    del bare_app  # building it imports every schema
    for name, field in schema.model_fields.items():
        for metadata in texts_in(field.annotation, field.metadata):
            known = list(flat(metadata))
            checked = any(isinstance(m, AfterValidator) and m.func is _storable for m in known)
            limited = any(isinstance(m, MaxLen) for m in known)
            assert checked, f"{schema.__name__}.{name} may hold NUL"
            assert limited, f"{schema.__name__}.{name} has no limit"


async def test_a_failed_commit_never_becomes_a_successful_response(settings):
    class CommitFailed(Conflict):
        code, detail = "commit_failed", "The commit failed."

    def fail(_session):
        raise CommitFailed

    async with running(settings) as served, client_of(served) as client:

        @served.app.post("/change")
        async def change(session: DbSession) -> None:
            event.listen(session.sync_session, "before_commit", fail)

        assert (await client.post("/change")).status_code == 409
