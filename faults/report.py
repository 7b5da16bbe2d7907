"""What a scenario found, for people: rows with their bars, a table, a page of the documentation."""

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
    """Of one scenario. `tried` says what was done; the rows, what came of it."""

    name: str
    tried: str
    brief: bool = False  # a few seconds of it
    rows: list[Row] = field(default_factory=list)
    lost_writes: str = "nothing"
    degraded: float = 0.0  # seconds from the first failure to the end of the last
    not_run: str = ""  # why
    began: float = 0.0
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
        bars = {"at_most": at_most, "at_least": at_least}
        self.rows.append(Row(self.name, name, value, unit, detail=detail, **bars))

    def lasting(self, seconds: float) -> float:
        return seconds / 4 if self.brief else seconds

    @contextmanager
    def fault(self) -> Iterator[None]:
        """Around the time in which something is broken."""
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
        """Of the row of that name, if there is one."""
        return next((f"{row.value:,.4g} {row.unit}" for row in self.rows if row.name == name), "")

    def line(self) -> str:
        if self.not_run:
            return f"{self.name}: {self.verdict}"
        lost = f"lost: {self.lost_writes}; degraded for {self.degraded:.1f} s"
        return f"{self.name}: {self.tried}; {lost}; {self.verdict}"

    async def judge(
        self,
        load: Load,
        port: int,
        *,
        unanswered: int = 0,
        failures: int | None = None,
        slowest: float | None = None,
        back: float | None = None,
    ) -> None:
        """What holds in every scenario, and the bars of this one (None: there is none).

        `failures` are answers of 503 that are allowed, `slowest` and `back` seconds: the longest
        time to an answer, and from the end of the fault to the first success.
        """
        samples = load.samples
        statuses = Counter(sample.status for sample in samples)
        wrong = {s: n for s, n in statuses.items() if s >= 400 and s != UNAVAILABLE}  # noqa: PLR2004
        told = ", ".join(f"{n} x {s or 'no answer'}" for s, n in sorted(statuses.items()))
        self.expect("requests", len(samples), detail=told)
        self.expect("errors other than 503", sum(wrong.values()), at_most=0)
        self.expect("without an answer", statuses[LOST_CONNECTION], at_most=unanswered)
        refused = [sample for sample in samples if sample.status == UNAVAILABLE]
        self.expect("503", len(refused), at_most=failures)
        silent = sum(not sample.retry_after for sample in refused)
        self.expect("503 without Retry-After", silent, at_most=0)
        self.expect("longest answer", longest(samples), "s", at_most=slowest)
        lost, twice = await load.losses(port)
        self.expect("lost", lost, f"of {load.acknowledged} acknowledged", at_most=0)
        self.expect("done twice", twice, at_most=0)
        self.expect("stale answers", load.stale, at_most=0)
        if lost or twice or load.stale:
            self.lost_writes = f"{lost} lost, {twice} twice, {load.stale} stale"
        self.degraded = degraded(samples)
        if back is not None:
            again = first_success(samples, self.ended)
            self.expect("back after", again, "s", at_most=back)


def longest(samples: Sequence[Sample]) -> float:
    return max((sample.seconds for sample in samples), default=0.0)


def quantile(samples: Sequence[Sample], share: float) -> float:
    ordered = sorted(sample.seconds for sample in samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def degraded(samples: Sequence[Sample]) -> float:
    """From when the first that failed was sent until the last one had failed."""
    failed = [sample for sample in samples if sample.failed]
    if not failed:
        return 0.0
    return max(s.ended for s in failed) - min(s.sent for s in failed)


def first_success(samples: Sequence[Sample], after: float) -> float:
    """Seconds from then to the first write that was kept; for ever, if there was none."""
    ends = [s.ended for s in samples if s.what == "write" and not s.failed and s.ended > after]
    return min(ends) - after if ends else float("inf")


def written(reports: Sequence[Report], names: Iterable[str]) -> None:
    """Into the results, in place of what was found earlier, and the page between its markers."""
    RESULTS.parent.mkdir(exist_ok=True)
    found = (
        {one["name"]: one for one in json.loads(RESULTS.read_text())} if RESULTS.exists() else {}
    )
    found |= {report.name: _entry(report) for report in reports}
    entries = [found[name] for name in names if name in found]
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
    bars = [
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
        "measured": "; ".join(bars),
        "verdict": report.verdict,
        "at": f"{time.strftime('%Y-%m-%d', time.gmtime())}, {machine}",
        "rows": [_plain(row) for row in report.rows],
    }


def _plain(row: Row) -> dict[str, object]:
    """JSON has no infinity."""
    return {**vars(row), "value": row.value if isfinite(row.value) else None}
