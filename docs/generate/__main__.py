"""Writes the reference from the code, and names each changed page; `man DIR` writes the manual there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from docs.generate.man import write_manual
from docs.generate.pages import PAGES, REFERENCE


def main(argv: list[str]) -> None:
    match argv:
        case []:
            for name, write in PAGES.items():
                _write(REFERENCE / name, write())
            _tell_age(REFERENCE / "performance.md")
        case ["man", folder]:
            write_manual(Path(folder))
        case _:
            sys.exit("usage: python -m docs.generate [man DIR]")


def _tell_age(page: Path) -> None:
    """Print how many commits ago the performance was measured."""
    commit = page.read_text(encoding="utf-8").partition("\n")[0].split()[-2].strip(",")
    command = ["git", "rev-list", "--count", f"{commit}..HEAD"]
    counted = subprocess.run(command, cwd=page.parent, capture_output=True, text=True, check=False)
    age = counted.stdout.strip() or "an unknown number of"
    sys.stdout.write(f"docs/reference/{page.name} was measured {age} commits ago (make bench)\n")


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"docs/reference/{path.name}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
