"""`./run attack`: attack a running server, and measure what other clients feel.

Each attack has a server of its own, as `./run` starts it. Meanwhile another process checks /health.
The exit status is 1 if a promise was missed.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2

from attack.attacks import ATTACKS, Attack, Target, sign_up
from attack.monitor import watching
from bench.servers import freshly

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reports" / "attack.md"
BEGIN, END = "<!-- written by ./run attack -->", "<!-- end -->"
SETTINGS = {"MAX_CONNECTIONS": "800"}
# Of the short form, which runs beside other tests.
SHORT_WAIT_SECONDS = 3.0
NOISE_MB = 12  # that a new server takes for its first requests


@dataclass
class Outcome:
    attack: Attack
    became: str
    memory: float  # MB in all
    wait: float  # seconds
    missed: list[str]

    def cells(self) -> list[str]:
        share = f"{self.memory:.0f} MB"
        if self.attack.connections > 1:
            share += f", {max(self.memory, 0) / self.attack.connections:.2f} each"
        verdict = "MISSED: " + ", ".join(self.missed) if self.missed else "kept"
        wait = f"{self.wait * 1000:.0f} ms"
        return [self.attack.name, self.attack.tried, self.became, share, wait, verdict]


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run attack", description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="the short form; writes no report")
    parser.add_argument("--only", metavar="NAME", help="run the attacks whose name contains NAME")
    parser.add_argument("--list", action="store_true", help="list the attacks")
    options = parser.parse_args()
    chosen = [each for each in ATTACKS.values() if (options.only or "") in each.name]
    if options.list:
        for each in chosen:
            print(f"{each.name}: {each.tried}")
        return 0
    allow_many_files()
    outcomes = []
    for each in chosen:
        if options.short and not each.short:
            continue
        outcomes.append(run_attack(each, short=options.short))
        print(" | ".join(outcomes[-1].cells()), flush=True)
    if not options.short and not options.only:
        write_report(outcomes)
    return 1 if any(outcome.missed for outcome in outcomes) else 0


def allow_many_files() -> None:
    """Raise the limit of open files, because the attacks open more than 1,024 connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))


def run_attack(attack: Attack, *, short: bool = False) -> Outcome:
    """Run an attack on a server of its own, and compare what was measured with its promises."""
    missed: list[str] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        freshly(Path(folder) / "data", 1, SETTINGS) as server,
        httpx2.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=120) as client,
    ):
        sign_up(client)
        client.get("/meals/me")
        with watching(server) as observed:
            target = Target(server, client, short)
            try:
                became = attack.run(target)
            except (AssertionError, OSError, httpx2.HTTPError) as error:
                became = f"{type(error).__name__}: {str(error)[:80]}"
                missed.append("not as expected")
            finally:
                target.close()
    if observed.failures:
        missed.append(f"{observed.failures} failed checks of /health")
    if observed.longest_wait > (SHORT_WAIT_SECONDS if short else attack.wait):
        missed.append(f"others wait {observed.longest_wait * 1000:.0f} ms")
    if attack.connections and observed.memory > NOISE_MB + attack.memory * attack.connections:
        missed.append(f"takes {observed.memory:.0f} MB")
    return Outcome(attack, became, observed.memory, observed.longest_wait, missed)


def write_report(outcomes: Sequence[Outcome]) -> None:
    head, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    day = time.strftime("%Y-%m-%d", time.gmtime())
    machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}"
    columns = ("attack", "what was tried", "what became of it", "memory", "others wait", "promise")
    lines = [
        f"Written by `./run attack` on {day}; {machine} at the end.",
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
        *(f"| {' | '.join(outcome.cells())} |" for outcome in outcomes),
    ]
    PAGE.write_text(f"{head}{BEGIN}\n{chr(10).join(lines)}\n{END}{tail}")


if __name__ == "__main__":
    sys.exit(main())
