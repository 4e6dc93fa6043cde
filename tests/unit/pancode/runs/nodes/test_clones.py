"""Two nodes with one key, such as a clone whose node agent dials in by itself; what only looks so."""

from __future__ import annotations

import pytest

from pancode.kernel.records import Audit, Node, Run, RunState
from pancode.runs.nodes import quota
from pancode.runs.nodes.heartbeats import TWINS
from tests.fakes.bus import MemoryLinkDown
from tests.unit.pancode.runs.world import Desk, Puppet


@pytest.fixture
def coordinator() -> Desk:
    return Desk()


class Clone(Puppet):
    """Another node with the same disk: the same key, a session of its own, a journal that is behind."""

    def __init__(self, of: Puppet) -> None:
        self.__dict__.update(of.__dict__)
        self.session, self.nonce, self.journal, self.open = "clone", "nonce-clone", [], []


def _node(coordinator: Desk) -> Node:
    found: Node = coordinator.row(Node, "n1")
    return found


def test_a_clone_is_seen_and_gets_no_work_and_a_user_ends_it(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    clone = Clone(node)
    for machine in (node, clone, node):
        assert _node(coordinator).quarantined is None
        machine.breathe()
    assert _node(coordinator).quarantined == TWINS
    coordinator.dispatch("r-0001", node="n1")
    coordinator.turn(coordinator.rules.heartbeat_ms)
    run: Run = coordinator.row(Run, "r-0001")
    assert run.state is RunState.PENDING and "two nodes" in run.reason
    with pytest.raises(MemoryLinkDown):
        clone.claim()
    with coordinator.ledger.transaction() as tx:
        assert [a.detail["why"] for a in tx.find(Audit) if a.what == "node quarantined"] == [TWINS]

    assert quota.release_node(coordinator.core, "n1", "me")
    quota.let_in(coordinator.core, node.tag, "password")
    for _ in range(4):
        node.breathe()
    assert _node(coordinator).quarantined is None and node.claim()


def test_a_node_agent_that_starts_again_and_again_is_one_machine(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    for life in range(40):
        node.session = f"life {life}"
        node.breathe()
        node.breathe()
    assert (
        _node(coordinator).quarantined is None
        and len(coordinator.core.live.contacts.sessions[node.tag]) <= 16
    )


def test_old_words_of_a_session_that_is_over_prove_nothing(coordinator: Desk) -> None:
    """Late, or put there again by whoever can write to Redis."""
    node = Puppet(coordinator)
    node.breathe()
    last = node.heartbeat()
    coordinator.turn(0)
    node.session = "next"
    for _ in range(3):
        node.breathe()
        node.uplink.set_heartbeat(last.signed(node.key).model_dump_json())
        coordinator.turn(0)
    assert _node(coordinator).quarantined is None


def test_neither_does_one_that_was_over_before_the_coordinator_started(coordinator: Desk) -> None:
    """Its last word is still in Redis, and is the first that a new coordinator hears of the node."""
    node = Puppet(coordinator)
    node.breathe()
    coordinator.restart()
    node.heartbeat()
    coordinator.turn(0)
    node.session = "next"
    for _ in range(3):
        node.breathe()
    assert _node(coordinator).quarantined is None
