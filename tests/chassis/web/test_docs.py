"""/docs works offline, and under a Content-Security-Policy without inline scripts."""

import re
from urllib.parse import urljoin

import pytest

ASSETS = {
    "/docs/assets/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "/docs/assets/swagger-ui.css": "text/css; charset=utf-8",
    "/docs/assets/start.js": "text/javascript; charset=utf-8",
    "/docs/assets/icon.svg": "image/svg+xml",
}


async def test_the_page_names_only_assets_of_this_server(client):
    page = await client.get("/docs")

    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    named = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", page.text)
    assert {urljoin("/docs", name) for name in named} == set(ASSETS)


@pytest.mark.parametrize("path", sorted(ASSETS))
async def test_each_asset_is_served(client, path):
    asset = await client.get(path)

    assert asset.status_code == 200
    assert asset.headers["content-type"] == ASSETS[path]
    assert asset.headers["cache-control"] == "public, max-age=86400"
    assert len(asset.content) > 100


async def test_the_start_script_reads_our_document_and_no_other_host(client):
    script = (await client.get("/docs/assets/start.js")).text

    assert 'url: "openapi.json"' in script
    assert "validatorUrl: null" in script
    assert "//" not in re.sub(r"^\s*//.*", "", script, flags=re.MULTILINE)
    assert (await client.get("/openapi.json")).status_code == 200


async def test_the_content_security_policy_forbids_inline_scripts_and_other_hosts(client):
    page = await client.get("/docs")

    assert page.headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


async def test_the_page_has_no_inline_script_style_or_event_handler(client):
    page = (await client.get("/docs")).text

    scripts = re.findall(r"<script\b([^>]*)>(.*?)</script>", page, flags=re.DOTALL)
    assert len(scripts) == 2
    assert all("src=" in attributes and not body for attributes, body in scripts)
    assert not re.search(r"<style|\sstyle\s*=|\son\w+\s*=|javascript:", page, flags=re.IGNORECASE)


async def test_only_listed_files_are_served_and_only_at_the_root(client):
    assert (await client.get("/docs/assets/favicon-32x32.png")).status_code == 404
    assert (await client.get("/docs/assets/index.html")).status_code == 404
    assert (await client.get("/docs/assets/..%2Findex.html")).status_code == 404
    assert (await client.get("/api/v1/docs")).status_code == 404
