"""`python -m pancode` is the command `pancode`."""

from __future__ import annotations

from pancode.cli.main import main

if __name__ == "__main__":
    main()
