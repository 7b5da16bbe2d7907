"""The processes of a server: which of them are alive, and what the kernel knows of them.

With several server processes, each keeps its metrics in files that any of them can add up. A
process that ended leaves its files. Counters must stay, but gauges must go, or `/metrics` would
show the connections of all processes that ever were. So each process locks a file of its own, and
the kernel unlocks it however the process ends.
"""

import fcntl
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, time
from typing import IO

from prometheus_client import multiprocess
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
PROCESS_SUFFIX = ".alive"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# Positions in /proc/PID/stat, counted after the state: the name before it may have spaces.
USER_TICKS, SYSTEM_TICKS, START_TICKS = 10, 11, 18

_held: dict[Path, IO[str]] = {}


def register_process() -> None:
    """Say that this process is alive, until it ends. Does nothing in a server of one process."""
    folder = _folder()
    if folder is None:
        return
    path = folder / f"{os.getpid()}{PROCESS_SUFFIX}"
    if path not in _held:
        file = path.open("w", encoding="ascii")
        fcntl.flock(file, fcntl.LOCK_EX)
        _held[path] = file


def forget_dead_processes() -> None:
    """Delete the gauges of processes that have ended."""
    for path in _registered():
        if path not in _held and _is_free(path):
            multiprocess.mark_process_dead(int(path.stem))  # type: ignore[no-untyped-call]
            path.unlink(missing_ok=True)


def living_processes() -> Sequence[int]:
    """Return the ids of the server's processes, this one included."""
    return sorted({os.getpid(), *(int(path.stem) for path in _registered())})


def _folder() -> Path | None:
    return Path(os.environ[METRICS_FOLDER]) if METRICS_FOLDER in os.environ else None


def _registered() -> list[Path]:
    folder = _folder()
    return [] if folder is None else list(folder.glob(f"*{PROCESS_SUFFIX}"))


def _is_free(path: Path) -> bool:
    try:
        with path.open(encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:  # another process has deleted it just now
        return False
    except BlockingIOError:
        return False
    return True


class ProcessCollector(Collector):
    """Memory, processor time, start and open files of each living process, on Linux.

    prometheus_client's own collector knows only the process that answers.
    """

    def collect(self) -> Iterable[Metric]:
        memory = GaugeMetricFamily(
            "process_resident_memory_bytes", "Resident memory of a process", labels=("pid",)
        )
        cpu = CounterMetricFamily(
            "process_cpu_seconds", "Processor time that a process has used", labels=("pid",)
        )
        files = GaugeMetricFamily(
            "process_open_fds", "Open file descriptors of a process", labels=("pid",)
        )
        most_files = GaugeMetricFamily(
            "process_max_fds", "Most file descriptors that a process may open", labels=("pid",)
        )
        starts = GaugeMetricFamily(
            "process_start_time_seconds", "Start of a process, in Unix time", labels=("pid",)
        )
        for pid in living_processes():
            with suppress(OSError):  # it ended just now, or this is not Linux
                folder, label = Path("/proc") / str(pid), (str(pid),)
                resident, (cpu_seconds, start) = _memory(folder), _times(folder)
                open_files, limit = sum(1 for _ in (folder / "fd").iterdir()), _max_files(folder)
                memory.add_metric(label, resident)
                cpu.add_metric(label, cpu_seconds)
                starts.add_metric(label, start)
                files.add_metric(label, open_files)
                most_files.add_metric(label, limit)
        return memory, cpu, starts, files, most_files


def _memory(folder: Path) -> int:
    pages = (folder / "statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _times(folder: Path) -> tuple[float, float]:
    """Return the processor time in seconds, and the start in Unix time."""
    text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
    numbers = [int(number) for number in text.rpartition(")")[2].split()[1:]]
    used, started = numbers[USER_TICKS] + numbers[SYSTEM_TICKS], numbers[START_TICKS]
    running_for = monotonic() - started / TICKS_PER_SECOND
    return used / TICKS_PER_SECOND, time() - running_for


def _max_files(folder: Path) -> float:
    for line in (folder / "limits").read_text(encoding="ascii").splitlines():
        if line.startswith("Max open files"):
            soft = line.split()[3]
            return float("inf") if soft == "unlimited" else float(soft)
    return float("inf")
