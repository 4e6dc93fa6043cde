"""The command: which rows, how many rounds; prints the table and writes the page of the reference."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.bench.commands import commands
from tests.bench.disk import disk
from tests.bench.engines import engines
from tests.bench.faces import faces
from tests.bench.figures import Row, page, table
from tests.bench.flows import flows
from tests.bench.gateway import gateway
from tests.bench.history import history
from tests.bench.idle import idle
from tests.bench.issues import issues
from tests.bench.landing import landing
from tests.bench.load import throughput_and_start
from tests.bench.models import models
from tests.bench.overhead import overhead
from tests.bench.parsing import parsing
from tests.bench.playing import playing
from tests.bench.probing import probing
from tests.bench.remote import remote
from tests.bench.sandbox import sandbox
from tests.bench.scale import scale
from tests.bench.talking import talking
from tests.bench.waiting import waiting

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "performance.md"
ROWS = "abcdefghijklmnopqrstuvw"
_QUICK = "quick run: few rounds, and a p99 of 60 samples is the worst of them"


def main(argv: list[str]) -> int:
    """0 when everything was measured, whether goals are met or not; 1 names what could not be."""
    args = _parser().parse_args(argv)
    wanted, quick = set(args.rows), args.quick
    rows: list[Row] = []
    steps: list[str] = []
    failed: list[str] = []

    def far() -> list[Row]:
        found, told = remote(_tell, 5 if quick else 21)
        steps.append(told)
        return found

    parts: list[tuple[str, Callable[[], Iterable[Row]]]] = [
        ("ab", lambda: throughput_and_start(_tell, *((3, 40, 15) if quick else (7, 150, 60)))),
        ("cf", far),
        ("d", lambda: commands(_tell, 7 if quick else 31)),
        ("g", lambda: history(_tell, 60 if quick else 300)),
        ("h", lambda: parsing(_tell, *((3, 1 << 21) if quick else (9, 1 << 24)))),
        ("i", lambda: gateway(_tell, 5 if quick else 20)),
        ("j", lambda: sandbox(_tell, 5 if quick else 20)),
        ("k", lambda: models(_tell, 3 if quick else 9)),
        ("l", lambda: probing(_tell, 5 if quick else 20)),
        ("m", lambda: engines(_tell, 40 if quick else 200)),
        ("n", lambda: playing(_tell, 2 if quick else 7)),
        ("o", lambda: flows(_tell, *((2, 60) if quick else (5, 200)))),
        ("r", lambda: landing(_tell, 10 if quick else 50)),
        ("p", lambda: overhead(_tell, 3 if quick else 15)),
        ("q", lambda: faces(_tell, *((3, 4) if quick else (9, 10)))),
        ("s", lambda: scale(_tell, quick)),
        ("t", lambda: talking(_tell, *((4, 10, 40) if quick else (20, 30, 300)))),
        ("u", lambda: issues(_tell, 2 if quick else 7)),
        ("v", lambda: disk(_tell, 200 if quick else 1_000)),
        ("w", lambda: waiting(_tell, 20 if quick else 60)),
        ("e", lambda: idle(_tell, 20 if quick else 60)),
    ]
    for letters, measure in parts:
        if not wanted & set(letters):
            continue
        try:
            rows.extend(measure())  # the rows that a part gives before it fails stay
        except Exception as error:  # one thing that cannot be measured must not hide the others
            failed.append(f"{letters}: {type(error).__name__}: {error}"[:500])
            _tell(f"not measured: {failed[-1]}")
    rows.sort(key=lambda row: row.key)
    print(table(rows))
    if not args.no_page and wanted == set(ROWS):
        told = _QUICK if quick else "full run"
        told += f"; load average {os.getloadavg()[2]:.1f} over the last 15 minutes, the bench itself included"
        PAGE.write_text(page(rows, "".join(steps), told, failed), encoding="utf-8")
        _tell(f"written: {PAGE}")
    return 1 if failed else 0


def _tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rows", default=ROWS, help=f"letters of {ROWS} (default: all)")
    parser.add_argument("--quick", action="store_true", help="few rounds: for a look, not for a figure")
    parser.add_argument("--no-page", action="store_true", help="do not write the page of the reference")
    return parser


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
