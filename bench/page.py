"""Write what `./run bench` measured into its page of the documentation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.report import MANY, Row

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reports" / "bench.md"
BEGIN, END = "<!-- written by ./run bench -->", "<!-- end -->"


def write_page(result: Mapping[str, Any]) -> None:
    """Replace the part of the page between the markers."""
    head, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}\n{rendered(result)}\n{END}{tail}")


def rendered(result: Mapping[str, Any]) -> str:
    """Return the rows as a table with one column for each target."""
    rows = [Row(**row) for row in result["rows"]]
    targets = list(dict.fromkeys(row.target for row in rows))
    names = list(dict.fromkeys((row.name, row.unit) for row in rows))
    lines = [
        f"Measured at {result['at']} on {result['machine']}.",
        "",
        f"| What | {' | '.join(targets)} |",
        f"|---|{'---|' * len(targets)}",
    ]
    for name, unit in names:
        cells = [_cell(rows, name, target) for target in targets]
        lines.append(f"| {name}, {unit} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(rows: Sequence[Row], name: str, target: str) -> str:
    for row in rows:
        if (row.name, row.target) == (name, target):
            value = f"{row.value:,.{0 if row.value > MANY else 2}f}"
            verdict = f"{row.promise}: {row.verdict}" if row.promise else ""
            notes = "; ".join(note for note in (verdict, row.detail.strip("; ")) if note)
            return f"{value} ({notes})" if notes else value
    return ""
