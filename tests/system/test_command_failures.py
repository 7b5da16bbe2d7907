"""Commands say one line for each failure that is to be expected, and no traceback."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import uuid
from contextlib import closing

import asyncpg
import pytest

from freshly.chassis.data.engine import create_engine
from freshly.chassis.observability.logging import configure_logging
from freshly.cli import main
from freshly.settings import connect_options, driven, load
from tests.conftest import _named, _on_server
from tests.system.test_commands import environment as clean_environment

AWAY = "postgresql://u:hunter2@127.0.0.1:9/x"
USING_THE_DATABASE = (
    ("migrate",),
    ("jobs", "list"),
    ("jobs", "retry", "a1"),
    ("admin", "suspend", "eve@example.com"),
    ("backup",),
    ("serve",),
)


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Clear the environment, and give the test a data folder of its own."""
    for name in list(os.environ):
        if name.isupper() and name not in ("PATH", "HOME", "LANG"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ENV_FILE", "")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    yield monkeypatch
    configure_logging("WARNING")


@pytest.fixture
def run(capsys):
    """Return a function that runs a command and returns its status, output and lines of errors."""

    def run_command(*arguments):
        status = main(arguments)
        told = capsys.readouterr()
        return status, told.out, told.err.splitlines()

    return run_command


def only(lines):
    assert len(lines) == 1, lines
    assert "Traceback" not in lines[0]
    assert lines[0].startswith("freshly: ")
    return lines[0]


@pytest.mark.parametrize("command", USING_THE_DATABASE, ids=" ".join)
def test_a_database_that_is_away_is_told_in_one_line_without_its_password(
    environment, run, command
):
    environment.setenv("DATABASE_URL", AWAY)

    status, _, errors = run(*command)

    assert status == 1
    line = only(errors)
    assert "DATABASE_URL" in line
    assert "Connect call failed" in line
    assert "hunter2" not in line


def test_a_wrong_database_a_missing_right_and_a_missing_schema_are_told_in_one_line(
    environment, run, postgres_url
):
    name, role = (f"{kind}_{uuid.uuid4().hex}" for kind in ("database", "role"))
    asyncio.run(_on_server(postgres_url, f"CREATE DATABASE {name}"))
    asyncio.run(_on_server(postgres_url, f"CREATE ROLE {role} LOGIN"))
    url = _named(postgres_url, name)
    try:
        environment.setenv("DATABASE_URL", _named(postgres_url, "no_such_database"))
        assert 'database "no_such_database" does not exist' in only(run("jobs", "list")[2])
        environment.setenv("DATABASE_URL", url)
        assert "run `freshly migrate`" in only(run("jobs", "list")[2])
        assert "run `freshly migrate`" in only(run("backup")[2])
        environment.setenv("DATABASE_URL", url.replace("postgres@", f"{role}@"))
        status, _, errors = run("migrate")
        assert (status, "permission denied" in only(errors)) == (1, True)
        output = json.loads(run("doctor", "--json")[1])
        [rights] = [one for one in output["checks"] if one["check"] == "rights"]
        assert rights["level"] == "unwise"
        assert f"GRANT CREATE ON SCHEMA public TO {role}" in rights["text"]
    finally:
        asyncio.run(_on_server(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))
        asyncio.run(_on_server(postgres_url, f"DROP ROLE {role}"))


def test_a_lock_that_another_process_holds_is_told_in_one_line(environment, run, database_url):
    environment.setenv("DATABASE_URL", database_url)
    if database_url.startswith("sqlite"):
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as holder:
            holder.execute("BEGIN IMMEDIATE")
            status, _, errors = run("jobs", "retry", "a1")
    else:

        async def while_locked():
            holder = await asyncpg.connect(database_url)
            try:
                async with holder.transaction():
                    await holder.execute("LOCK TABLE jobs")
                    return await asyncio.to_thread(run, "jobs", "retry", "a1")
            finally:
                await holder.close()

        status, _, errors = asyncio.run(while_locked())

    assert status == 1
    assert "another process holds a lock, so try again" in only(errors)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("channel_binding=require", "channel_binding: the driver cannot bind channels"),
        ("pgbouncer=true", "pgbouncer: is for the URL of a pooler"),
        ("connection_limit=5", "connection_limit: leave it out, and set DATABASE_POOL_SIZE"),
        ("sslrootcert=/nowhere/ca.pem", "sslrootcert: there is no file /nowhere/ca.pem"),
        ("sslmode=yes", "sslmode=yes: is none of disable"),
        ("target_session_attrs=x", "target_session_attrs=x: is none of any"),
        ("connect_timeout=soon", "connect_timeout=soon: is not a number of seconds"),
        ("colour=red", "colour: is not an option that Freshly knows"),
    ],
)
def test_an_option_of_a_database_url_that_freshly_cannot_obey_is_refused_by_name(
    environment, run, option, sentence
):
    environment.setenv("DATABASE_URL", f"postgresql://u:hunter2@host/d?{option}")

    status, _, errors = run("migrate")

    assert status == 2
    assert f"DATABASE_URL: {sentence}" in only(errors)


def test_the_options_of_hosters_reach_postgresql(environment, run, postgres_url):
    name = f"test_{uuid.uuid4().hex}"
    asyncio.run(_on_server(postgres_url, f"CREATE DATABASE {name}"))
    options = (
        "sslmode=prefer&channel_binding=prefer&connect_timeout=10&application_name=from-url"
        "&target_session_attrs=read-write&options=-c%20work_mem%3D5MB&gssencmode=disable"
    )
    url = f"{_named(postgres_url, name)}?{options}"
    environment.setenv("DATABASE_URL", url)

    async def asked():
        engine = create_engine(driven(url))
        async with engine.connect() as connection:
            query = "SELECT current_setting('application_name'), current_setting('work_mem')"
            in_session = (await connection.exec_driver_sql(query)).one()
        await engine.dispose()
        return tuple(in_session)

    try:
        assert run("migrate")[0] == 0
        assert asyncio.run(asked()) == ("from-url", "5MB")
    finally:
        asyncio.run(_on_server(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


def test_several_hosts_a_pooler_and_a_slow_hoster_are_understood():
    url = driven(
        "postgresql://u:p@one:5433,two/d?target_session_attrs=read-write&connect_timeout=9"
    )
    pooled = driven("postgres://u@h/d?pgbouncer=true&ssl=true", pooler=True)

    options = connect_options(url)
    assert (options["host"], options["port"]) == (["one", "two"], [5433, 5432])
    assert options["timeout"] == 9
    assert connect_options(pooled) == {"dsn": "postgresql:///?sslmode=require"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "http://localhost"),
        ("REDIS_URL", "redis://localhost?colour=red"),
        ("STORAGE_URL", "ftp://host/bucket"),
        ("STORAGE_URL", "s3://key:hunter2@host"),
        ("STORAGE_URL", "file://relative/path"),
        ("OPENAI_BASE_URL", "localhost:11434/v1"),
        ("SUPABASE_URL", "project.supabase.co"),
        ("QUOTAS", "{not json"),
        ("QUOTAS", "[1]"),
    ],
)
def test_a_bad_address_of_a_service_is_one_line_with_status_2(environment, run, name, value):
    environment.setenv(name, value)

    for command in ("serve", "doctor"):
        status, output, errors = run(command)
        assert (status, output) == (2, "")
        assert only(errors).startswith(f"freshly: {name}: ")
        assert "hunter2" not in errors[0]


def test_all_bad_settings_are_told_at_once(environment, run):
    for name in ("PORT", "WORKERS", "REDIS_URL", "QUOTAS"):
        environment.setenv(name, "wrong")

    status, _, errors = run("serve")

    assert status == 2
    told = {line.split(": ")[1] for line in errors}
    assert told == {"PORT", "WORKERS", "REDIS_URL", "QUOTAS"}
    for name in ("PORT", "WORKERS", "REDIS_URL", "QUOTAS"):
        environment.delenv(name)
    environment.setenv("APP_ENV", "production")
    environment.setenv("JWT_SECRET", "weak")
    environment.setenv("AVATARS_BUCKET", "exports")
    assert [line.split(": ")[1] for line in run("serve")[2]] == ["JWT_SECRET", "AVATARS_BUCKET"]


def test_a_mistyped_name_is_warned_of_and_other_names_are_not(environment, run):
    for name in ("DATABSE_URL", "REDIS_URI", "HOSTNAME", "WORKDIR", "database_url"):
        environment.setenv(name, "sqlite:///x.db" if name == "database_url" else "x")
    environment.delenv("database_url")

    status, _, errors = run("jobs", "list")

    assert status == 1  # there is no schema yet
    assert errors[:2] == [
        "freshly: DATABSE_URL is not a setting and has no effect; did you mean DATABASE_URL?",
        "freshly: REDIS_URI is not a setting and has no effect; did you mean REDIS_URL?",
    ]
    assert "freshly migrate" in errors[2]


def test_an_env_file_is_read_in_local_only_and_the_environment_wins(environment, run, tmp_path):
    file = tmp_path / ".env"
    file.write_text('# first steps\nPORT=9001\nTIMEZONE="Europe/Berlin"\nDATABSE_URL=x\n')
    environment.chdir(tmp_path)
    environment.delenv("ENV_FILE")
    environment.setenv("TIMEZONE", "Asia/Tokyo")
    before = dict(os.environ)

    for app_env, port in (("production", 8000), ("local", 9001)):
        environment.setenv("APP_ENV", app_env)
        errors = run("jobs", "list")[2]
        settings = load(data=False)
        assert (settings.port, settings.timezone) == (port, "Asia/Tokyo")
        assert any("did you mean DATABASE_URL" in line for line in errors) == (port == 9001)
    for name in os.environ.keys() - before.keys():
        environment.delenv(name)


def test_head_may_stop_reading_and_no_traceback_follows(tmp_path):
    command = f"set -o pipefail; {sys.executable} -m freshly migrate --dry-run | head -n 1"

    ended = subprocess.run(
        ["/bin/bash", "-c", command],
        env=clean_environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.stderr == ""
    assert len(ended.stdout.splitlines()) == 1
    assert ended.returncode in (0, 141)  # 0 if all of it fitted into the pipe


def test_jobs_are_listed_with_whole_ids_in_a_pipe_and_as_json(environment, run):
    job, url = uuid.uuid4().hex, f"sqlite:///{os.environ['DATA_DIR']}/jobs.db"
    environment.setenv("DATABASE_URL", url)
    assert run("migrate")[0] == 0
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute(
            "INSERT INTO jobs (id, kind, payload, state, progress, error, priority, again,"
            " attempts, deaths, taken, correlation_id, run_after) VALUES (?, 'auth.send_code',"
            " '{}', 'failed', 0, ?, 0, 0, 5, 0, 5, '-', '2026-01-01 00:00:00')",
            (job, "The mail server refused it. " * 5),
        )
    environment.setenv("COLUMNS", "80")

    _, table, _ = run("jobs", "list", "--state", "failed")
    _, in_json, _ = run("jobs", "list", "--json")

    assert job in table
    assert "The mail server refused it. " * 5 in table
    told = json.loads(in_json)
    assert [one["id"] for one in told["jobs"]] == [job]
    assert (told["failed"], told["workers"]) == (1, 0)
    assert run("jobs", "retry", job)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--help",), ("COMMAND", "examples:", "freshly doctor")),
        (("serve", "--help"), ("--host", "--port", "--workers", "--reload", "examples:")),
        (("doctor", "--help"), ("--json", "--strict", "exit status")),
        (("backup", "--help"), ("--to", "BACKUP_PASSPHRASE_FILE")),
        (("restore", "--help"), ("ARCHIVE", "--check")),
        (("jobs", "--help"), ("ACTION", "freshly jobs retry")),
    ],
)
def test_help_has_examples(capsys, arguments, parts):
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert [part for part in parts if part not in text] == []


def test_a_missing_action_is_named(capsys):
    with pytest.raises(SystemExit):
        main(["jobs"])

    assert "the following arguments are required: ACTION" in capsys.readouterr().err
