"""Browsers get pages, API clients get JSON, at the same addresses."""

import re
from base64 import b64encode
from hashlib import sha256

import pytest

from tests.conftest import client_of, running, settings_for

BELOW = "https://home.example.com/kitchen"
BROWSER = {
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
    "Sec-Fetch-Dest": "document",
}
HTML = "text/html; charset=utf-8"


async def test_the_root_is_a_page_for_browsers_with_first_steps_and_links_that_work(client):
    page = await client.get("/", headers=BROWSER)

    assert (page.status_code, page.headers["content-type"]) == (200, HTML)
    assert "curl http://test/auth/register" in page.text
    links = re.findall(r'(?:href|src)="([^"]+)"', page.text)
    assert {"/docs", "/openapi.json", "/health", "/ready", "/favicon.ico"} == set(links)
    for link in links:
        assert (await client.get(link, headers=BROWSER)).status_code == 200


@pytest.mark.parametrize(
    "accept",
    ["*/*", "application/json", "application/json, text/plain, */*", "text/html;q=0.5, */*", ""],
)
async def test_clients_that_do_not_prefer_html_get_json_as_before(client, accept):
    root = await client.get("/", headers={"Accept": accept})
    nothing = await client.get("/nothing", headers={"Accept": accept})

    if "text/html" not in accept:
        assert root.json()["docs"] == "/docs"
        assert nothing.headers["content-type"] == "application/problem+json"
    else:
        assert root.headers["content-type"] == HTML  # the only type that it names
    assert nothing.status_code == 404


async def test_a_client_that_prefers_json_to_html_gets_json(client):
    accept = {"Accept": "text/html;q=0.8, application/json"}

    assert (await client.get("/", headers=accept)).json()["health"] == "/health"


@pytest.mark.parametrize("path", ["/nothing", "/pantry/not/here", "/api/v1/nothing", "/redoc"])
async def test_an_unknown_address_is_a_page_in_a_browser_and_a_problem_elsewhere(client, path):
    page = await client.get(path, headers=BROWSER)
    problem = await client.get(path)

    assert (page.status_code, page.headers["content-type"]) == (404, HTML)
    assert "There is nothing at this address." in page.text
    assert 'href="/docs"' in page.text
    assert (problem.status_code, problem.json()["code"]) == (404, "not_found")


async def test_refusals_of_the_api_stay_problems_in_a_browser(client):
    refused = await client.get("/meals/me", headers=BROWSER)

    assert (refused.status_code, refused.json()["code"]) == (401, "not_authenticated")


@pytest.mark.parametrize("path", ["/", "/nothing"])
async def test_pages_need_no_script_and_only_the_style_that_their_policy_names(client, path):
    page = await client.get(path, headers=BROWSER)

    (style,) = re.findall(r"<style>(.*?)</style>", page.text, re.DOTALL)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = page.headers["content-security-policy"]
    assert f"style-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "<script" not in page.text
    assert not re.search(r"\sstyle=|\son\w+=|https?://(?!test/|www\.w3\.org/)", page.text)


async def test_behind_a_proxy_with_a_path_commands_and_links_have_the_path(tmp_path):
    settings = settings_for(f"sqlite+aiosqlite:///{tmp_path}/x.db", tmp_path, public_url=BELOW)
    async with running(settings) as app, client_of(app) as client:
        page = (await client.get("/", headers=BROWSER)).text
        nothing = (await client.get("/nothing", headers=BROWSER)).text

    assert f"curl {BELOW}/auth/register" in page
    links = re.findall(r'href="([^"]+)"', page + nothing)
    assert links
    assert all(link.startswith("/kitchen/") for link in links)


async def test_the_icon_of_the_server_is_there(client):
    icon = await client.get("/favicon.ico")

    assert (icon.status_code, icon.headers["content-type"]) == (200, "image/x-icon")
    assert icon.content.startswith(b"\x00\x00\x01\x00")
