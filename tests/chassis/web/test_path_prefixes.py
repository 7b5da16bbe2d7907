"""Freshly below a path of a host: PUBLIC_URL=https://home.example/freshly."""

import shutil

import pytest
from pydantic import ValidationError

from freshly.settings import Settings
from tests.conftest import client_of, running, settings_for
from tests.support.api import Kitchen


@pytest.fixture
def below(sqlite_template, tmp_path):
    """Return the context of an app with this PUBLIC_URL."""
    shutil.copy(sqlite_template, tmp_path / "freshly.db")
    database = f"sqlite:///{tmp_path / 'freshly.db'}"
    return lambda url: running(settings_for(database, tmp_path, public_url=url))


async def test_links_keep_the_path_of_the_request_whether_the_proxy_removes_it_or_not(below):
    async with below("https://home.example/freshly/") as app, client_of(app) as client:
        kitchen = Kitchen(client)
        alice = await kitchen.person()
        ids = [(await kitchen.meal(alice))["id"] for _ in range(2)]

        for received in ("", "/freshly", "/api/v1", "/freshly/api/v1"):
            api = "/api/v1" if "api" in received else ""

            first = await alice.get(f"{received}/meals/me?limit=1")
            following = first.links["next"]["url"]
            second = await alice.get(following)

            assert following.startswith(f"/freshly{api}/meals/me?limit=1&cursor="), received
            assert [meal["id"] for meal in (*first.json(), *second.json())] == ids


async def test_everything_that_names_a_path_names_it_below_the_sub_path(below):
    async with below("https://home.example/freshly") as app, client_of(app) as client:
        for root in ("/", "/freshly", "/freshly/"):
            welcome = (await client.get(root)).json()
            assert (welcome["docs"], welcome["health"]) == ("/freshly/docs", "/freshly/health")
        assert (await client.get("/freshly/health")).status_code == 200
        assert (await client.get("/freshlyish/health")).status_code == 404
        document = (await client.get("/freshly/openapi.json")).json()
        assert document["servers"] == [{"url": "/freshly"}]
        page = (await client.get("/freshly/docs")).text
        assert 'href="docs/assets/swagger-ui.css"' in page
        assert (await client.get("/freshly/docs/assets/swagger-ui.css")).status_code == 200


async def test_the_page_of_the_documents_has_one_address(below):
    async with below(None) as app, client_of(app) as client:
        moved = await client.get("/docs/")

    assert (moved.status_code, moved.headers["location"]) == (308, "../docs")


async def test_a_sub_path_that_is_a_word_of_the_api_hides_no_route(below):
    async with below("https://home.example/meals") as app, client_of(app) as client:
        kitchen = Kitchen(client)
        alice = await kitchen.person()
        for _ in range(2):
            await kitchen.meal(alice)

        page = await alice.get("/meals/me?limit=1")

        assert page.status_code == 200
        assert page.links["next"]["url"].startswith("/meals/meals/me?")


async def test_a_picture_below_a_sub_path_without_tls_is_a_file_of_ours(below):
    async with below("http://home.local/freshly") as app, client_of(app) as client:
        alice = await Kitchen(client).person()
        address = "http://home.local/freshly/files/users/1/profile-1.jpg"

        kept = await alice.patch("/users/me", {"avatar_path": address})
        others = address.replace("home.local", "tracker.example")
        refused = await alice.patch("/users/me", {"avatar_path": others})

        assert kept.status_code == 200, kept.text
        assert refused.status_code == 422


async def test_a_picture_without_tls_may_name_the_host_of_the_request_only_without_public_url(
    below,
):
    address = "http://192.168.1.5:8000/files/users/1/profile-1.jpg"
    statuses = []
    for url in (None, "http://home.local"):
        async with below(url) as app, client_of(app) as client:
            alice = await Kitchen(client).person(f"Alice{len(statuses)}")
            for headers in ({"Host": "192.168.1.5:8000"}, {}):
                kept = await alice.request(
                    "PATCH", "/users/me", json={"avatar_path": address}, headers=headers
                )
                statuses.append(kept.status_code)

    assert statuses == [200, 422, 422, 422]


@pytest.mark.parametrize(
    "url",
    [
        "home.example/freshly",
        "ftp://home.example",
        "https://home.example/../freshly",
        "https://home.example/a b",
        "https://home.example//freshly",
        "https://home.example/freshly?x=1",
        "https://user:password@home.example",
        "https://home.example/%66reshly",
    ],
)
def test_an_address_that_no_client_could_use_is_refused(url, tmp_path):
    with pytest.raises(ValidationError, match="is not the start of a web address"):
        Settings(data_dir=tmp_path, public_url=url)
