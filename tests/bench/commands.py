"""Row d: what a command of ours costs beside a Python that does nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.figures import Goal, Row, median, paired
from tests.bench.ours import NO_OP, OurFleet


def commands(tell: Callable[[str], None], rounds: int) -> list[Row]:
    """`pancode --help`, and `pancode runs` with 20 runs to show."""
    program = str(Path(sys.executable).parent / "pancode")
    with OurFleet() as ours:
        ours.burst(20, NO_OP)
        env = ours.owner.env
        bare = [sys.executable, "-c", "pass"]
        samples: dict[str, list[float]] = {"bare": [], "--help": [], "runs": []}
        for _ in range(rounds):
            samples["bare"].append(_wall(bare, env))
            for words in ("--help", "runs"):
                samples[words].append(_wall([program, words], env))
    tell("d: " + ", ".join(f"{name} {median(all_):.0f} ms" for name, all_ in samples.items()))
    limit = "Imports: Typer; `runs` adds the standard library's HTTP client and one request."
    return [
        Row(
            f"d {name}",
            f"`pancode {name}`, wall time",
            "ms",
            median(samples[name]),
            median(samples["bare"]),
            "`python -c pass`",
            Goal(most=most),
            limit,
            paired(samples[name], samples["bare"]),
        )
        for name, most in (("--help", 12.0), ("runs", 16.0))
    ]


def _wall(argv: list[str], env: dict[str, str]) -> float:
    began = time.monotonic()
    subprocess.run(argv, env=env, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    return (time.monotonic() - began) * 1000
