"""JSON logs: one line a request, the correlation id on every line, secrets masked."""

import logging
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import structlog
from msgspec.json import Encoder

correlation_id: ContextVar[str] = ContextVar("correlation_id", default="-")

MASK = "***"
SECRET_KEYS = re.compile(
    r"passw|secret|token|authorization|cookie|api_?key|(?:^|_)code$|hash|credential", re.IGNORECASE
)
# Also inside texts: tracebacks, query strings, messages of libraries.
SECRET_TEXTS = (
    (re.compile(r"(?i)\b(bearer)\s+[^\s\"',]+"), rf"\1 {MASK}"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?"), MASK),
    (re.compile(r"\$(?:argon2\w*|2[abxy])\$[^\s\"']+"), MASK),
    (re.compile(r"\bsk-[\w-]{8,}"), MASK),
    (re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]*(?=@)"), MASK),
    (
        re.compile(
            r"(?i)((?:password|secret|token|api_?key|code)[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;)}]+"
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), MASK),
)


def masked(value: object, key: str = "") -> object:
    """The value as it may be logged, at any depth."""
    if SECRET_KEYS.search(key) and not isinstance(value, (bool, int, float, type(None))):
        return MASK
    if isinstance(value, str):
        for pattern, replacement in SECRET_TEXTS:
            value = pattern.sub(replacement, value)
        return value
    if isinstance(value, Mapping):
        return {str(name): masked(part, str(name)) for name, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [masked(part) for part in value]
    if isinstance(value, (bool, int, float, type(None))):
        return value
    return masked(str(value))


def _mask_event(
    _logger: object, _method: str, event: structlog.types.EventDict
) -> structlog.types.EventDict:
    return {name: masked(value, name) for name, value in event.items()}


def _add_correlation_id(
    _logger: object, _method: str, event: structlog.types.EventDict
) -> structlog.types.EventDict:
    event.setdefault("correlation_id", correlation_id.get())
    return event


class ToStandardError(logging.Handler):
    """To what standard error is now, not to what it was when logging was set up."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            _say(self.format(record))
        except Exception:  # noqa: BLE001 - a log line never breaks what it tells of
            self.handleError(record)


def configure_logging(level: str) -> None:
    """Ours and every library's lines leave through one formatter, to standard error."""
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_correlation_id,
    ]
    handler = ToStandardError()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.PositionalArgumentsFormatter()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _mask_event,
                structlog.processors.JSONRenderer(ensure_ascii=True),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("uvicorn.access", "aiosqlite", "asyncio"):
        logging.getLogger(noisy).setLevel("WARNING")
    for own_handler in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(own_handler).handlers.clear()
        logging.getLogger(own_handler).propagate = True
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


PLAIN = re.compile(r"[a-z0-9/_-]{0,120}")
access = logging.getLogger("freshly.access")
_json = Encoder()


def access_line(facts: dict[str, Any]) -> None:
    """One line for a request, in the form of all others.

    Written without their machinery, which takes longer than a cached answer. All facts are our
    own but the path, which is masked unless nothing in it could be a secret or a control character.
    """
    if not access.isEnabledFor(logging.INFO):
        return
    path = facts["path"]
    line = {
        **facts,
        "path": path if PLAIN.fullmatch(path) else masked(quote(path)),
        "event": "request",
        "level": "info",
        "logger": "freshly.access",
        "timestamp": datetime.now(UTC),
        "correlation_id": correlation_id.get(),
    }
    _say(_json.encode(line).decode())


def _say(line: str) -> None:
    """A line that finds no room on a full disk is lost; the answer that it tells of is not."""
    with suppress(OSError):
        sys.stderr.write(line + "\n")


def get_logger(name: str) -> Any:
    return structlog.stdlib.get_logger(name)
