"""Translates errors of the openai library to those of the port."""

import binascii
from collections.abc import Iterator
from contextlib import contextmanager

from freshly.adapters.openai.response_size import ResponseTooLarge
from freshly.adapters.openai.retries import SERVER_ERROR, TOO_MANY_REQUESTS, retry_after_seconds
from freshly.chassis.observability.logging import get_logger
from freshly.chassis.ports.llm import (
    ModelAnswerUnusable,
    ModelBusy,
    ModelFailing,
    ModelUnavailable,
)

logger = get_logger(__name__)

MAX_LOGGED_CHARACTERS = 500
BUSY_RETRY_SECONDS = 5  # if the server names no time itself


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise one of MODEL_ERRORS instead of the library's errors.

    Texts of the model's server go to the log only. The client learns whether to try again.
    """
    import openai  # noqa: PLC0415 - it takes a second to import

    try:
        yield
    except (openai.APIConnectionError, TimeoutError) as error:
        logger.warning("model unreachable", reason=type(error).__name__)
        too_large = isinstance(error.__cause__, ResponseTooLarge)
        raise (ModelAnswerUnusable() if too_large else ModelUnavailable()) from error
    except openai.APIStatusError as error:
        reason = error.message[:MAX_LOGGED_CHARACTERS]
        logger.warning("model refused", status=error.status_code, reason=reason)
        if error.status_code == TOO_MANY_REQUESTS:
            raise ModelBusy(
                retry_after_seconds(error.response.headers) or BUSY_RETRY_SECONDS
            ) from error
        is_failing = error.status_code >= SERVER_ERROR
        raise (ModelFailing if is_failing else ModelAnswerUnusable) from error
    except (
        openai.OpenAIError,
        binascii.Error,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        RecursionError,
    ) as error:
        logger.warning("model answer unusable", reason=str(error)[:MAX_LOGGED_CHARACTERS])
        raise ModelAnswerUnusable from error
