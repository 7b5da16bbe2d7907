"""/docs: Swagger UI for people. It works offline; all its files come from this server."""

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse

from freshly.chassis.errors import NotFound
from freshly.chassis.web.pages import FAVICON
from freshly.chassis.web.path_prefixes import requested_path

PAGE = Path(__file__).parents[1] / "docs"
PAGES = FAVICON.parent
SWAGGER_UI = Path(str(files("fastapi_swagger"))) / "resources"
ASSETS = {
    "swagger-ui-bundle.js": (SWAGGER_UI, "text/javascript"),
    "swagger-ui.css": (SWAGGER_UI, "text/css"),
    "start.js": (PAGE, "text/javascript"),
    "icon.svg": (PAGES, "image/svg+xml"),
}
# Tried in Chromium: Swagger UI needs no inline script or style. React sets styles through the DOM,
# which the policy does not cover.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; "
    "script-src 'self'; "
    "style-src 'self'; "
    "img-src 'self' data:; "  # the arrows and locks in swagger-ui.css are data: URLs
    "connect-src 'self'; "  # reads /openapi.json, and sends the requests that a user tries out
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
CACHED_FOR_A_DAY = {"Cache-Control": "public, max-age=86400"}

router = APIRouter(tags=["system"])


@router.get("/docs", include_in_schema=False)
async def read_docs(request: Request) -> Response:
    # The page names its assets relative to /docs, so that it works below any path of a proxy.
    if requested_path(request.scope).endswith("/"):
        return RedirectResponse("../docs", 308)
    page = (PAGE / "index.html").read_text(encoding="utf-8")
    return HTMLResponse(page, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})


@router.get("/docs/assets/{name}", include_in_schema=False)
async def read_asset(name: str) -> Response:
    if name not in ASSETS:
        raise NotFound
    folder, media_type = ASSETS[name]
    return FileResponse(folder / name, media_type=media_type, headers=CACHED_FOR_A_DAY)


@router.get("/favicon.ico", include_in_schema=False)
async def read_favicon() -> Response:
    return FileResponse(FAVICON, media_type="image/x-icon", headers=CACHED_FOR_A_DAY)
