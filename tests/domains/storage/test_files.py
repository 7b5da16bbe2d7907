"""Avatars, and links to files: in a folder and in an S3."""

import time
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from pydantic import SecretStr

from freshly.adapters.object_storage import store_for
from freshly.chassis.security.signed_urls import SignedUrls
from freshly.settings import BadSettings
from tests.conftest import client_of, running, settings_for
from tests.support.api import Kitchen
from tests.support.fake_services import free_port, s3_server
from tests.support.pictures import bomb, opened, picture, with_exif

UPLOAD = "/storage/avatar/proxy"


@pytest.fixture(scope="module")
def s3():
    with s3_server() as address:
        bucket = boto3.client(
            "s3",
            endpoint_url=f"http://{address}",
            aws_access_key_id="key",
            aws_secret_access_key="se/cret",
            region_name="us-east-1",
        )
        bucket.create_bucket(Bucket="kitchen")
        yield f"s3://key:se%2Fcret@{address}/kitchen?region=us-east-1&tls=false", bucket


@pytest.fixture(params=["folder", "given folder", "s3"])
def storage_url(request, tmp_path):
    if request.param == "s3":
        return request.getfixturevalue("s3")[0]
    return f"file://{tmp_path}/pictures" if request.param == "given folder" else None


@pytest.fixture
async def stored(storage_url, sqlite_template, tmp_path):
    """A client of an app that keeps its files there."""
    (tmp_path / "freshly.db").write_bytes(sqlite_template.read_bytes())
    url = SecretStr(storage_url) if storage_url else None
    settings = settings_for(f"sqlite:///{tmp_path / 'freshly.db'}", tmp_path, storage_url=url)
    async with running(settings) as app, client_of(app) as client:
        client.app = app
        yield client


async def upload(person, content, name="me.png"):
    return await person.post(UPLOAD, files={"file": (name, content)})


def local(url):
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


@pytest.mark.parametrize(("kind", "extension"), [("PNG", "png"), ("JPEG", "jpg")])
async def test_an_avatar_is_public_under_a_name_nobody_guesses(stored, kind, extension):
    alice = await Kitchen(stored).person("Alice")

    answer = await upload(alice, picture(kind))

    avatar = answer.json()
    assert answer.status_code == 201
    assert avatar["bucket"] == "users"
    assert avatar["path"].startswith(f"{alice.id}/profile-")
    assert avatar["path"].endswith(f".{extension}")
    assert len(avatar["path"]) > 30
    assert avatar["publicUrl"] == f"http://test/files/users/{avatar['path']}"
    seen = await stored.get(local(avatar["publicUrl"]))
    assert seen.status_code == 200
    assert seen.headers["content-type"] == f"image/{kind.lower()}"
    assert "immutable" in seen.headers["cache-control"]
    assert opened(seen.content).size == (40, 30)


async def test_a_new_avatar_replaces_the_old_one_and_nobody_elses(stored):
    kitchen = Kitchen(stored)
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    first, others = (await upload(alice, picture())).json(), (await upload(bob, picture())).json()

    second = (await upload(alice, picture())).json()

    assert second["path"] != first["path"]
    assert (await stored.get(local(first["publicUrl"]))).status_code == 404
    assert (await stored.get(local(second["publicUrl"]))).status_code == 200
    assert (await stored.get(local(others["publicUrl"]))).status_code == 200


async def test_what_a_camera_wrote_about_a_picture_is_gone_and_it_stands_upright(stored):
    alice = await Kitchen(stored).person("Alice")

    avatar = (await upload(alice, with_exif())).json()

    content = (await stored.get(local(avatar["publicUrl"]))).content
    assert b"where we live" not in content
    assert opened(content).size == (30, 40)
    assert not opened(content).getexif()


async def test_a_signed_link_takes_one_avatar(stored):
    kitchen = Kitchen(stored)
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")

    allowed = await alice.post_ok("/storage/avatar/signed_url", status=200)

    assert allowed["token"] in allowed["signedUrl"]
    link = local(allowed["signedUrl"])
    assert (await stored.put(link, content=b"no picture")).status_code == 400
    assert (await stored.get(local(allowed["publicUrl"]))).status_code == 404
    assert (await stored.put(link, content=picture("PNG"))).status_code == 204
    seen = await stored.get(local(allowed["publicUrl"]))
    assert opened(seen.content).format == "JPEG"
    others = link.replace(f"/{alice.id}/", f"/{bob.id}/")
    assert (await stored.put(others, content=picture())).status_code == 403


async def test_a_signed_link_opens_one_file_for_a_while(stored):
    resources = stored.app.resources
    await resources.objects.put("chat-images", "1/2/a.jpg", b"picture")
    await resources.objects.put("chat-images", "1/2/b.jpg", b"other")
    links = SignedUrls("http://test", resources.url_signer)

    link, _ = links.signed("chat-images", "1/2/a.jpg", timedelta(minutes=1))
    seen = await stored.get(local(link))

    assert (seen.status_code, seen.content) == (200, b"picture")
    assert "private" in seen.headers["cache-control"]
    late, _ = links.signed("chat-images", "1/2/a.jpg", timedelta(seconds=-2))
    longer = link.replace("expires=", "expires=9")
    write, _ = links.signed("chat-images", "1/2/a.jpg", timedelta(minutes=1), "write")
    for bad in (late, longer, write, link.replace("a.jpg", "b.jpg"), link.partition("?")[0]):
        refused = await stored.get(local(bad))
        assert (refused.status_code, refused.json()["code"]) == (403, "link_not_valid"), bad
    assert int(parse_qs(urlsplit(link).query)["expires"][0]) > time.time()


@pytest.mark.parametrize(
    "path", ["../secret_key", "1/../../secret_key", "%2e%2e/secret_key", "1//a", ".hidden", "1/.x"]
)
async def test_no_path_leads_out_of_the_bucket(stored, path):
    answer = await stored.get(f"/files/users/{path}")

    assert answer.status_code == 404


async def test_what_is_no_picture_is_refused(stored):
    alice = await Kitchen(stored).person("Alice")
    not_pictures = {
        "text": b"hello",
        "nothing": b"",
        "gif": picture("GIF"),
        "webp": picture("WEBP"),
        "half a png": picture()[:60],
        "bomb": bomb(),
    }

    for name, content in not_pictures.items():
        refused = await upload(alice, content)
        assert (refused.status_code, refused.json()["detail"]) == (400, "Invalid image type"), name
    assert (await alice.post(UPLOAD)).status_code == 422


async def test_what_is_too_large_is_refused_before_it_is_read(stored):
    alice = await Kitchen(stored).person("Alice")
    sent = 0

    async def endless():
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        while sent < 50_000_000:
            sent += 65_536
            yield b"x" * 65_536

    refused = await upload(alice, b"x" * (5 * 2**20 + 1))
    assert (refused.status_code, refused.json()["detail"]) == (
        413,
        "The picture must not be larger than 5 MB. Please choose a smaller one.",
    )
    assert (await upload(alice, b"x" * 6_000_000)).status_code == 413
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    chunked = await alice.post(UPLOAD, content=endless(), headers=headers)
    assert chunked.status_code == 413
    assert sent < 10_000_000


async def test_an_s3_that_is_away_is_503(sqlite_template, tmp_path):
    (tmp_path / "freshly.db").write_bytes(sqlite_template.read_bytes())
    url = SecretStr(f"s3://a:b@127.0.0.1:{free_port()}/kitchen?tls=false")
    settings = settings_for(f"sqlite:///{tmp_path / 'freshly.db'}", tmp_path, storage_url=url)
    async with running(settings) as app, client_of(app) as client:
        alice = await Kitchen(client).person("Alice")
        refused = await upload(alice, picture())

    assert refused.status_code == 503
    assert "127.0.0.1" not in refused.text


@pytest.mark.parametrize("url", ["ftp://x/y", "s3://a:b@host/", "s3:///bucket"])
def test_a_storage_url_that_means_nothing_is_named(tmp_path, url):
    settings = settings_for("sqlite://", tmp_path, storage_url=SecretStr(url))

    with pytest.raises(BadSettings, match="STORAGE_URL"):
        store_for(settings)


async def test_an_avatar_is_had_small_too_and_goes_with_it(kitchen, jobs, client):
    alice = await kitchen.person("Alice")

    async def upload(colour):
        file = {"file": ("me.png", picture(size=(400, 200), colour=colour), "image/png")}
        answer = await alice.client.post(UPLOAD, files=file, headers=alice.headers)
        assert answer.status_code == 201, answer.text
        return answer.json()["publicUrl"]

    first = await upload("red")
    await jobs.run_due()
    small = f"{first.rpartition('.')[0]}.small.jpg"
    found = await client.get(small)
    assert (found.status_code, opened(found.content).size) == (200, (96, 48))

    await upload("blue")
    assert (await client.get(small)).status_code == 404
