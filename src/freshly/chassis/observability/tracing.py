"""Traces by OpenTelemetry: a request, its SQL, Redis, model and email, and the jobs it causes.

OpenTelemetry's API comes with FastAPI. Its SDK is the extra `otel`, which is imported only if the
environment says where traces go, by OpenTelemetry's own variables. Attributes hold no values that
users wrote: no parameters of SQL, no paths, no texts of errors.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from types import TracebackType
from typing import Any

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from freshly.settings import BadSettings

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
EXPORTER = "OTEL_TRACES_EXPORTER"
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"
FLUSH_MILLISECONDS = 5000
MAX_SQL = 2000  # characters of a statement in a span
SERVER_ERROR = 500
Headers = Iterable[tuple[bytes, bytes]]
NOTHING: AbstractContextManager[None] = nullcontext()
_w3c = TraceContextTextMapPropagator()


class Leaf:
    """A span without children: a statement, a command, a call. It ends with its context."""

    __slots__ = ("span",)

    def __init__(self, span: Span) -> None:
        self.span = span

    def __enter__(self) -> None:
        """Do nothing: the span has begun."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end(error)

    def end(self, error: BaseException | None = None) -> None:
        if error is not None:
            self.span.set_attribute("error.type", type(error).__qualname__)
            self.span.set_status(StatusCode.ERROR)
        self.span.end()


class RequestSpan:
    """The span of a request, current until `end`."""

    def __init__(self, tracer: Tracer, method: str, headers: Headers) -> None:
        carrier = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in headers
            if name in (b"traceparent", b"tracestate")
        }
        parent = _w3c.extract(carrier)
        self.method = method
        self.span = tracer.start_span(method, context=parent, kind=SpanKind.SERVER)
        self.trace_id = f"{self.span.get_span_context().trace_id:032x}"
        self._token = contexts.attach(trace.set_span_in_context(self.span, parent))

    def end(self, route: str, status: int, facts: Mapping[str, Any]) -> None:
        contexts.detach(self._token)
        span = self.span
        if route != "-":
            span.update_name(f"{self.method} {route}")
            span.set_attribute("http.route", route)
        span.set_attribute("http.request.method", self.method)
        span.set_attribute("http.response.status_code", status)
        for name in ("user_id", "family_id", "cache"):
            if name in facts:
                span.set_attribute(f"freshly.{name}", facts[name])
        if status >= SERVER_ERROR or not status:
            span.set_status(StatusCode.ERROR)
        span.end()


class Tracing:
    """Traces of this process: off until `start` finds where to send them."""

    def __init__(self) -> None:
        self._tracer: Tracer | None = None
        self._provider: Any = None

    @property
    def is_on(self) -> bool:
        return self._tracer is not None

    def start(self, version: str) -> None:
        """Send traces from now on, if the environment wants that. Raises BadSettings."""
        if not is_wanted() or self.is_on:
            return
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - an extra
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - an extra

        named = os.environ.get("OTEL_SERVICE_NAME", "freshly")
        resource = Resource.create({SERVICE_NAME: named, "service.version": version})
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("freshly", version)

    def flush(self) -> None:
        """Send what has not been sent yet. Waits for the collector for a few seconds."""
        if self._provider is not None:
            self._provider.force_flush(FLUSH_MILLISECONDS)

    def stop(self) -> None:
        """Send the rest, and trace no more."""
        provider, self._provider, self._tracer = self._provider, None, None
        if provider is not None:
            provider.shutdown()

    def request(self, method: str, headers: Headers) -> RequestSpan | None:
        """Begin the span of a request, in the trace of its `traceparent`."""
        return RequestSpan(self._tracer, method, headers) if self._tracer is not None else None

    @contextmanager
    def job(self, kind: str, traceparent: str | None) -> Iterator[None]:
        """Trace a run of a job, in the trace of the request that enqueued it."""
        if self._tracer is None:
            yield
            return
        parent = _w3c.extract({"traceparent": traceparent} if traceparent else {})
        with self._tracer.start_as_current_span(
            f"job {kind}",
            context=parent,
            kind=SpanKind.CONSUMER,
            attributes={"messaging.system": "freshly", "messaging.destination.name": kind},
            record_exception=False,
            set_status_on_exception=False,
        ):
            yield

    def describe_job(self, outcome: str) -> None:
        """Say in the span of the job how its run ended."""
        if self._tracer is not None:
            span = trace.get_current_span()
            span.set_attribute("freshly.outcome", outcome)
            if outcome != "done":
                span.set_status(StatusCode.ERROR)

    def leaf(self, name: str, **attributes: str) -> Leaf | None:
        """Begin a span within that of the request or job. Return None outside of a trace.

        Pings, polls and heartbeats are no part of a request, and would be most of the traces.
        """
        if self._tracer is None or not trace.get_current_span().is_recording():
            return None
        named = {key.replace("__", "."): value for key, value in attributes.items()}
        return Leaf(self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=named))

    def call(self, name: str, **attributes: str) -> AbstractContextManager[None]:
        """Trace what the context does. In names of attributes, `__` stands for a dot."""
        if self._tracer is None:
            return NOTHING
        return self.leaf(name, **attributes) or NOTHING

    def statement(self, sql: str, database: str) -> AbstractContextManager[None]:
        return NOTHING if self._tracer is None else self.statement_leaf(sql, database) or NOTHING

    def statement_leaf(self, sql: str, database: str) -> Leaf | None:
        """Begin the span of an SQL statement. Its values are placeholders."""
        verb = sql.lstrip().partition(" ")[0].partition("\n")[0].upper()
        return self.leaf(verb, db__system__name=database, db__query__text=sql[:MAX_SQL])

    def traceparent(self) -> str | None:
        """Return the `traceparent` of the current span, for a job or for another server."""
        if self._tracer is None:
            return None
        carrier: dict[str, str] = {}
        _w3c.inject(carrier)
        return carrier.get("traceparent")


tracing = Tracing()


def is_wanted() -> bool:
    """Return True if the environment says where traces go. Raises BadSettings if that cannot be."""
    get = os.environ.get
    if get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    endpoint = next((name for name in ENDPOINTS if get(name)), None)
    exporter = get(EXPORTER) or "otlp"
    if endpoint is None or exporter == "none":
        return False
    if exporter != "otlp":
        raise BadSettings(f"{EXPORTER}: is {exporter}, but Freshly knows only otlp and none")
    name = next((name for name in PROTOCOLS if get(name)), None)
    if name is not None and get(name) != PROTOCOL:
        raise BadSettings(f"{name}: is {get(name)}, but Freshly knows only {PROTOCOL}")
    if find_spec("opentelemetry.sdk") is None or find_spec("opentelemetry.exporter") is None:
        raise BadSettings(f"{endpoint}: needs the packages of requirements/otel.txt")
    return True
