"""Holds what the code is measured by as text: the number may shrink; a change that raises it says why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tests.architecture.house import bodies_that_read_and_write, called_once, splats
from tests.architecture.lines import lines_by_room
from tests.architecture.sources import ROOT

BODIES = 12


def test_few_functions_of_the_control_plane_read_and_write_in_one_body() -> None:
    """Load the case, let the domain decide, and let `work.py` write it."""
    assert len(bodies_that_read_and_write()) <= BODIES


LEDGER = ROOT / "tests/architecture/exceptions/rooms.txt"
"""By room: private functions that one place calls, arguments that are spread past the type checker, and lines
of code. The last row is the sum of these lines, which only falls."""
SUM = "sum"


def _read_ledger(column: int) -> dict[str, int]:
    rows = [line.split() for line in LEDGER.read_text(encoding="utf-8").splitlines()]
    return {row[0]: int(row[column]) for row in rows if row[0] != SUM}


@pytest.mark.parametrize(
    ("column", "measured"), [(1, called_once), (2, splats)], ids=["called once", "spread"]
)
def test_no_room_has_more_of_what_hides_its_story(column: int, measured: Callable[[], Counter[str]]) -> None:
    most, found = _read_ledger(column), measured()
    more = {room: count for room, count in found.items() if count > most.get(room, 0)}
    assert not more, f"a name that one place uses explains something, or its words stand there: {more}"
    fewer = {room: found[room] for room, count in most.items() if found[room] < count}
    assert not fewer, f"well done: write these numbers into {LEDGER.name}: {fewer}"


def test_the_sum_of_the_lines_of_code_only_falls() -> None:
    """A room may rise where others fall by as much."""
    kept, found = _read_ledger(3), lines_by_room()
    most = int(LEDGER.read_text(encoding="utf-8").split()[-1])
    changed = {room: found[room] - kept.get(room, 0) for room in {*kept, *found}}
    changed = {room: lines for room, lines in sorted(changed.items()) if lines}
    more = sum(found.values()) - most
    assert more <= 0, f"{more} lines of code more than {LEDGER.name} allows; by room: {changed}"
    assert not (changed or more), (
        f"write these changes and the sum {most + more} into {LEDGER.name}: {changed}"
    )
