"""The pages for people who open this server in a browser. They need no script and load no file.

Clients that do not ask for HTML get JSON at the same addresses.
"""

import base64
import hashlib
import re
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

from fastapi import Request
from starlette.responses import HTMLResponse

from freshly.settings import Settings

FOLDER = Path(__file__).parent
FAVICON = FOLDER / "favicon.ico"
QUALITY = re.compile(r";\s*q=([01](?:\.\d{0,3})?)")  # of a media type in `Accept`


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


STYLE, ICON = _read("page.css"), _read("icon.svg").strip()
HOME, NOT_FOUND = Template(_read("home.html")), Template(_read("not_found.html"))
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}


def prefers_html(request: Request) -> bool:
    """Return True for browsers: they name text/html in `Accept`. Clients send `*/*` or nothing."""
    accepted = {}
    for part in ",".join(request.headers.getlist("Accept")).split(","):
        quality = QUALITY.search(part)
        accepted[part.partition(";")[0].strip().lower()] = float(quality[1]) if quality else 1.0
    return accepted.get("text/html", 0) > accepted.get("application/json", 0)


def home_page(request: Request) -> HTMLResponse:
    settings: Settings = request.state.resources.settings
    url = str(settings.public_url or request.base_url).rstrip("/")
    version = request.app.version
    return _page(HOME, request, name=settings.app_name, url=url, version=version)


def not_found_page(request: Request) -> HTMLResponse:
    return _page(NOT_FOUND, request, status=404)


def _page(template: Template, request: Request, status: int = 200, **texts: str) -> HTMLResponse:
    settings: Settings = request.state.resources.settings
    # Behind a proxy the path of PUBLIC_URL precedes every path.
    base = urlsplit(str(settings.public_url or "")).path.rstrip("/")
    escaped = {name: escape(text) for name, text in {**texts, "base": base}.items()}
    return HTMLResponse(template.substitute(escaped, style=STYLE, icon=ICON), status, HEADERS)
