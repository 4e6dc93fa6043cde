"""Draws the reports of the gates: the tool, the number of results of each level, the worst results."""

from __future__ import annotations

from typing import Any

from pancode.cli.output.render import safe


def report_lines(run: dict[str, Any], most: int) -> list[str]:
    """At most so many results of each file."""
    return [line for report in run.get("reports") or () for line in _lines(report, most)]


def _lines(report: dict[str, Any], most: int) -> list[str]:
    if report["unread"]:
        return [f"  report     {safe(report['file'])}: unreadable: {safe(report['unread'])}"]
    counts = ", ".join(f"{number} {safe(level)}" for level, number in report["counts"].items()) or "no result"
    tool = f" ({safe(report['tool'])})" if report["tool"] else ""
    shown = report["results"][:most]
    lines = [f"  report     {safe(report['file'])}{tool}: {counts}"]
    lines += [f"    {safe(_result(one))}" for one in shown]
    more = len(report["results"]) - len(shown)
    return lines + ([f"    and {more} more in the receipt"] if more else [])


def _result(one: dict[str, Any]) -> str:
    line = f":{one['line']}" if one["line"] is not None else ""
    return "  ".join(filter(None, (one["level"], f"{one['file']}{line}", one["rule"], one["text"])))
