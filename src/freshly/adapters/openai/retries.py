"""Decides if and when a failed call of the language model is retried."""

import asyncio
import math
import random
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

MIN_DELAY_SECONDS = 0.2
MAX_DELAY_SECONDS = 5.0  # a longer wait is passed on to the client as `Retry-After`
MIN_CALL_SECONDS = 1.0  # that must be left for the call itself
TOO_MANY_REQUESTS, REQUEST_TIMEOUT, SERVER_ERROR = 429, 408, 500


def retry_delay(attempts: int, error: Any, deadline: float) -> float | None:
    """Return the seconds to wait after so many failed attempts, or None if a retry is no use.

    None means that the error is permanent, or that too little time is left before the deadline
    (a time of the event loop). The delay doubles with each attempt and is shortened at random, so
    that calls that failed together are not retried together. A `Retry-After` of the server is
    added.
    """
    jitter = random.uniform(0.5, 1)  # noqa: S311 - not a secret
    delay = MIN_DELAY_SECONDS * 2 ** (attempts - 1) * jitter
    response = getattr(error, "response", None)
    if response is not None:
        status = response.status_code
        if status < SERVER_ERROR and status not in (TOO_MANY_REQUESTS, REQUEST_TIMEOUT):
            return None
        if (retry_after := retry_after_seconds(response.headers)) is not None:
            delay += retry_after
    earliest_end = asyncio.get_running_loop().time() + delay + MIN_CALL_SECONDS
    return delay if delay <= MAX_DELAY_SECONDS and earliest_end < deadline else None


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of `Retry-After`, which is a number or a date. None if there is none."""
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
