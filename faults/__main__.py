"""`./run faults`: what becomes of acknowledged work while Freshly's neighbours die.

Each scenario brings its own PostgreSQL, Redis and servers, lets people cook, breaks something, and
compares what they met with what is promised. The exit status is 1 if a promise was not kept.
"""

import argparse
import asyncio
import sys
import time
import traceback

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from faults.report import Report, written
from faults.scenarios import SCENARIOS, CannotRun, Scenario
from faults.scenarios import clock as _clock  # noqa: F401 - listed by being imported
from faults.scenarios import database as _database  # noqa: F401
from faults.scenarios import disk as _disk  # noqa: F401
from faults.scenarios import jobs as _jobs  # noqa: F401
from faults.scenarios import mail as _mail  # noqa: F401
from faults.scenarios import model as _model  # noqa: F401
from faults.scenarios import redis as _redis  # noqa: F401
from faults.scenarios import restart as _restart  # noqa: F401
from faults.scenarios import retries as _retries  # noqa: F401

NUMBERS = ("degraded", "requests", "503", "longest answer")


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run faults", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--short", action="store_true", help="a few of them, briefly; nothing is written"
    )
    parser.add_argument("--only", metavar="NAME", help="those whose name contains it")
    parser.add_argument("--list", action="store_true", help="the names, and what is tried")
    parser.add_argument("--verbose", action="store_true", help="everything that was measured")
    options = parser.parse_args()
    chosen = [one for one in SCENARIOS.values() if one.short or not options.short]
    if options.only:
        chosen = [one for one in chosen if options.only in one.name]
    if options.list or not chosen:
        for one in SCENARIOS.values():
            print(f"{one.name}: {one.tried}{' (short)' if one.short else ''}")
        return 0 if options.list else 2
    console = Console()
    reports = []
    for one in chosen:
        began = time.monotonic()
        report = asyncio.run(played(one, brief=options.short))
        console.print(f"{report.line()} ({time.monotonic() - began:.0f} s)", markup=False)
        for row in report.rows:
            if options.verbose or not row.is_met:
                told = f"{row.value:,.4g} {row.unit} ({row.promise}) {row.verdict} {row.detail}"
                console.print(f"    {row.name}: {told}", markup=False, highlight=False)
        reports.append(report)
    console.print(_table(reports))
    if not options.short:
        written(reports, SCENARIOS)
    met = all(one.is_met and (options.short or not one.not_run) for one in reports)
    return 0 if met else 1


async def played(one: Scenario, *, brief: bool = False) -> Report:
    report = Report(one.name, one.tried, brief)
    try:
        await one.run(report)
    except CannotRun as error:
        report.not_run = str(error)
    except Exception as error:  # noqa: BLE001 - the others are to be played too
        traceback.print_exc()
        report.expect(f"played to its end ({type(error).__name__})", 0, at_least=1)
    return report


def _table(reports: list[Report]) -> Table:
    table = Table(title="Freshly, while things break")
    for heading in ("scenario", "lost", "degraded", "requests", "503", "longest answer", "promise"):
        table.add_column(heading, justify="right" if heading in NUMBERS else "left")
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
