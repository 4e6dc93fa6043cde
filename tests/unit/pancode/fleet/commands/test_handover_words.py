"""What `fleet handover` says: what continues without this machine, what stays, and what is on its way."""

from __future__ import annotations

from pancode.fleet.commands.fleet import handed_over
from pancode.kernel.formatting import format_ordinal
from pancode.runs.answers import HandedRun, LaterSteps, StayingRun


def test_what_waits_what_stays_and_what_is_on_its_way() -> None:
    handed: list[HandedRun] = [
        {"run": "r-aaaa", "node": "gpubox", "why": "handed to gpubox, 1st there", "there": True},
        {"run": "r-bbbb", "node": "gpubox", "why": "handed to gpubox, 2nd there", "there": False},
    ]
    stays: list[StayingRun] = [{"run": "r-cccc", "why": "approval before start", "task": "deploy it"}]
    later: list[LaterSteps] = [{"workflow": "w-7f3k2x", "name": "nightly", "steps": 3}]
    text = handed_over({"at_work": 1, "handed": handed, "stays": stays, "later": later})
    assert text.startswith("1 running, 2 waiting on nodes, 1 here\n")
    assert "being sent  handed to gpubox, 2nd there" in text and "approval before start" in text
    assert "later steps" in text and "w-7f3k2x" in text.partition("later steps")[2]
    assert text.endswith(
        "1 run being sent, not yet confirmed by a node; check again: pancode admin handover\n"
    )
    assert (
        handed_over({"at_work": 0, "handed": [], "stays": [], "later": []})
        == "0 running, 0 waiting on nodes, 0 here\n"
    )


def test_ordinals() -> None:
    assert [format_ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 102, 111)] == (
        "1st 2nd 3rd 4th 11th 12th 13th 21st 102nd 111th".split()
    )
