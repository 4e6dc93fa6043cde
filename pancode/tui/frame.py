"""The lines around a page: where one is, of when it is, and what the coordinator's silence means."""

from __future__ import annotations

from collections.abc import Sequence

from pancode.errors import PancodeError
from pancode.plain import clip, safe, width
from pancode.tui.moment import PageMoment, span
from pancode.tui.page import Json, Line, PagePlace, line
from pancode.tui.pages.summary import summary

STALE_S = 25.0
"""A page older than this says for how long nothing was heard: two readings have not come."""


def path(places: Sequence[PagePlace], word: str) -> str:
    """`runs > run r-abc123  /filter`."""
    names = " > ".join(f"{one.view} {one.about}".strip() for one in places)
    return f"{names}  /{word}" if word else names


def title(where: str, as_of: PageMoment | None, silent_s: float, columns: int) -> Line:
    """The place on the left, and the time of the data on the right."""
    right, style = ("asking ...", "dim")
    if as_of is not None:
        right = f"as of {as_of.now.strftime('%H:%M:%S')}"
        if silent_s >= STALE_S:
            right, style = f"{right}, not heard for {span(silent_s)}", "red"
    left = clip(f" {safe(where)}", max(8, columns - len(right) - 2))
    gap = " " * max(1, columns - width(left) - len(right) - 1)
    return ((left, "bold"), (gap, ""), (right, style))


def top(answers: Json, why: PancodeError | None, silent_s: float) -> Line:
    """The summary; in its place a coordinator that is away, which never looks like an idle fleet."""
    if why is None:
        return summary(answers)
    lasted = f" for {span(silent_s)}" if silent_s >= 2 else ""
    return ((f" COORDINATOR NOT REACHED{lasted}: {safe(why.why or str(why))}", "bold reverse red"),)


def trouble(why: PancodeError) -> tuple[Line, ...]:
    """An error as a page: what happened, why, and the command that mends it."""
    lines = [line(str(why), "red")]
    lines += [line(f"why: {why.why}")] if why.why else []
    lines += [line(f"fix: {why.fix}")] if why.fix else []
    return tuple(lines)
