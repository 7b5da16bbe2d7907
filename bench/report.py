"""Show the measurements as a table and as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

COLORS = {"cached": "#2e7d32", "cold": "#a5d6a7", "uncached": "#9e9e9e", "floor": "#e0e0e0"}
MANY = 1000  # values above it are shown without decimals


@dataclass(frozen=True)
class Row:
    """A measured number, with its promise if there is one."""

    target: str
    name: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    detail: str = ""

    @property
    def is_met(self) -> bool:
        low = self.at_least is None or self.value >= self.at_least
        return low and (self.at_most is None or self.value <= self.at_most)

    @property
    def promise(self) -> str:
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return f"at most {self.at_most:g}" if self.at_most is not None else ""

    @property
    def verdict(self) -> str:
        if not self.promise:
            return ""
        return "met" if self.is_met else "MISSED"


def show(rows: Sequence[Row], console: Console) -> None:
    table = Table(title="Freshly, measured")
    for heading in ("target", "what", "measured", "promised", "", "detail"):
        table.add_column(heading, justify="right" if heading == "measured" else "left")
    for row in rows:
        style = "green" if row.verdict == "met" else "red bold"
        measured = f"{row.value:,.{0 if row.value > MANY else 2}f} {row.unit}"
        verdict = f"[{style}]{row.verdict}[/]" if row.verdict else ""
        table.add_row(row.target, row.name, measured, row.promise, verdict, row.detail)
    console.print(table)


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw a bar for each row that is a share of the bare route, and mark its promise."""
    import matplotlib as mpl  # noqa: PLC0415 - takes a second, and only this function needs it

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    targets = sorted({row.target for row in rows})
    figure, axes = plt.subplots(1, len(targets), figsize=(6.5 * len(targets), 5.5), squeeze=False)
    for axis, target in zip(axes[0], targets, strict=True):
        bars = [row for row in rows if row.target == target and row.unit == "of bare"]
        names = [row.name for row in bars]
        colors = [COLORS[row.name.split()[0]] for row in bars]
        axis.barh(names, [row.value for row in bars], color=colors)
        for height, row in enumerate(bars):
            axis.plot([row.at_least] * 2, [height - 0.4, height + 0.4], color="#c62828", lw=2)
            axis.text(row.value + 0.005, height, f"{row.value:.2f}", va="center", fontsize=8)
        axis.invert_yaxis()
        axis.set_xlim(0, max(0.6, *(row.value * 1.15 for row in bars)))
        axis.set_xlabel("requests/s, as a share of a bare FastAPI route (red: promised)")
        axis.set_title(target)
        axis.tick_params(axis="y", labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
