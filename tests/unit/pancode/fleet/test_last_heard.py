"""The age of a silent node is the time since it was last heard, also after the coordinator began again."""

from __future__ import annotations

from pancode.fleet.fleet import list_nodes
from pancode.kernel.formatting import slots_of
from pancode.runs.views import format_iso
from tests.unit.pancode.runs.world import Desk, Puppet


def test_a_silent_node_is_shown_since_it_was_last_heard() -> None:
    desk = Desk()
    node = Puppet(desk, "n1")
    node.breathe()
    desk.dispatch("r-0001")
    desk.turn()
    node.start(node.take())
    node.breathe()
    heard = format_iso(desk.clock.wall_ms())
    states = list[str]()
    for minutes in (1, 10, 10):
        for _ in range(minutes * 12):
            desk.turn(5_000)
        (shown,) = list_nodes(desk.core)
        states.append(shown["state"])
        assert (shown["since"], slots_of(shown)) == (heard, "?/2"), states
    assert states == ["suspect", "unreachable", "lost"], "each of them begins later than the silence"
    desk.restart()
    desk.turn()
    (shown,) = list_nodes(desk.core)
    assert (shown["state"], shown["since"]) == ("suspect", heard)
