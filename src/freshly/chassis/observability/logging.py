"""Logs: a line for each request, a correlation id on each line, secrets masked.

The lines are JSON, or made for people if standard error is a terminal.
"""

import logging
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from traceback import TracebackException
from types import TracebackType
from typing import Any, Literal
from urllib.parse import quote

import structlog
from msgspec.json import Encoder

from freshly.chassis.observability.console import ConsoleLines, request_text

correlation_id: ContextVar[str] = ContextVar("correlation_id", default="-")

MASK = "***"
SECRET_KEYS = re.compile(
    r"passw|secret|token|authorization|cookie|api_?key|(?:^|_)code$|hash|credential", re.IGNORECASE
)
# Secrets inside texts, such as tracebacks, query strings and messages of libraries. Clients choose
# some of these texts, so each pattern takes time in proportion to the text: a run of characters is
# tried once, from its beginning (lookbehind), and never given up in parts (`++`).
SECRET_TEXTS = (
    (re.compile(r"(?i)\b(bearer)\s+[^\s\"',]+"), rf"\1 {MASK}"),
    (re.compile(r"(?<![\w-])(?=[\w-]*\beyJ)[\w-]++\.[\w-]++(?:\.[\w-]*+)?"), MASK),
    (re.compile(r"\$(?:argon2\w*|2[abxy])\$[^\s\"']+"), MASK),
    (re.compile(r"\bsk-[\w-]{8,}"), MASK),
    (re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]*(?=@)"), MASK),
    (
        re.compile(
            r"(?i)((?:password|secret|token|api_?key|code)[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;)}]+"
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"(?<![\w.+-])[\w.+-]++@[\w-]++(?:\.[\w-]++)+"), MASK),
)


def mask_secrets(value: object, key: str = "") -> object:
    """Return the value with secrets masked at any depth, so that it may be logged.

    `key` is the name under which the value is logged. A name such as `password` masks all of it.
    """
    if SECRET_KEYS.search(key) and not isinstance(value, (bool, int, float, type(None))):
        return MASK
    if isinstance(value, str):
        for pattern, replacement in SECRET_TEXTS:
            value = pattern.sub(replacement, value)
        return value
    if isinstance(value, Mapping):
        return {str(name): mask_secrets(part, str(name)) for name, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [mask_secrets(part) for part in value]
    if isinstance(value, (bool, int, float, type(None))):
        return value
    return mask_secrets(str(value))


def _mask_event(
    _logger: object, _method: str, event: structlog.types.EventDict
) -> structlog.types.EventDict:
    return {name: mask_secrets(value, name) for name, value in event.items()}


def _add_correlation_id(
    _logger: object, _method: str, event: structlog.types.EventDict
) -> structlog.types.EventDict:
    event.setdefault("correlation_id", correlation_id.get())
    return event


# Errors of these packages repeat values: PostgreSQL's DETAIL has the whole row that it refused.
LONGEST_REASON = 500  # characters
DATABASE_PACKAGES = {"aiosqlite", "asyncpg", "sqlalchemy", "sqlite3"}
VALUES_IN_ERRORS = re.compile(r"(argument \$\d+: ).*|(: )([\"']).*\3")


def error_text(error: BaseException) -> str:
    """Return the text of an error for the log, without the values of an SQL statement."""
    if type(error).__module__.partition(".")[0] not in DATABASE_PACKAGES:
        return str(error)
    reason = VALUES_IN_ERRORS.sub(
        rf"\1\2{MASK}", (str(error).splitlines() or [""])[0][:LONGEST_REASON]
    )
    statement = getattr(error, "statement", None)
    return f"{reason} [SQL: {statement}]" if statement else reason


def _traceback(
    exc_info: tuple[type[BaseException], BaseException, TracebackType | None],
) -> str:
    rendered = TracebackException(*exc_info)
    _hide_values(rendered, exc_info[1])
    return "".join(rendered.format()).rstrip("\n")


def _hide_values(rendered: TracebackException, error: BaseException) -> None:
    """Replace the texts of the error, of its causes, and of the errors in a group."""
    rendered._str = error_text(error)  # type: ignore[attr-defined] # noqa: SLF001 - no other way
    for part, cause in (
        (rendered.__cause__, error.__cause__),
        (rendered.__context__, error.__context__),
    ):
        if part is not None and cause is not None:
            _hide_values(part, cause)
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for part, member in zip(rendered.exceptions or (), inner, strict=False):
        _hide_values(part, member)


LogFormat = Literal["auto", "json", "console"]


class StderrHandler(logging.Handler):
    """Write to the current `sys.stderr`, not to the one at the time of the set-up."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            _write_line(self.format(record))
        except Exception:  # noqa: BLE001 - logging must not break the code that logs
            self.handleError(record)


def configure_logging(level: str, form: LogFormat = "auto") -> None:
    """Send the lines of Freshly and of all libraries through a single formatter to stderr."""
    on_console = form == "console" or (form == "auto" and sys.stderr.isatty())
    _access_text[:] = [request_text if on_console else _json_text]
    json_lines = structlog.processors.JSONRenderer(ensure_ascii=True)
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_correlation_id,
    ]
    handler = StderrHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.PositionalArgumentsFormatter()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.ExceptionRenderer(_traceback),
                _mask_event,
                ConsoleLines() if on_console else json_lines,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("uvicorn.access", "aiosqlite", "alembic", "asyncio", "httpx2"):
        logging.getLogger(noisy).setLevel("WARNING")
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()  # uvicorn would write each line a second time
        logging.getLogger(name).propagate = True
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


SAFE_PATH = re.compile(r"[a-z0-9/_-]{0,120}")
MAX_PATH_LENGTH = 200  # characters of a path that are logged
# Characters that are masked, so that a secret at the end of the logged part is masked too.
MAX_MASKED_PATH_LENGTH = 1000
SERVER_ERROR = 500  # the lowest status that is the server's fault
access_logger = logging.getLogger("freshly.access")
_json = Encoder()


def access_line(facts: dict[str, Any]) -> None:
    """Write the log line of a request, in the same form as all other lines.

    It bypasses structlog, which takes longer than a cached response. Of the facts, only the path
    comes from the client. It is cut and masked, unless it has only characters of SAFE_PATH, with
    which it can hold neither a secret nor a control character.
    """
    status = facts["status"]
    is_error = status.__class__ is int and status >= SERVER_ERROR
    if not access_logger.isEnabledFor(logging.ERROR if is_error else logging.INFO):
        return
    path = facts["path"]
    if not SAFE_PATH.fullmatch(path):
        facts["path"] = _loggable_path(path)
    facts["level"] = "error" if is_error else "info"
    _write_line(_access_text[-1](facts))


def _json_text(facts: dict[str, Any]) -> str:
    facts["event"] = "request"
    facts["logger"] = "freshly.access"
    facts["timestamp"] = datetime.now(UTC)
    facts["correlation_id"] = correlation_id.get()
    return _json.encode(facts).decode()


# The renderer of the access log, which `configure_logging` replaces.
_access_text: list[Callable[[dict[str, Any]], str]] = [_json_text]


def _loggable_path(path: str) -> str:
    masked = str(mask_secrets(path[:MAX_MASKED_PATH_LENGTH]))
    return quote(masked, safe="/*", errors="replace")[:MAX_PATH_LENGTH]


def _write_line(line: str) -> None:
    """Write to stderr. A full disk loses the line, but must not fail the request."""
    with suppress(OSError):
        sys.stderr.write(line + "\n")


def get_logger(name: str) -> Any:
    return structlog.stdlib.get_logger(name)
