"""The command: which rows, how many rounds; prints the table and writes the page of the reference."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.bench.commands import commands
from tests.bench.figures import Row, page, table
from tests.bench.history import history
from tests.bench.idle import idle
from tests.bench.load import throughput_and_start
from tests.bench.remote import remote

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "performance.md"
ROWS = "abcdefg"


def main(argv: list[str]) -> int:
    """0 when everything was measured, whether goals are met or not."""
    args = _parser().parse_args(argv)
    wanted, quick = set(args.rows), args.quick
    rows: list[Row] = []
    steps = ""
    if wanted & set("ab"):
        rows += throughput_and_start(_tell, 3 if quick else 7, 40 if quick else 150, 15 if quick else 60)
    if wanted & set("cf"):
        more, steps = remote(_tell, 5 if quick else 21)
        rows += more
    if "d" in wanted:
        rows += commands(_tell, 7 if quick else 31)
    if "e" in wanted:
        rows += idle(_tell, 20 if quick else 60)
    if "g" in wanted:
        rows += history(_tell, 60 if quick else 300)
    rows.sort(key=lambda row: row.key)
    print(table(rows))
    if not args.no_page and wanted == set(ROWS):
        PAGE.write_text(page(rows, steps, "quick run" if quick else "full run"), encoding="utf-8")
        _tell(f"written: {PAGE}")
    return 0


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
