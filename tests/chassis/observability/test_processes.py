"""Processes of a server that share their metrics by files."""

import signal
import subprocess
import sys

from freshly.chassis.observability.processes import forget_dead_processes, living_processes

CHILD = """
import time
from prometheus_client import Counter, Gauge
from freshly.chassis.observability.processes import register_process
Gauge("taken", "Taken", multiprocess_mode="livesum").set(3)
Counter("calls", "Calls").inc(5)
register_process()
print("ready", flush=True)
time.sleep(60)
"""


def test_a_killed_process_leaves_its_counters_and_no_gauges(tmp_path, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        forget_dead_processes()
        alive = {path.name for path in tmp_path.iterdir()}
        assert child.pid in living_processes()
        child.send_signal(signal.SIGKILL)
    forget_dead_processes()

    assert f"gauge_livesum_{child.pid}.db" in alive
    assert {path.name for path in tmp_path.iterdir()} == {f"counter_{child.pid}.db"}
    assert child.pid not in living_processes()
