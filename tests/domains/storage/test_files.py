"""Avatars and signed links to files, stored in a folder or in S3."""

import asyncio
import time
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from pydantic import SecretStr, ValidationError

from freshly.chassis.security.signed_urls import SignedUrls
from tests.conftest import client_of, running, settings_for
from tests.support.api import Kitchen
from tests.support.fake_services import free_port, s3_server
from tests.support.pictures import decompression_bomb, open_picture, picture, picture_with_exif

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


@pytest.fixture(params=["folder", "configured folder", "s3"])
def storage_url(request, tmp_path):
    if request.param == "s3":
        return request.getfixturevalue("s3")[0]
    return f"file://{tmp_path}/pictures" if request.param == "configured folder" else None


@pytest.fixture
async def storage_client(storage_url, sqlite_template, tmp_path):
    """A client of an app that stores its files at `storage_url`."""
    (tmp_path / "freshly.db").write_bytes(sqlite_template.read_bytes())
    url = SecretStr(storage_url) if storage_url else None
    settings = settings_for(f"sqlite:///{tmp_path / 'freshly.db'}", tmp_path, storage_url=url)
    async with running(settings) as app, client_of(app) as client:
        client.app = app
        yield client


async def upload(person, content, name="me.png"):
    return await person.post(UPLOAD, files={"file": (name, content)})


def path_of(url):
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


@pytest.mark.parametrize(("kind", "extension"), [("PNG", "png"), ("JPEG", "jpg")])
async def test_an_avatar_is_public_under_a_name_that_cannot_be_guessed(
    storage_client, kind, extension
):
    alice = await Kitchen(storage_client).person("Alice")

    response = await upload(alice, picture(kind))

    avatar = response.json()
    assert response.status_code == 201
    assert avatar["bucket"] == "users"
    assert avatar["path"].startswith(f"{alice.id}/profile-")
    assert avatar["path"].endswith(f".{extension}")
    assert len(avatar["path"]) > 30
    assert avatar["publicUrl"] == f"http://test/files/users/{avatar['path']}"
    downloaded = await storage_client.get(path_of(avatar["publicUrl"]))
    assert downloaded.status_code == 200
    assert downloaded.headers["content-type"] == f"image/{kind.lower()}"
    assert "immutable" in downloaded.headers["cache-control"]
    assert downloaded.headers["cross-origin-resource-policy"] == "cross-origin"
    assert downloaded.headers["content-disposition"].startswith('inline; filename="profile-')
    assert open_picture(downloaded.content).size == (40, 30)


async def test_a_new_avatar_replaces_only_the_old_one_of_its_user(storage_client):
    kitchen = Kitchen(storage_client)
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    first, bobs = (await upload(alice, picture())).json(), (await upload(bob, picture())).json()

    second = (await upload(alice, picture())).json()

    assert second["path"] != first["path"]
    assert (await storage_client.get(path_of(first["publicUrl"]))).status_code == 404
    assert (await storage_client.get(path_of(second["publicUrl"]))).status_code == 200
    assert (await storage_client.get(path_of(bobs["publicUrl"]))).status_code == 200


async def test_an_avatar_loses_the_cameras_data_and_is_turned_upright(storage_client):
    alice = await Kitchen(storage_client).person("Alice")

    avatar = (await upload(alice, picture_with_exif())).json()

    content = (await storage_client.get(path_of(avatar["publicUrl"]))).content
    assert b"where we live" not in content
    assert open_picture(content).size == (30, 40)
    assert not open_picture(content).getexif()


async def test_a_signed_link_accepts_the_upload_of_one_avatar(storage_client):
    kitchen = Kitchen(storage_client)
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")

    signed = await alice.post_ok("/storage/avatar/signed_url", status=200)

    assert signed["token"] in signed["signedUrl"]
    link = path_of(signed["signedUrl"])
    assert (await storage_client.put(link, content=b"no picture")).status_code == 400
    assert (await storage_client.get(path_of(signed["publicUrl"]))).status_code == 404
    assert (await storage_client.put(link, content=picture("PNG"))).status_code == 204
    downloaded = await storage_client.get(path_of(signed["publicUrl"]))
    assert open_picture(downloaded.content).format == "JPEG"
    used = await storage_client.put(link, content=picture())
    assert (used.status_code, used.json()["code"]) == (403, "link_not_valid")
    link_of_bob = link.replace(f"/{alice.id}/", f"/{bob.id}/")
    assert (await storage_client.put(link_of_bob, content=picture())).status_code == 403


async def test_an_upload_link_dies_with_the_session_that_asked_for_it(storage_client):
    alice = await Kitchen(storage_client).person("Alice")
    signed = await alice.post_ok("/storage/avatar/signed_url", status=200)
    await alice.post("/auth/logout")

    refused = await storage_client.put(path_of(signed["signedUrl"]), content=picture())

    assert (refused.status_code, refused.json()["code"]) == (403, "link_not_valid")


async def test_a_signed_link_opens_one_file_until_it_expires(storage_client):
    resources = storage_client.app.resources
    await resources.objects.put("chat-images", "1/2/a.jpg", b"picture")
    await resources.objects.put("chat-images", "1/2/b.jpg", b"other")
    links = SignedUrls("http://test", resources.url_signer)

    link, _ = links.signed("chat-images", "1/2/a.jpg", timedelta(minutes=1))
    downloaded = await storage_client.get(path_of(link))

    assert (downloaded.status_code, downloaded.content) == (200, b"picture")
    assert "private" in downloaded.headers["cache-control"]
    assert downloaded.headers["cross-origin-resource-policy"] == "same-site"
    assert downloaded.headers["content-disposition"] == 'inline; filename="a.jpg"'
    expired, _ = links.signed("chat-images", "1/2/a.jpg", timedelta(seconds=-2))
    extended = link.replace("expires=", "expires=9")
    for_writing, _ = links.signed("chat-images", "1/2/a.jpg", timedelta(minutes=1), "write")
    for invalid in (
        expired,
        extended,
        for_writing,
        link.replace("a.jpg", "b.jpg"),
        link.partition("?")[0],
    ):
        refused = await storage_client.get(path_of(invalid))
        assert (refused.status_code, refused.json()["code"]) == (403, "link_not_valid"), invalid
    assert int(parse_qs(urlsplit(link).query)["expires"][0]) > time.time()


@pytest.mark.parametrize(
    "path", ["../secret_key", "1/../../secret_key", "%2e%2e/secret_key", "1//a", ".hidden", "1/.x"]
)
async def test_no_path_leads_out_of_the_bucket(storage_client, path):
    response = await storage_client.get(f"/files/users/{path}")

    assert response.status_code == 404


async def test_a_file_that_is_not_a_picture_is_refused(storage_client):
    alice = await Kitchen(storage_client).person("Alice")
    not_pictures = {
        "text": b"hello",
        "nothing": b"",
        "gif": picture("GIF"),
        "webp": picture("WEBP"),
        "half a png": picture()[:60],
        "bomb": decompression_bomb(),
        "16 million pixels": picture(size=(4000, 4000)),
    }

    for name, content in not_pictures.items():
        refused = await upload(alice, content)
        assert (refused.status_code, refused.json()["detail"]) == (400, "Invalid image type"), name
    assert (await alice.post(UPLOAD)).status_code == 422


async def test_photos_of_phones_are_accepted(storage_client):
    alice = await Kitchen(storage_client).person("Alice")

    for kind, size in (("PNG", (4032, 3024)), ("JPEG", (8000, 6000))):
        stored = await upload(alice, picture(kind, size))
        assert stored.status_code == 201, stored.text
        content = (await storage_client.get(path_of(stored.json()["publicUrl"]))).content
        assert max(open_picture(content).size) == 1024


async def test_others_do_not_wait_behind_a_dozen_pictures_of_one_person(storage_client):
    kitchen = Kitchen(storage_client)
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    done = []

    async def send(person, content):
        await upload(person, content)
        done.append(person)

    large = picture(size=(3000, 3000))
    dozen = [asyncio.create_task(send(alice, large)) for _ in range(12)]
    await asyncio.sleep(0.05)
    await send(bob, picture())
    await asyncio.gather(*dozen)

    assert done.index(bob) <= 4


async def test_a_too_large_upload_is_refused_before_all_of_it_is_read(storage_client):
    alice = await Kitchen(storage_client).person("Alice")
    sent_bytes = 0

    async def endless():
        nonlocal sent_bytes
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        while sent_bytes < 50_000_000:
            sent_bytes += 65_536
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
    assert sent_bytes < 10_000_000


async def test_an_unreachable_s3_is_503(sqlite_template, tmp_path):
    (tmp_path / "freshly.db").write_bytes(sqlite_template.read_bytes())
    url = SecretStr(f"s3://a:b@127.0.0.1:{free_port()}/kitchen?tls=false")
    settings = settings_for(f"sqlite:///{tmp_path / 'freshly.db'}", tmp_path, storage_url=url)
    async with running(settings) as app, client_of(app) as client:
        alice = await Kitchen(client).person("Alice")
        refused = await upload(alice, picture())

    assert refused.status_code == 503
    assert "127.0.0.1" not in refused.text


@pytest.mark.parametrize("url", ["ftp://x/y", "s3://a:b@host/", "s3:///bucket"])
def test_an_invalid_storage_url_is_refused_with_the_name_of_its_setting(tmp_path, url):
    with pytest.raises(ValidationError, match="storage_url"):
        settings_for("sqlite://", tmp_path, storage_url=SecretStr(url))


async def test_a_small_avatar_is_made_too_and_is_deleted_with_the_large_one(kitchen, jobs, client):
    alice = await kitchen.person("Alice")

    async def upload_avatar(colour):
        file = {"file": ("me.png", picture(size=(400, 200), colour=colour), "image/png")}
        response = await alice.client.post(UPLOAD, files=file, headers=alice.headers)
        assert response.status_code == 201, response.text
        return response.json()["publicUrl"]

    first = await upload_avatar("red")
    await jobs.run_due()
    small = f"{first.rpartition('.')[0]}.small.jpg"
    downloaded = await client.get(small)
    assert (downloaded.status_code, open_picture(downloaded.content).size) == (200, (96, 48))

    await upload_avatar("blue")
    assert (await client.get(small)).status_code == 404
