"""What a row of the bench is, how samples become one figure, and how the rows become a table and a page."""

from __future__ import annotations

import math
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Goal:
    """`least`: the ratio must reach this. `most`: it may not exceed this. `beyond`: what we are after."""

    least: float | None = None
    most: float | None = None
    beyond: float | None = None

    def met(self, ratio: float) -> bool:
        return not (
            (self.least is not None and ratio < self.least) or (self.most is not None and ratio > self.most)
        )

    def words(self) -> str:
        bound = f">= {self.least:g}" if self.least is not None else f"<= {self.most:g}"
        return bound + (f", aim {self.beyond:g}" if self.beyond is not None else "")


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. `ours` and `peer` are medians in `unit`; `ratio` is ours over peer."""

    key: str
    what: str
    unit: str
    ours: float
    peer: float | None
    peer_name: str
    goal: Goal | None
    limit: str
    """What bounds the figure, in words."""
    ratio: float | None = None
    """Where the ratio is a median of pairs and not the ratio of the medians."""

    @property
    def times(self) -> float | None:
        if self.ratio is not None:
            return self.ratio
        return self.ours / self.peer if self.peer else None

    @property
    def verdict(self) -> str:
        if self.goal is None or self.times is None:
            return "-"
        return "met" if self.goal.met(self.times) else "NOT MET"

    def cells(self) -> tuple[str, ...]:
        times = self.times
        return (
            self.key,
            self.what,
            f"{figure(self.ours)} {self.unit}",
            f"{figure(self.peer)} {self.unit}" if self.peer is not None else "-",
            f"{times:.2f}" if times is not None and self.goal is not None else "-",
            self.goal.words() if self.goal is not None else "-",
            self.verdict,
        )


HEAD = ("row", "what", "ours", "peer", "ratio", "goal", "verdict")


def figure(value: float | None) -> str:
    """Three figures that mean something."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def median(samples: Sequence[float]) -> float:
    return statistics.median(samples)


def percentile(samples: Sequence[float], part: float) -> float:
    """The smallest sample that `part` (0..1) of all samples do not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def paired(ours: Sequence[float], peer: Sequence[float]) -> float:
    """The median of the ratios of neighbours in time: it holds while the machine's speed drifts."""
    return median([a / b for a, b in zip(ours, peer, strict=True) if b])


def table(rows: Sequence[Row]) -> str:
    """For a terminal."""
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def page(rows: Sequence[Row], steps: str, settings: str, failed: Sequence[str] = ()) -> str:
    """The page of the reference: what was measured, where, against what, and what limits it."""
    cells = ["| " + " | ".join(HEAD) + " |", "|" + " --- |" * len(HEAD)]
    cells += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    limits = [f"- **{row.key}** against {row.peer_name}. {row.limit}" for row in rows]
    return "\n".join(
        [
            f"# Performance at commit {_commit()}, {datetime.now(UTC):%Y-%m-%d}",
            "",
            "Written by `make bench`; a row is reported whether its goal is met or not. Ours and the peer",
            "are measured in turn (A B A B) in the same run. One rule for all rows: a figure is a median,",
            "unless its name says p95 or p99; a goal is the one that was asked; what is taken off, the row",
            "says. Absolute figures belong to this machine and this hour; ratios travel better.",
            "",
            f"Measured on {machine()}; {settings}.",
            "",
            *cells,
            "",
            *[f"Not measured in this run: {words}" for words in failed],
            *([""] if failed else []),
            "## Against what, and what limits it",
            "",
            *limits,
            "",
            "## `fleet up` step by step (seconds, slowest of three hosts)",
            "",
            steps or "Not measured in this run.",
            "",
        ]
    )


def _commit() -> str:
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    here = Path(__file__).parent
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=here).stdout.strip()


def machine() -> str:
    """Kind of machine and versions, without names."""
    packages = ("rq", "redis", "asyncssh", "sqlalchemy", "pydantic", "uvicorn")
    found = ", ".join(f"{name} {version(name)}" for name in packages)
    kernel = platform.release().split("-")[0]
    return f"{_cores()} cores ({_model()}), Linux {kernel}, Python {platform.python_version()}, {found}"


def _cores() -> int:
    return Path("/proc/cpuinfo").read_text().count("processor\t:")


def _model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )
