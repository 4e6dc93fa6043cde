"""The head of every page: nodes, runs, money and what needs the user, in one line."""

from __future__ import annotations

from pancode.interfaces.tui.page import Json, Line
from pancode.kernel.formatting import escape_line, format_usd

HEARD = ("online", "draining", "drained")
"""The states of a node that is heard."""


def draw_summary(answers: Json) -> Line:
    """Return the summary line, of those answers that have come."""
    spans = [(" pancode", "bold")]
    if "fleet" in answers:
        spans += _fleet(answers["fleet"])
    if "now" in answers:
        now = answers["now"]
        count = now["count"]
        spans += [(f"  {now['waiting_count']} waiting", ""), (f"  inbox {count}", "yellow" if count else "")]
        spans.append((f"  {format_today(now['money']['day'])}", "red" if now["money"]["over"] else ""))
    return tuple(spans)


def _fleet(fleet: Json) -> list[tuple[str, str]]:
    nodes, coordinator = fleet["nodes"], fleet["coordinator"]
    reachable = sum(one["state"] in HEARD for one in nodes)
    used = sum(one["slots"]["used"] for one in nodes)
    total = sum(one["slots"]["total"] for one in nodes)
    spans = [
        (f"  {reachable}/{len(nodes)} nodes", "" if reachable == len(nodes) else "red"),
        (f"  {used}/{total} slots", ""),
    ]
    for word in ("paused", "draining"):
        if coordinator.get(word):
            spans.append((f"  {word.upper()}", "yellow"))
    return spans


def format_today(day: Json | None) -> str:
    """Return what was spent today, such as `$0.42 of $5.00`."""
    if day is None:
        return "$0.00"
    ceiling = f" of {format_usd(day['ceiling_usd'])}" if day["ceiling_usd"] is not None else ""
    return f"{format_usd(day['spent_usd'])}{ceiling}"


def list_troubles(answers: Json) -> tuple[Line, ...]:
    """Return the coordinator's own problems, each with its fix."""
    status = answers["fleet"]["coordinator"] if "fleet" in answers else {}
    found = [*(status[name] for name in ("trouble", "clock") if status.get(name)), *status.get("closed", [])]
    lines: list[Line] = []
    for one in found:
        lines.append(((f"{escape_line(one['what'])}: {escape_line(one['why'])}", "red"),))
        lines.append(((f"  fix: {escape_line(one['fix'])}", "red"),))
    return tuple(lines)
