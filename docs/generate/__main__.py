"""`python -m docs.generate` writes the reference anew from the code, and names each page that changed."""

from __future__ import annotations

import sys

from docs.generate.pages import PAGES, REFERENCE


def main() -> None:
    for name, write in PAGES.items():
        path, text = REFERENCE / name, write()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"docs/reference/{name}\n")


if __name__ == "__main__":
    main()
