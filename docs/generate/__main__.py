"""`python -m docs.generate` writes reference and manual anew from the code; names each page that changed."""

from __future__ import annotations

import sys
from pathlib import Path

from docs.generate.man import MANUALS, manual_pages
from docs.generate.pages import PAGES, REFERENCE

DOCS = REFERENCE.parent


def main() -> None:
    for name, write in PAGES.items():
        _write(REFERENCE / name, write())
    MANUALS.mkdir(parents=True, exist_ok=True)
    pages = manual_pages()
    for gone in {path.name for path in MANUALS.iterdir()} - set(pages):
        (MANUALS / gone).unlink()
    for name, text in pages.items():
        _write(MANUALS / name, text)


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"docs/{path.relative_to(DOCS)}\n")


if __name__ == "__main__":
    main()
