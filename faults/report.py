"""The report of a scenario: rows with their promises, and the page of the documentation."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from time import monotonic
from typing import Any

from bench.report import Row
from faults.load import LOST_CONNECTION, UNAVAILABLE, Load, Sample

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "faults" / "results" / "faults.json"
PAGE = ROOT / "docs" / "reports" / "faults.md"
COLUMNS = ("name", "tried", "lost", "degraded", "measured", "verdict", "at")
BEGIN, END = "<!-- written by ./run faults -->", "<!-- end -->"


@dataclass
class Report:
    """The report of one scenario. `tried` describes the fault, the rows hold the measurements."""

    name: str
    tried: str
    short: bool = False  # a quarter of the time and fewer users
    rows: list[Row] = field(default_factory=list)
    lost_writes: str = "nothing"
    degraded: float = 0.0  # seconds from the first failure to the end of the last
    not_run: str = ""  # the reason
    began: float = 0.0  # of the fault, by the monotonic clock
    ended: float = 0.0

    def expect(
        self,
        name: str,
        value: float,
        unit: str = "",
        *,
        at_most: float | None = None,
        at_least: float | None = None,
        detail: str = "",
    ) -> None:
        """Add a row. Without a promise it only informs."""
        promise = {"at_most": at_most, "at_least": at_least}
        self.rows.append(Row(self.name, name, value, unit, detail=detail, **promise))

    def scaled(self, seconds: float) -> float:
        """Return the seconds, or a quarter of them in the short form."""
        return seconds / 4 if self.short else seconds

    @contextmanager
    def fault(self) -> Iterator[None]:
        """Note when the fault begins and ends."""
        self.began = monotonic()
        try:
            yield
        finally:
            self.ended = monotonic()

    @property
    def is_met(self) -> bool:
        return all(row.is_met for row in self.rows)

    @property
    def verdict(self) -> str:
        if self.not_run:
            return f"not run: {self.not_run}"
        missed = [f"{row.name} {row.value:.4g}" for row in self.rows if not row.is_met]
        return "kept" if not missed else f"MISSED: {', '.join(missed)}"

    def measured(self, name: str) -> str:
        """Return the value of the row with this name, or an empty string."""
        return next((f"{row.value:,.4g} {row.unit}" for row in self.rows if row.name == name), "")

    def line(self) -> str:
        if self.not_run:
            return f"{self.name}: {self.verdict}"
        lost = f"lost: {self.lost_writes}; degraded for {self.degraded:.1f} s"
        return f"{self.name}: {self.tried}; {lost}; {self.verdict}"

    async def check_promises(
        self,
        load: Load,
        port: int,
        *,
        unanswered: int = 0,
        failures: int | None = None,
        slowest: float | None = None,
        back: float | None = None,
    ) -> None:
        """Add the rows of every scenario, with the promises of this one (None: no promise).

        `unanswered` is the number of requests that may get no response, `failures` the number of
        503 responses. `slowest` is the longest response time in seconds, `back` the seconds from
        the end of the fault to the first successful write.
        """
        samples = load.samples
        statuses = Counter(sample.status for sample in samples)
        wrong = {s: n for s, n in statuses.items() if s >= 400 and s != UNAVAILABLE}  # noqa: PLR2004
        detail = ", ".join(f"{n} x {s or 'no answer'}" for s, n in sorted(statuses.items()))
        self.expect("requests", len(samples), detail=detail)
        self.expect("errors other than 503", sum(wrong.values()), at_most=0)
        self.expect("without an answer", statuses[LOST_CONNECTION], at_most=unanswered)
        refused = [sample for sample in samples if sample.status == UNAVAILABLE]
        self.expect("503", len(refused), at_most=failures)
        incomplete = sum(not sample.retry_after for sample in refused)
        self.expect("503 without Retry-After", incomplete, at_most=0)
        self.expect("longest answer", longest(samples), "s", at_most=slowest)
        lost, twice = await load.count_lost_writes(port)
        self.expect("lost", lost, f"of {load.confirmed} confirmed", at_most=0)
        self.expect("done twice", twice, at_most=0)
        self.expect("stale answers", load.stale, at_most=0)
        if lost or twice or load.stale:
            self.lost_writes = f"{lost} lost, {twice} twice, {load.stale} stale"
        self.degraded = degraded(samples)
        if back is not None:
            seconds = first_success(samples, self.ended)
            self.expect("back after", seconds, "s", at_most=back)


def longest(samples: Sequence[Sample]) -> float:
    return max((sample.seconds for sample in samples), default=0.0)


def quantile(samples: Sequence[Sample], share: float) -> float:
    ordered = sorted(sample.seconds for sample in samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def degraded(samples: Sequence[Sample]) -> float:
    """Return the seconds from the first failed request to the end of the last."""
    failed = [sample for sample in samples if sample.failed]
    if not failed:
        return 0.0
    return max(s.ended for s in failed) - min(s.sent for s in failed)


def first_success(samples: Sequence[Sample], after: float) -> float:
    """Return the seconds from `after` to the next successful write; infinity if there is none."""
    ends = [s.ended for s in samples if s.kind == "write" and not s.failed and s.ended > after]
    return min(ends) - after if ends else float("inf")


def write_results(reports: Sequence[Report], names: Iterable[str]) -> None:
    """Replace the entries of these reports in the results, and rewrite the table of the page."""
    RESULTS.parent.mkdir(exist_ok=True)
    stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    by_name = {entry["name"]: entry for entry in stored}
    by_name |= {report.name: _entry(report) for report in reports}
    entries = [by_name[name] for name in names if name in by_name]
    RESULTS.write_text(json.dumps(entries, indent=1) + "\n")
    head, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    lines = [
        "Written by `./run faults`.",
        "",
        "| scenario | what was tried | lost | degraded | measured | promise | when |",
        "|---|---|---|---|---|---|---|",
        *(f"| {' | '.join(entry[column] for column in COLUMNS)} |" for entry in entries),
    ]
    PAGE.write_text(f"{head}{BEGIN}\n{chr(10).join(lines)}\n{END}{tail}")


def _entry(report: Report) -> dict[str, Any]:
    promises = [
        f"{row.name} {row.value:.3g}{f' {row.unit}' if row.unit else ''} ({row.promise})"
        for row in report.rows
        if row.promise and row.at_most != 0
    ]
    machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}"
    return {
        "name": report.name,
        "tried": report.tried,
        "lost": "" if report.not_run else report.lost_writes,
        "degraded": "" if report.not_run else f"{report.degraded:.1f} s",
        "measured": "; ".join(promises),
        "verdict": report.verdict,
        "at": f"{time.strftime('%Y-%m-%d', time.gmtime())}, {machine}",
        "rows": [_plain(row) for row in report.rows],
    }


def _plain(row: Row) -> dict[str, object]:
    """Return the row for JSON, which has no infinity."""
    return {**vars(row), "value": row.value if isfinite(row.value) else None}
