"""A collector of OpenTelemetry on loopback: OTLP over HTTP, as protobuf."""

import gzip
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Span:
    def __init__(self, span, resource):
        self.name = span.name
        self.trace, self.id = span.trace_id.hex(), span.span_id.hex()
        self.parent = span.parent_span_id.hex()
        self.kind = span.kind
        self.is_error = span.status.code == 2
        self.attributes = {item.key: _value(item.value) for item in span.attributes}
        self.resource = {item.key: _value(item.value) for item in resource.attributes}


def _value(value):
    return getattr(value, value.WhichOneof("value"))


class Collector:
    """Keeps the spans that arrive, and the bytes of the requests. `url` is the endpoint."""

    def __init__(self):
        self.spans = []
        self.bodies = []
        self.url = ""

    def of_trace(self, trace):
        return [span for span in self.spans if span.trace == trace]

    def receive(self, path, body):
        if path != "/v1/traces":
            return 404
        self.bodies.append(body)
        for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource_spans.scope_spans:
                self.spans += [Span(span, resource_spans.resource) for span in scope.spans]
        return 200


@contextmanager
def collector():
    received = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            self.send_response(received.receive(self.path, body))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments):
            """Write no log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    received.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
