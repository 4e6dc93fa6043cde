"""The results of checks of a coordinator's home."""

from __future__ import annotations

from pancode.fleet.answers import HomeCheck


def pass_check(what: str, detail: str) -> HomeCheck:
    return {"what": what, "ok": True, "level": "ok", "detail": detail, "fix": ""}


def fail_check(what: str, level: str, detail: str, fix: str) -> HomeCheck:
    """Return a failed check. `level`: error or warning."""
    return {"what": what, "ok": False, "level": level, "detail": detail, "fix": fix}
