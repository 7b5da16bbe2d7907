"""Data at rest is for the user of the installation only, and an entry in Redis decides nothing."""

import gzip
import json
import os
import sqlite3
import urllib.request
from contextlib import closing

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from freshly.chassis.cache.body import etag_of
from tests.conftest import client_of, running, settings_for
from tests.support.api import Kitchen, Person
from tests.system.test_commands import environment, freshly, get, post, serving  # noqa: F401

OTHERS = 0o077


def open_to_others(folder):
    """Return the paths in the folder, and the folder, that other users may read or write."""
    paths = [folder, *folder.rglob("*")]
    return [str(path) for path in paths if path.stat().st_mode & OTHERS]


@pytest.fixture
def data(tmp_path):
    """A data folder that an earlier release left open to other users, with a permissive umask."""
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o755)
    before = os.umask(0o022)
    yield folder
    os.umask(before)


def test_the_server_keeps_its_data_from_other_users_of_the_machine(serving, data):  # noqa: F811
    process, url = serving()
    get(f"{url}/ready")
    account = {"email": "a@example.com", "password": "correct horse"}
    post(f"{url}/auth/register", account)
    post(f"{url}/auth/send-code", {"email": "a@example.com"})
    process.terminate()
    process.communicate(timeout=30)

    names = {path.name for path in data.rglob("*")}
    assert {"freshly.db", "secret_key", "files", "outbox"} <= names
    assert open_to_others(data) == []


def test_the_doctor_names_a_database_that_other_users_may_read(tmp_path, data):
    elsewhere = tmp_path / "kitchen.db"
    with closing(sqlite3.connect(elsewhere)):
        elsewhere.touch()
    url = f"sqlite:///{elsewhere}"
    freshly(tmp_path, "migrate", DATABASE_URL=url)

    bad = freshly(tmp_path, "doctor", DATABASE_URL=url, COLUMNS="300")
    elsewhere.chmod(0o600)
    good = freshly(tmp_path, "doctor", DATABASE_URL=url, COLUMNS="300")

    assert f"other users of this machine may read {elsewhere}" in bad.stdout
    assert (bad.returncode, good.returncode) == (1, 0), good.stdout
    assert f"{data}, closed to other users" in good.stdout


def test_a_folder_that_all_users_share_keeps_its_permissions(tmp_path):
    shared = tmp_path / "data"
    shared.mkdir()
    shared.chmod(0o1777)

    freshly(tmp_path, "migrate")

    assert shared.stat().st_mode & 0o7777 == 0o1777


PROXIED = {"PUBLIC_URL": "https://api.example.com"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (PROXIED, "PUBLIC_URL has https, so a proxy serves it; name it in TRUSTED_PROXIES"),
        (
            {"APP_ENV": "production", "TRUSTED_PROXIES": "*"},
            "TRUSTED_PROXIES: * lets each client choose its address; name the proxy",
        ),
        ({"APP_ENV": "production", "REDIS_URL": "redis://redis:6379/0"}, "asks for no password"),
    ],
)
def test_the_doctor_names_what_a_proxy_or_redis_would_open(tmp_path, changes, sentence):
    result = freshly(tmp_path, "doctor", COLUMNS="300", **changes)

    assert result.returncode == 1
    assert sentence in result.stdout


def test_a_server_warns_once_about_a_proxy_that_is_not_declared(serving):  # noqa: F811
    process, url = serving()
    get(f"{url}/health")

    for _ in range(3):
        request = urllib.request.Request(f"{url}/health", headers={"X-Forwarded-For": "8.8.8.8"})  # noqa: S310
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310
    process.terminate()
    _, output = process.communicate(timeout=30)

    assert output.count("a proxy that TRUSTED_PROXIES does not name") == 1


def test_a_server_does_not_warn_about_a_proxy_that_is_declared(serving):  # noqa: F811
    process, url = serving(TRUSTED_PROXIES="127.0.0.1")
    get(f"{url}/health")

    request = urllib.request.Request(f"{url}/health", headers={"X-Forwarded-For": "8.8.8.8"})  # noqa: S310
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310
    process.terminate()
    _, output = process.communicate(timeout=30)

    assert "does not name" not in output


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_an_entry_that_was_changed_in_redis_gives_no_access(
    database_url, redis_url, tmp_path
):
    redis_url = f"{redis_url.rpartition('/')[0]}/9"  # other tests have callers in database 0
    settings = settings_for(database_url, tmp_path, redis_url=SecretStr(redis_url), cache="auto")
    async with running(settings) as app, client_of(app) as client:
        kitchen = Kitchen(client)
        alice, mallory = await kitchen.person("Alice"), await kitchen.person("Mallory")
        family = await kitchen.family(alice)
        for person in (alice, mallory):
            await person.read("/users/me")

    redis = Redis.from_url(redis_url)
    callers = {}
    for key in await redis.keys("freshly:*:e:caller(*"):
        stored = await redis.get(key)
        callers[int(key.decode().partition("(")[2].partition(",")[0])] = key, stored
    key, stored = callers[mallory.id]
    assert b"families" not in stored[:200]  # it is compressed, after a MAC and a line of JSON
    forgeries = [
        forged(stored, family["id"]),
        forged(stored, family["id"])[32:],
        callers[alice.id][1],
    ]
    for forgery in forgeries:
        await redis.set(key, forgery)
        async with running(settings) as app, client_of(app) as client:
            again = Person(client, mallory.user, mallory.tokens)
            refused = await again.get(f"/pantry-items/family/{family['id']}")
            assert refused.status_code == 403
    await redis.aclose()


def forged(stored, family_id):
    """Return the entry with another body that makes its user an owner, and a valid ETag."""

    mac, (line, _, rest) = stored[:32], stored[32:].partition(b"\n")
    body = {**json.loads(gzip.decompress(rest)), "families": [[family_id, "owner"]]}
    content = json.dumps(body).encode()
    head = {**json.loads(line), "etag": etag_of(content)}
    return mac + json.dumps(head).encode() + b"\n" + gzip.compress(content)
