"""Writes the reference from the code, and names each changed page; `man DIR` writes the manual there."""

from __future__ import annotations

import sys
from pathlib import Path

from docs.generate.man import write_manual
from docs.generate.pages import PAGES, REFERENCE


def main(argv: list[str]) -> None:
    match argv:
        case []:
            for name, write in PAGES.items():
                _write(REFERENCE / name, write())
        case ["man", folder]:
            write_manual(Path(folder))
        case _:
            sys.exit("usage: python -m docs.generate [man DIR]")


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"docs/reference/{path.name}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
