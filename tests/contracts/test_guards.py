"""Rules no reviewer should have to remember."""

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
    "/metrics",  # from private networks
    "/docs",
    "/docs/assets/{name}",
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
    "/files/{bucket}/{path:path}",  # by a signature, or of the public bucket
}
LONGEST_FILE = 400


# What calls of `./run` and of Python leave in a checkout; as .gitignore has it.
NOT_OURS = {".git", ".venv", ".tools", "data", "__pycache__"}


def own_files(suffix=""):
    """Everything in the repository, without asking git, which a bare machine does not have."""
    found = []
    for folder, folders, names in os.walk(REPOSITORY):
        folders[:] = [name for name in folders if name not in NOT_OURS and "_cache" not in name]
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
    """Return whether FastAPI or we build `wanted` to call this."""
    call = _class_of.get(call, call)
    dependencies = filter(None, map(_dependency, _parameters(call).values()))
    return call is wanted or any(needs(one, wanted) for one in dependencies)


@pytest.fixture
def bare_app(tmp_path):
    return create_app(settings_for("sqlite://", tmp_path))


def test_every_route_asks_who_is_calling_unless_listed_as_public(bare_app):
    open_routes = {route.path for route in routes_of(bare_app) if not route.signed_in}

    assert open_routes == PUBLIC


async def test_a_route_for_signed_in_users_refuses_everybody_else(settings):
    async with running(settings) as served, client_of(served) as client:
        for route in routes_of(served.app):
            if route.signed_in:
                path = re.sub(r"{[^}]*}", "1", route.path)
                answer = await client.request(route.method, path)
                assert answer.status_code == 401, (route.method, path)


# They ask a model, a mail server or a file store that may take its time.
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
    "/files/{bucket}/{path:path}",
}


def holds_a_session(dependant):
    return dependant.call is request_session or any(map(holds_a_session, dependant.dependencies))


def test_what_calls_out_holds_no_connection_meanwhile(bare_app):
    routes = [r for r in routes_of(bare_app) if r.path in CALLING_OUT]

    assert {r.path for r in routes} == CALLING_OUT
    assert [r.path for r in routes if holds_a_session(r.dependant)] == []
    assert any(holds_a_session(r.dependant) for r in routes_of(bare_app))


def test_the_model_is_asked_on_somebodys_account_only():
    asking = [path.parent.name for path in sources() if "Resources.llm" in path.read_text()]

    assert asking == ["usage"]


def test_what_asks_the_model_ends_when_the_client_leaves(bare_app):
    asking = [r for r in routes_of(bare_app) if needs(r.endpoint, Assistant)]
    ending = {r.path for r in asking if "cancel_on_disconnect(" in getsource(r.dependant.call)}

    assert len(asking) == 7
    assert {r.path for r in asking} - ending == {"/chat/stream"}  # the framework ends a stream


def test_nothing_commits_by_hand():
    """`unit_of_work` commits by leaving `session.begin()`; nobody else ends a transaction."""
    assert [path for path in sources() if ".commit(" in path.read_text()] == [
        SOURCE / "commands" / "migrate.py"  # Alembic's connection, which no unit of work holds
    ]


def test_only_access_names_owners():
    """An Owner is proof of a membership check, so only the checker may make one."""
    makers = [path.name for path in sources() if re.search(r"\bOwner\(", path.read_text())]

    assert makers == ["access.py"]


def test_http_is_known_to_endpoints_and_the_chassis_only():
    knowing = {
        path.relative_to(SOURCE).as_posix()
        for path in sources()
        if re.search(r"^(?:from|import) (?:fastapi|starlette)", path.read_text(), re.MULTILINE)
    }
    allowed = re.compile(
        r"chassis/(?:web/|dependencies\.py)|app\.py|wiring/registry\.py|domains/\w+/endpoints\.py|domains/families/access\.py"
    )

    assert {path for path in knowing if not allowed.match(path)} == {"commands/serve.py"} & knowing


def test_sql_is_known_to_models_repositories_and_the_chassis_only():
    knowing = {
        path.relative_to(SOURCE).as_posix()
        for path in sources()
        if re.search(r"^(?:from|import) sqlalchemy", path.read_text(), re.MULTILINE)
    }
    allowed = re.compile(
        r"chassis/|domains/\w+/(?:models|repository)\.py|domains/families/access\.py"
        r"|(?:commands/(?:migrate|doctor|serve)|settings/\w+|wiring/tables)\.py"
    )

    assert {path for path in knowing if not allowed.match(path)} == set()


def test_no_file_is_two_ideas():
    long = {
        path.relative_to(REPOSITORY).as_posix(): lines
        for path in [*own_files(".py"), REPOSITORY / "run"]
        if (lines := len(path.read_text().splitlines())) > LONGEST_FILE
    }

    assert long == {}


def test_nothing_is_called_by_a_name_that_says_nothing():
    vague = re.compile(r"utils?|helpers?|managers?|common|misc")

    assert [path for path in own_files() if vague.fullmatch(path.stem)] == []


def test_no_package_registry_is_named():
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
    """Each `str` in a type, with everything that was annotated to it."""
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
def test_every_text_that_comes_in_has_a_limit_and_no_nul(schema, bare_app):
    del bare_app  # imports every schema
    for name, field in schema.model_fields.items():
        for metadata in texts_in(field.annotation, field.metadata):
            known = list(flat(metadata))
            checked = any(isinstance(m, AfterValidator) and m.func is _storable for m in known)
            limited = any(isinstance(m, MaxLen) for m in known)
            assert checked, f"{schema.__name__}.{name} may hold NUL"
            assert limited, f"{schema.__name__}.{name} has no limit"


async def test_a_failed_commit_is_never_answered_with_success(settings):
    class CommitFailed(Conflict):
        code, detail = "commit_failed", "The commit failed."

    def fail(_session):
        raise CommitFailed

    async with running(settings) as served, client_of(served) as client:

        @served.app.post("/change")
        async def change(session: DbSession) -> None:
            event.listen(session.sync_session, "before_commit", fail)

        assert (await client.post("/change")).status_code == 409
