"""Holds how far real work goes through the code: the numbers may shrink; who raises one says why."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.architecture.sources import ROOT
from tests.architecture.way import PAGE, Way, measured

MOST = {
    "a dispatch": (163, 108),
    "a landing": (86, 52),
    "a turn of a chat": (197, 134),
    "a chain of two steps": (206, 153),
    "a page of the console": (88, 54),
}
"""Files, and changes of room: what was measured and five more, for what happens beside the act. The page asks
each feature for what waits for a user."""
OLD = 15
"""So many files of a dispatch may be missing on the page of the reference before somebody writes it anew."""


WORK = ("a dispatch", "a landing", "a chain of two steps")


def few(ways: Mapping[str, Way]) -> None:
    found = {name: (way.files, way.changes) for name, way in ways.items()}
    assert not {n: f for n, f in found.items() if f[0] > MOST[n][0] or f[1] > MOST[n][1]}, found


@pytest.mark.slow
def test_a_conversation_and_a_page_go_through_few_files_and_rooms() -> None:
    """Over 30 s, as the other one."""
    few(measured([name for name in MOST if name not in WORK]))


@pytest.mark.slow
def test_real_work_goes_through_few_files_and_rooms() -> None:
    """Over 30 s: it brings a fleet up from a traced copy of the product, and looks at it idle, too."""
    ways = measured(WORK)
    dispatch = {path for _, paths in ways["a dispatch"].processes for path in paths}
    whole = {
        "pancode/runs/commands/dispatch.py",
        "pancode/runs/admission/gates/__init__.py",
        "node_agent/attempt/working.py",
        "node_agent/shim/shim.py",
    }
    assert whole <= dispatch, "it is a whole dispatch"
    few(ways)
    page = (ROOT / PAGE).read_text()
    old = [path for path in dispatch if f"`{path.rpartition('/')[2]}`" not in page]
    assert len(old) <= OLD, f"python -m tests.architecture.way page; not on it: {old}"
