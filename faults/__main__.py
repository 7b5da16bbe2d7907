"""`./run faults`: break what Freshly depends on, and count the confirmed writes that are lost.

Each scenario starts its own PostgreSQL, Redis and servers, sends the requests of some users, breaks
something, and compares the measurements with the promises. The exit status is 1 if a promise was
missed.
"""

import argparse
import asyncio
import sys
import time
import traceback

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from faults.report import Report, write_results
from faults.scenarios import SCENARIOS, CannotRun, Scenario
from faults.scenarios import clock as _clock  # noqa: F401 - an import registers its scenarios
from faults.scenarios import database as _database  # noqa: F401
from faults.scenarios import disk as _disk  # noqa: F401
from faults.scenarios import jobs as _jobs  # noqa: F401
from faults.scenarios import mail as _mail  # noqa: F401
from faults.scenarios import model as _model  # noqa: F401
from faults.scenarios import redis as _redis  # noqa: F401
from faults.scenarios import restart as _restart  # noqa: F401
from faults.scenarios import retries as _retries  # noqa: F401

NUMERIC_COLUMNS = ("degraded", "requests", "503", "longest answer")


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run faults", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--short", action="store_true", help="run a few scenarios briefly; write no results"
    )
    parser.add_argument("--only", metavar="NAME", help="run the scenarios whose name contains NAME")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    parser.add_argument("--verbose", action="store_true", help="show every measurement")
    options = parser.parse_args()
    chosen = [scenario for scenario in SCENARIOS.values() if scenario.short or not options.short]
    if options.only:
        chosen = [scenario for scenario in chosen if options.only in scenario.name]
    if options.list or not chosen:
        for scenario in SCENARIOS.values():
            print(f"{scenario.name}: {scenario.tried}{' (short)' if scenario.short else ''}")
        return 0 if options.list else 2
    console = Console()
    reports = []
    for scenario in chosen:
        began = time.monotonic()
        report = asyncio.run(run_scenario(scenario, short=options.short))
        console.print(f"{report.line()} ({time.monotonic() - began:.0f} s)", markup=False)
        for row in report.rows:
            if options.verbose or not row.is_met:
                text = f"{row.value:,.4g} {row.unit} ({row.promise}) {row.verdict} {row.detail}"
                console.print(f"    {row.name}: {text}", markup=False, highlight=False)
        reports.append(report)
    console.print(_table(reports))
    if not options.short:
        write_results(reports, SCENARIOS)
    met = all(report.is_met and (options.short or not report.not_run) for report in reports)
    return 0 if met else 1


async def run_scenario(scenario: Scenario, *, short: bool = False) -> Report:
    """Run a scenario and return its report. An exception becomes a missed promise."""
    report = Report(scenario.name, scenario.tried, short)
    try:
        await scenario.run(report)
    except CannotRun as error:
        report.not_run = str(error)
    except Exception as error:  # noqa: BLE001 - the other scenarios still run
        traceback.print_exc()
        report.expect(f"run to its end ({type(error).__name__})", 0, at_least=1)
    return report


def _table(reports: list[Report]) -> Table:
    table = Table(title="Freshly while things break")
    for heading in ("scenario", "lost", "degraded", "requests", "503", "longest answer", "promise"):
        table.add_column(heading, justify="right" if heading in NUMERIC_COLUMNS else "left")
    for report in reports:
        style = "green" if report.is_met and not report.not_run else "red bold"
        table.add_row(
            report.name,
            report.lost_writes,
            f"{report.degraded:.1f} s",
            *(report.measured(name) for name in ("requests", "503", "longest answer")),
            f"[{style}]{escape(report.verdict)}[/]",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
