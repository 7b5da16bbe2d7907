"""A client of Freshly's public API that turns each error into a single readable line."""

import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Self, TypeVar

import httpx2
from pydantic import BaseModel, TypeAdapter, ValidationError

Body = TypeVar("Body")
PREFIX = "/api/v1"
TIMEOUT_SECONDS = 30  # for one response
MAX_RETRY_AFTER_SECONDS = 60  # a rate limit that asks for a longer wait ends the demo


class DemoFailed(Exception):
    """The demo cannot go on. The first line of the text says why and where."""


class ErrorBody(BaseModel):
    """The members of an error response that the demo shows."""

    detail: str = ""
    correlation_id: str = ""


class Api:
    """Calls the API as a user, or without signing in if there is no token."""

    def __init__(self, client: httpx2.Client, token: str | None = None) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def signed_in(self, token: str) -> Self:
        """Return the same API, called with this access token."""
        return type(self)(self._client, token)

    def get(self, path: str, body_type: type[Body]) -> Body:
        return self._call("GET", path, body_type)

    def post(
        self, path: str, body_type: type[Body], body: Mapping[str, object] | None = None
    ) -> Body:
        return self._call("POST", path, body_type, body)

    def put(self, path: str, body_type: type[Body], body: Mapping[str, object]) -> Body:
        return self._call("PUT", path, body_type, body)

    def _call(
        self,
        method: str,
        path: str,
        body_type: type[Body],
        body: Mapping[str, object] | None = None,
    ) -> Body:
        response = self._send(method, path, body)
        if seconds := _retry_after(response):
            time.sleep(seconds)
            response = self._send(method, path, body)
        if not response.is_success:
            raise DemoFailed(f"{method} {path}: {response.status_code}: {_error_text(response)}")
        try:
            return TypeAdapter(body_type).validate_json(response.content)
        except ValidationError as error:
            reason = error.errors(include_url=False, include_input=False)[0]["msg"]
            raise DemoFailed(
                f"{method} {response.url}: the response is not Freshly's: {reason}"
            ) from error

    def _send(self, method: str, path: str, body: Mapping[str, object] | None) -> httpx2.Response:
        try:
            return self._client.request(method, PREFIX + path, json=body, headers=self._headers)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise DemoFailed(f"{self._client.base_url} does not respond: {error}") from error


def _retry_after(response: httpx2.Response) -> int:
    """Return the seconds to wait before a retry, or 0 if the call was not rate limited."""
    seconds = response.headers.get("Retry-After", "")
    if response.status_code != HTTPStatus.TOO_MANY_REQUESTS or not seconds.isdecimal():
        return 0
    return int(seconds) if int(seconds) <= MAX_RETRY_AFTER_SECONDS else 0


def _error_text(response: httpx2.Response) -> str:
    try:
        body = ErrorBody.model_validate_json(response.content)
    except ValidationError:
        body = ErrorBody()
    detail = body.detail or response.reason_phrase
    correlation_id = body.correlation_id or response.headers.get("X-Correlation-ID")
    return f"{detail} (correlation id {correlation_id})" if correlation_id else detail
