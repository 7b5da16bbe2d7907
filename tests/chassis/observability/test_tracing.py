"""Traces of OpenTelemetry, received by a collector on loopback."""

import subprocess
import sys

import pytest
from pydantic import SecretStr

from freshly.chassis.observability.tracing import is_wanted, tracing
from freshly.settings import BadSettings
from tests.conftest import Jobs, client_of, running, settings_for
from tests.support.api import Kitchen
from tests.support.collector import collector
from tests.support.fake_services import model_server, smtp_server

TRACES = {name: f"{number}" * 32 for number, name in enumerate(("chat", "mail", "list"), start=1)}
SERVER, CLIENT, CONSUMER = 2, 3, 5  # kinds of spans in the protocol


def of_trace(name):
    return {"traceparent": f"00-{TRACES[name]}-00f067aa0ba902b7-01"}


@pytest.fixture
def traces(monkeypatch):
    with collector() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=a-test")
        tracing.start("1.2.3")
        yield received
        tracing.stop()


async def test_a_trace_goes_from_a_request_to_sql_redis_model_email_and_its_jobs(
    traces, database_url, redis_url, tmp_path
):
    """Each part talks to a real server on loopback."""
    async with model_server() as model:
        with smtp_server() as inbox:
            settings = settings_for(
                database_url,
                tmp_path,
                cache="auto",
                redis_url=SecretStr(redis_url),
                openai_base_url=model.url,
                mail_server="127.0.0.1",
                mail_port=inbox.port,
                mail_starttls=False,
            )
            async with running(settings) as app, client_of(app) as client:
                alice = await Kitchen(client).person()
                model.says("Soup.")
                chat = {"message": "canary-question"}
                answer = await alice.post("/chat", chat, headers=of_trace("chat"))
                await alice.get("/pantry-items/me", headers=of_trace("list"))
                code = {"email": alice.user["email"]}
                await client.post("/auth/send-code", json=code, headers=of_trace("mail"))
                await Jobs(app).run_due()
                await inbox.next_email()
                await client.get("/health", headers=of_trace("list"))
            tracing.flush()

    chat, mail, read = (traces.of_trace(TRACES[name]) for name in ("chat", "mail", "list"))
    assert answer.status_code == 200
    assert answer.headers["X-Correlation-ID"] == TRACES["chat"]

    (request,) = [span for span in chat if span.kind == SERVER]
    assert (request.name, request.parent) == ("POST /chat", "00f067aa0ba902b7")
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["freshly.user_id"] == alice.id
    assert request.resource["service.name"] == "freshly"
    assert request.resource["deployment.environment.name"] == "a-test"
    children = {span.name for span in chat if span.parent == request.id}
    assert {"SELECT", "INSERT", f"model {settings.openai_model}"} <= children

    (listed,) = [span for span in read if span.kind == SERVER]  # the probe is not traced
    systems = {span.attributes.get("db.system.name") for span in read if span.parent == listed.id}
    assert systems == {"redis", settings.database.get_backend_name()}

    (request,) = [span for span in mail if span.kind == SERVER]
    (job,) = [span for span in mail if span.kind == CONSUMER]
    assert (job.name, job.parent) == ("job auth.send_code", request.id)
    assert job.attributes["freshly.outcome"] == "done"
    assert "email" in {span.name for span in mail if span.parent == job.id}

    sent = b"".join(traces.bodies)
    assert [text for text in (b"canary", alice.user["email"].encode()) if text in sent] == []
    # Pings, polls and heartbeats are in no trace of their own.
    assert [span.name for span in traces.spans if not span.parent and span.kind == CLIENT] == []


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_TRACES_EXPORTER": "zipkin"}, "EXPORTER"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "a", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "PROTOCOL"),
    ],
)
def test_the_usual_variables_decide_if_there_are_traces(monkeypatch, environment, wanted):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    if isinstance(wanted, bool):
        assert is_wanted() is wanted
    else:
        with pytest.raises(BadSettings, match=f"^OTEL_.*{wanted}: is (zipkin|grpc), but"):
            is_wanted()


def test_nothing_of_the_sdk_is_imported_while_there_are_no_traces():
    code = (
        "import sys; import freshly.commands.serve, freshly.commands.worker;"
        "from freshly.chassis.observability.tracing import tracing; tracing.start('1');"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'google'))])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "[]"
