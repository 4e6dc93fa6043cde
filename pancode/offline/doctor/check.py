"""One finding of `pancode doctor`, as data."""

from __future__ import annotations

from typing import Any

Check = dict[str, Any]


def good(what: str, detail: str) -> Check:
    return {"what": what, "ok": True, "level": "ok", "detail": detail, "fix": ""}


def bad(what: str, level: str, detail: str, fix: str) -> Check:
    """`level`: error or warning."""
    return {"what": what, "ok": False, "level": level, "detail": detail, "fix": fix}
