"""The `freshly` command, run as a process."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from urllib.error import HTTPError

import pytest

NO_DATABASE = "postgresql://u@127.0.0.1:9/x"
TIMEOUT_SECONDS = 120  # against hanging on a busy machine; nothing is measured by it


def environment(tmp_path, **changes):
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**inherited, "ENV_FILE": "", "DATA_DIR": str(tmp_path / "data"), **changes}


def freshly(tmp_path, *arguments, **changes):
    """Run the command with changed settings, and return the completed process."""
    return subprocess.run(
        [sys.executable, "-m", "freshly", *arguments],
        env=environment(tmp_path, **changes),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def serving(tmp_path):
    """Return a function that starts a server or worker. All are stopped after the test."""
    started = []

    def start(*command, **changes):
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, "-m", "freshly", *command],
            env=environment(tmp_path, PORT=str(port), **changes),
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process, f"http://127.0.0.1:{port}"

    yield start
    for process in started:
        # Not SIGKILL, which would leave the server's worker processes running.
        process.terminate()
        process.communicate(timeout=TIMEOUT_SECONDS)


def get(url):
    """Wait until the server responds, and return the body."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own server
                return json.load(response)
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"{url} does not respond")


def post(url, body):
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - ours
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
        return json.load(response)


def test_freshly_starts_a_server_in_an_empty_folder_and_prints_its_url(serving, tmp_path):
    process, url = serving()

    ready = get(f"{url}/ready")
    assert (ready["status"], ready["database"]) == ("ready", "connected")

    assert {path.name for path in (tmp_path / "data").iterdir()} >= {
        "freshly.db",
        "jwt_secret",
        "secret_key",
    }
    process.send_signal(signal.SIGTERM)
    _, output = process.communicate(timeout=TIMEOUT_SECONDS)
    assert f"Freshly serves on {url}" in output
    assert "No administrator yet. This link creates one, once: http://localhost:" in output
    assert process.returncode in (0, -signal.SIGTERM)
    assert "Traceback" not in output


def test_a_server_that_was_killed_before_seeding_seeds_at_the_next_start_and_obeys_its_options(
    serving, tmp_path
):
    assert freshly(tmp_path, "migrate").returncode == 0
    with closing(sqlite3.connect(tmp_path / "data" / "freshly.db")) as connection, connection:
        connection.execute("DELETE FROM units")
    port = free_port()

    process, _ = serving("serve", "--port", str(port), "--reload", HOST="127.0.0.2")
    refused = freshly(tmp_path, "serve", "--reload", "--workers", "2", DATABASE_URL=NO_DATABASE)

    assert get(f"http://127.0.0.2:{port}/ready")["status"] == "ready"
    with closing(sqlite3.connect(tmp_path / "data" / "freshly.db")) as connection:
        assert connection.execute("SELECT count(*) FROM units").fetchone()[0] > 5
    assert refused.returncode == 2
    assert "WORKERS: --reload is for a single process" in refused.stderr
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=TIMEOUT_SECONDS) in (0, -signal.SIGTERM)


def test_a_server_with_several_worker_processes_responds_on_postgresql(serving, postgres_url):
    _, url = serving(WORKERS="2", DATABASE_URL=postgres_url)

    assert get(f"{url}/ready")["status"] == "ready"


def test_the_doctor_reports_a_missing_schema_and_an_unreachable_redis(tmp_path, redis_url):
    before = freshly(tmp_path, "doctor", COLUMNS="200")
    migrated = freshly(tmp_path, "migrate")
    after = freshly(tmp_path, "doctor", COLUMNS="200", REDIS_URL=redis_url)
    no_redis = freshly(tmp_path, "doctor", COLUMNS="200", REDIS_URL="redis://127.0.0.1:9/0")

    assert before.returncode == 1
    assert "schema is at (none)" in before.stdout
    assert "run `freshly migrate`" in before.stdout
    assert migrated.returncode == 0
    assert (after.returncode, no_redis.returncode) == (0, 1), after.stdout
    assert "responds" in after.stdout


def test_a_worker_refuses_to_run_on_a_database_whose_server_runs_the_jobs(tmp_path):
    result = freshly(tmp_path, "worker")

    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "JOBS" in result.stderr


def test_a_worker_refuses_to_run_beside_a_server_that_caches_in_memory(tmp_path):
    result = freshly(tmp_path, "worker", DATABASE_URL="postgresql://u@127.0.0.1/d", CACHE="memory")

    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "CACHE" in result.stderr


@pytest.mark.parametrize(
    ("trusted", "allowed"), [("127.0.0.1", [True] * 3), ("10.0.0.0/8", [True, True, False])]
)
def test_only_a_trusted_proxy_may_name_the_address_of_the_client(serving, trusted, allowed):
    overrides = {"anonymous": {"default": "2/10 year"}}
    _, url = serving(TRUSTED_PROXIES=trusted, RATE_LIMIT_OVERRIDES=json.dumps(overrides))
    get(f"{url}/health")

    def is_within_limit(address):
        request = urllib.request.Request(  # noqa: S310 - ours
            f"{url}/recipes", headers={"X-Forwarded-For": f"198.51.100.1, {address}"}
        )
        with pytest.raises(HTTPError) as error:
            urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)  # noqa: S310
        with error.value as response:
            return response.code == 401

    assert [is_within_limit(f"203.0.113.{n}") for n in range(3)] == allowed


def test_a_server_warns_that_several_processes_without_redis_cache_nothing(serving):
    process, url = serving(JOBS="worker")
    get(f"{url}/ready")
    process.send_signal(signal.SIGTERM)
    _, output = process.communicate(timeout=TIMEOUT_SECONDS)

    assert [line for line in output.splitlines() if "without REDIS_URL nothing is cached" in line]


def test_a_worker_runs_the_jobs_that_a_server_enqueues(serving, tmp_path, database_url):
    shared = {"DATABASE_URL": database_url, "JOBS": "worker"}
    _, url = serving(**shared)
    get(f"{url}/ready")
    account = {"email": "alice@example.com", "password": "correct horse battery"}
    post(f"{url}/auth/register", account)
    post(f"{url}/auth/send-code", {"email": account["email"]})
    assert not (tmp_path / "data" / "outbox").exists()

    worker, _ = serving("worker", **shared)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not (emails := list((tmp_path / "data" / "outbox").glob("*.eml"))):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    worker.send_signal(signal.SIGTERM)
    _, output = worker.communicate(timeout=TIMEOUT_SECONDS)

    assert "Your Freshly code" in emails[0].read_text()
    assert worker.returncode == 0
    assert "Traceback" not in output


def test_an_operator_lists_retries_and_cancels_jobs(tmp_path):
    assert freshly(tmp_path, "migrate").returncode == 0
    path = tmp_path / "data" / "freshly.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO jobs (id, kind, payload, state, progress, error, priority, again,"
            " attempts, deaths, taken, correlation_id, run_after) VALUES ('a1', 'auth.send_code',"
            " '{}', 'failed', 0, 'It took too long.', 0, 0, 5, 0, 5, '-', '2026-01-01 00:00:00')"
        )

    failed = freshly(tmp_path, "jobs", "list", "--state", "failed", COLUMNS="200")
    retried = freshly(tmp_path, "jobs", "retry", "a1")
    doctor = freshly(tmp_path, "doctor", COLUMNS="200")
    cancelled = freshly(tmp_path, "jobs", "cancel", "a1", "nothing")
    with closing(sqlite3.connect(path)) as connection:
        state = connection.execute("SELECT state FROM jobs").fetchall()

    assert failed.returncode == 0, failed.stderr
    assert "It took too long." in failed.stdout
    assert "0 queued, 0 running, 1 failed; workers: 0" in failed.stdout
    assert retried.returncode == 0
    assert "queued: 1" in doctor.stdout
    assert (cancelled.returncode, cancelled.stderr) == (1, "freshly: there is no job nothing\n")
    assert state == [("cancelled",)]


def test_an_unreachable_database_is_reported_in_a_line_without_its_password(tmp_path):
    result = freshly(tmp_path, "serve", DATABASE_URL="postgresql://u:hunter2@127.0.0.1:9/x")

    assert result.returncode == 1
    assert "DATABASE_URL" in result.stderr
    assert "hunter2" not in result.stderr
    assert "Traceback" not in result.stderr


def test_an_invalid_rate_limit_is_reported_in_a_single_line(tmp_path):
    result = freshly(tmp_path, "serve", RATE_LIMIT_OVERRIDES='{"chat": {"free": "often"}}')

    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        "freshly: RATE_LIMIT_OVERRIDES: chat, free: 'often' is not a limit such as 10/minute;50/day"
    ]


@pytest.mark.parametrize("database", ["postgresql://u@127.0.0.1:9/x", ""])
def test_a_dry_run_prints_the_sql_and_changes_nothing(tmp_path, database):
    changes = {"DATABASE_URL": database} if database else {}

    result = freshly(tmp_path, "migrate", "--dry-run", **changes)

    assert result.returncode == 0, result.stderr
    assert "CREATE TABLE grocery_list_items" in result.stdout
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "data" / "freshly.db").exists()
