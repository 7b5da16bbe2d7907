"""Freshly's public API, as a client sees it; what goes wrong is one line to read."""

import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Self, TypeVar

import httpx2
from pydantic import BaseModel, TypeAdapter, ValidationError

Answer = TypeVar("Answer")
PREFIX = "/api/v1"
PATIENCE = 30  # seconds for one answer
LONGEST_PAUSE = 60  # seconds that the server may ask us to wait before we give up


class DemoFailed(Exception):
    """Says in its first line what went wrong, and where."""


class Complaint(BaseModel):
    """What is read of an error answer."""

    detail: str = ""
    correlation_id: str = ""


class Api:
    """Calls as one person, or as nobody while nobody has signed in."""

    def __init__(self, client: httpx2.Client, token: str | None = None) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def signed_in(self, token: str) -> Self:
        return type(self)(self._client, token)

    def get(self, path: str, answer: type[Answer]) -> Answer:
        return self._call("GET", path, answer)

    def post(
        self, path: str, answer: type[Answer], body: Mapping[str, object] | None = None
    ) -> Answer:
        return self._call("POST", path, answer, body)

    def put(self, path: str, answer: type[Answer], body: Mapping[str, object]) -> Answer:
        return self._call("PUT", path, answer, body)

    def _call(
        self,
        method: str,
        path: str,
        answer: type[Answer],
        body: Mapping[str, object] | None = None,
    ) -> Answer:
        response = self._send(method, path, body)
        if pause := _asked_to_wait(response):
            time.sleep(pause)
            response = self._send(method, path, body)
        if not response.is_success:
            raise DemoFailed(f"{method} {path}: {response.status_code}: {_complaint(response)}")
        try:
            return TypeAdapter(answer).validate_json(response.content)
        except ValidationError as error:
            reason = error.errors(include_url=False, include_input=False)[0]["msg"]
            raise DemoFailed(
                f"{method} {response.url} is not Freshly's answer: {reason}"
            ) from error

    def _send(self, method: str, path: str, body: Mapping[str, object] | None) -> httpx2.Response:
        try:
            return self._client.request(method, PREFIX + path, json=body, headers=self._headers)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise DemoFailed(f"{self._client.base_url} does not answer: {error}") from error


def _asked_to_wait(response: httpx2.Response) -> int:
    """Seconds; a server that limits rates takes the rest of the demo a little later."""
    seconds = response.headers.get("Retry-After", "")
    if response.status_code != HTTPStatus.TOO_MANY_REQUESTS or not seconds.isdecimal():
        return 0
    return int(seconds) if int(seconds) <= LONGEST_PAUSE else 0


def _complaint(response: httpx2.Response) -> str:
    try:
        said = Complaint.model_validate_json(response.content)
    except ValidationError:
        said = Complaint()
    detail = said.detail or response.reason_phrase
    request = said.correlation_id or response.headers.get("X-Correlation-ID")
    return f"{detail} (correlation id {request})" if request else detail
