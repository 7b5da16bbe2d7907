"""When to ask a model again that refused, and whether."""

import asyncio
import math
import random
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

SHORTEST, LONGEST = 0.2, 5.0  # seconds; who is told to wait for longer passes that on
LEFT_FOR_THE_ANSWER = 1.0
BUSY, TIMED_OUT, BROKEN = 429, 408, 500


def pause_before(tries: int, error: Any, until: float) -> float | None:
    """Seconds before the next of so many tries; None where another would not help, or not in time.

    Twice as long each time, by chance somewhat less: so that those who were refused together do
    not come again together.
    """
    pause = SHORTEST * 2 ** (tries - 1) * random.uniform(0.5, 1)  # noqa: S311 - no secret
    response = getattr(error, "response", None)
    if response is not None:
        if response.status_code < BROKEN and response.status_code not in (BUSY, TIMED_OUT):
            return None
        if (asked := asked_to_wait(response.headers)) is not None:
            pause += asked
    ends = asyncio.get_running_loop().time() + pause + LEFT_FOR_THE_ANSWER
    return pause if pause <= LONGEST and ends < until else None


def asked_to_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds by `Retry-After`, which is a number or a date."""
    given = headers.get("retry-after", "")
    try:
        wait = float(given)
    except ValueError:
        try:
            wait = parsedate_to_datetime(given).timestamp() - time.time()
        except ValueError:
            return None
    return max(wait, 0.0) if math.isfinite(wait) else None
