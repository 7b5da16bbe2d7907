"""Freshly behind nginx and Caddy, with TLS and the configuration of deploy/.

One Freshly serves all tests. Its PUBLIC_URL has a path, which both proxies pass on.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from email import message_from_bytes, policy
from urllib.parse import urljoin
from uuid import uuid4

import httpx2
import pytest

from tests.support import reverse_proxies
from tests.support.api import Kitchen
from tests.support.fake_services import free_port
from tests.support.faulty_llm import faulty_model, streams
from tests.support.pictures import picture
from tests.support.reverse_proxies import HOSTS

PUBLIC_URL = "https://home.example/freshly"
ROOT_URL = "https://api.example.com"
TIMEOUT_SECONDS = 60  # against hanging; nothing is measured by it


@pytest.fixture(scope="module")
async def model():
    async with faulty_model() as started:
        yield started


@pytest.fixture(scope="module")
def freshly(model, sqlite_template, tmp_path_factory):
    """Start Freshly. Return its address and its folder."""
    folder, port = tmp_path_factory.mktemp("freshly"), free_port()
    (folder / "data").mkdir(mode=0o700)
    shutil.copy(sqlite_template, folder / "data/freshly.db")
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "freshly", "serve"],
            env={
                **inherited,
                "DATA_DIR": str(folder / "data"),
                "PORT": str(port),
                "PUBLIC_URL": PUBLIC_URL,
                "ALLOWED_HOSTS": ",".join(HOSTS),
                "TRUSTED_PROXIES": "127.0.0.1",
                "OPENAI_BASE_URL": model.url,
                "RATE_LIMIT_ENABLED": "false",
            },
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not _is_ready(port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        yield f"127.0.0.1:{port}", folder
    finally:
        process.terminate()
        process.wait(TIMEOUT_SECONDS)


def _is_ready(port):
    named = {"Host": HOSTS[0]}
    try:
        ready = httpx2.get(f"http://127.0.0.1:{port}/ready", headers=named, trust_env=False)
    except httpx2.TransportError:
        return False
    return ready.status_code == 200


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def proxy(request, freshly, tmp_path_factory):
    upstream, _ = freshly
    start = getattr(reverse_proxies, request.param)
    with start(tmp_path_factory.mktemp(request.param), upstream) as started:
        yield started


@pytest.fixture
async def client(proxy):
    async with proxy.client(PUBLIC_URL) as client:
        yield client


@pytest.fixture
async def alice(client):
    return await Kitchen(client).person(email=f"{uuid4().hex}@example.com")


async def test_the_documents_load_below_the_sub_path(client):
    page = await client.get("/docs")
    named = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", page.text)
    script = (await client.get("/docs/assets/start.js")).text
    document_url = re.search(r'url: "([^"]+)"', script)[1]

    document = await client.get(urljoin(f"{PUBLIC_URL}/docs", document_url))

    assert page.status_code == 200
    assert len(named) == 4
    for name in named:
        assert (await client.get(urljoin(f"{PUBLIC_URL}/docs", name))).status_code == 200, name
    assert document.json()["servers"] == [{"url": "/freshly"}]
    assert (await client.get("/docs/")).headers["location"] == "../docs"


@pytest.mark.parametrize("api", ["", "/api/v1"])
async def test_links_to_next_pages_lead_to_the_next_page(alice, client, api):
    kitchen = Kitchen(client)
    ids = [(await kitchen.meal(alice))["id"] for _ in range(2)]

    first = await alice.get(f"{api}/meals/me?limit=1")
    following = urljoin(f"{PUBLIC_URL}{api}/meals/me", first.links["next"]["url"])
    second = await alice.get(following)

    assert following.startswith(f"{PUBLIC_URL}{api}/meals/me?")
    assert [meal["id"] for meal in (*first.json(), *second.json())] == ids


async def test_a_picture_is_uploaded_and_read_by_its_links(alice, client):
    signed = await alice.post_ok("/storage/avatar/signed_url", status=200)

    uploaded = await client.put(signed["signedUrl"], content=picture("PNG"))
    read = await client.get(signed["publicUrl"])
    kept = await alice.patch("/users/me", {"avatar_path": signed["publicUrl"]})

    assert signed["signedUrl"].startswith(f"{PUBLIC_URL}/files/users/")
    assert (uploaded.status_code, read.status_code) == (204, 200)
    assert kept.json()["avatar_path"] == signed["publicUrl"]


async def test_a_link_in_an_email_and_the_form_behind_it_work(alice, client, freshly):
    _, folder = freshly
    await client.post("/auth/send-code", json={"email": alice.user["email"]})
    link = await _link_for(alice, folder / "data/outbox")
    page = await client.get(link)
    action = re.search(r'<form method="post" action="([^"]*)"', page.text)[1]
    token = re.search(r'name="token" value="([^"]*)"', page.text)[1]

    done = await client.post(urljoin(link, action), data={"token": token})

    assert link.startswith(f"{PUBLIC_URL}/auth/link?token=")
    assert (done.status_code, "confirmed" in done.text) == (200, True)
    assert (await alice.get("/users/me")).json()["is_verified"] is True


async def _link_for(person, outbox):
    """Wait for the email, and return the link in it."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            for file in outbox.glob("*.eml"):
                email = message_from_bytes(file.read_bytes(), policy=policy.default)
                if email["To"] == person.user["email"]:
                    return re.search(r"https://\S+", email.get_content())[0]
            await asyncio.sleep(0.05)


async def test_a_stream_arrives_while_the_model_still_writes(alice, client, model):
    first_part_arrived = asyncio.Event()
    model.behaviour = streams("Leek ", first_part_arrived, "soup.")
    received = ""

    async with (
        asyncio.timeout(TIMEOUT_SECONDS),
        client.stream(
            "POST", "/chat/stream", json={"message": "Hello"}, headers=alice.headers
        ) as response,
    ):
        async for piece in response.aiter_text():
            received += piece
            if "Leek" in received:  # it would not come before the event, if the proxy waited
                first_part_arrived.set()

    assert "event: done" in received


async def test_a_body_may_have_8_mb_and_freshly_itself_refuses_more(alice):
    largest = json.dumps({"message": "x", "image": "A" * 7_900_000}).encode()
    larger = json.dumps({"message": "x", "image": "A" * 8_000_001}).encode()
    as_json = {"Content-Type": "application/json"}

    passed = await alice.post("/chat", content=largest, headers=as_json)
    for _ in range(10):  # Caddy may close the connection before the client has read the refusal
        with suppress(httpx2.TransportError):
            refused = await alice.post("/chat", content=larger, headers=as_json)
            break

    assert passed.status_code == 422, passed.text  # read, and found to be no picture
    assert (refused.status_code, refused.json()["code"]) == (413, "content_too_large")


async def test_freshly_sees_the_address_of_the_client_and_believes_no_header_of_it(alice, client):
    forged = {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "http"}
    credentials = {"email": alice.user["email"], "password": "correct horse battery"}

    signed_in = await client.post("/auth/login", json=credentials, headers=forged)
    sessions = (await alice.get("/auth/sessions")).json()

    assert signed_in.status_code == 200
    assert "198.51.100.7" not in json.dumps(sessions)
    assert (await client.get("/metrics")).status_code == 404


async def test_the_root_of_a_host_serves_freshly_and_redirects_to_tls(proxy):
    async with proxy.client(ROOT_URL) as client:
        healthy = await client.get("/health")
        moved = await client.get("http://api.example.com/health?x=1")

    assert healthy.json()["status"] == "healthy"
    assert (moved.status_code, moved.headers["location"]) == (308, f"{ROOT_URL}/health?x=1")


async def test_the_path_without_its_slash_leads_to_the_welcome_and_others_stay_yours(client, proxy):
    moved = await client.get(PUBLIC_URL)
    welcome = await client.get(urljoin(PUBLIC_URL, moved.headers["location"]))
    async with proxy.client("https://home.example") as site:
        own = await site.get("/")

    assert moved.status_code == 308
    assert welcome.json()["docs"] == "/freshly/docs"
    assert own.text == "your own site"
