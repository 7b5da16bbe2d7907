"""Real processes as an operator sees them: metrics after a reload, a killed worker, and traces."""

import json
import re
import signal
import time
import urllib.request
from collections import defaultdict

import pytest

from freshly import __version__
from tests.support.collector import collector
from tests.system.test_commands import free_port, post, serving  # noqa: F401 - a fixture

TIMEOUT_SECONDS = 120  # against hanging; nothing is measured by it
CAPACITY = 7  # transactions of a process


def text_of(url):
    with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own server
        return response.read().decode()


def metrics_of(url):
    """Return the values of each metric, by name and labels."""
    found = defaultdict(dict)
    for name, labels, value in re.findall(r"(?m)^(\w+)({.*})? (\S+)$", text_of(f"{url}/metrics")):
        found[name][labels] = float(value)
    return found


def wait(condition):
    """Wait until the condition is met, and return its value. Servers may not answer yet."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        try:
            if met := condition():
                return met
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("the condition is not met in time")


def processes(url):
    """Return the server processes that `/metrics` knows."""
    labels = metrics_of(url)["process_resident_memory_bytes"]
    return {int(re.search(r"\d+", label)[0]) for label in labels}


def capacity(url):
    return metrics_of(url)["freshly_database_units"].get('{state="capacity"}')


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_metrics_and_traces_of_several_processes_are_true_after_a_reload_and_a_kill(
    serving,  # noqa: F811
    database_url,
):
    with collector() as traces:
        probe_port = free_port()
        shared = {
            "DATABASE_URL": database_url,
            "DATABASE_POOL_SIZE": "4",
            "DATABASE_MAX_OVERFLOW": str(CAPACITY - 4),
            "JOBS": "worker",
            "JOBS_WORKER_SILENCE": "2",
        }
        otel = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": traces.url,
            "OTEL_BSP_SCHEDULE_DELAY": "3600000",  # so that only a shutdown sends the rest
        }
        server, url = serving(WORKERS="2", **shared, **otel)
        worker, _ = serving("worker", WORKER_PORT=str(probe_port), **shared)
        probes = f"http://127.0.0.1:{probe_port}"

        first = wait(lambda: len(found := processes(url)) == 2 and found)
        wait(lambda: capacity(url) == 2 * CAPACITY)
        wait(lambda: json.loads(text_of(f"{probes}/ready"))["workers"] == 1)
        metrics = metrics_of(url)
        assert metrics["freshly_job_workers"][""] == 1
        assert metrics["freshly_build_info"].keys() == {f'{{version="{__version__}"}}'}
        assert all(value > 10e6 for value in metrics["process_resident_memory_bytes"].values())
        assert all(value > 5 for value in metrics["process_open_fds"].values())
        assert len(metrics["process_cpu_seconds_total"]) == 2
        assert "freshly_emails_total" in text_of(f"{probes}/metrics")

        worker.kill()
        server.send_signal(signal.SIGHUP)
        wait(lambda: len(found := processes(url)) == 2 and not found & first)
        wait(lambda: capacity(url) == 2 * CAPACITY)
        wait(lambda: metrics_of(url)["freshly_job_workers"][""] == 0)
        assert json.loads(text_of(f"{url}/ready"))["workers"] == 0

        post(f"{url}/auth/register", {"email": "a@example.com", "password": "correct horse"})
        server.terminate()
        _, log = server.communicate(timeout=TIMEOUT_SECONDS)
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    (request,) = [line for line in lines if line["event"] == "request"]
    assert (request["route"], request["status"]) == ("/auth/register", 200)
    names = {span.name for span in traces.of_trace(request["trace_id"])}
    assert {"POST /auth/register", "INSERT"} <= names
