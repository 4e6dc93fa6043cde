"""Depot streams: granted from the ledger to the node of the lease, for as long as it may use them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from node_agent.wire.identity import AttemptId
from node_agent.wire.node import Hello, Verb
from node_agent.wire.signing import SigningKey
from pancode.fleet import inventory
from pancode.kernel.records import Decision, Node, Run
from pancode.runs.depot_grant import StreamDenial, StreamGrant, authorize, note_wait
from tests.unit.pancode.runs.world import FLEET, Desk, Puppet, offered

WORKSPACE = {"kind": "git", "repo": "demo-1234", "base": None, "snapshot": "a" * 40}


def hello(node: Puppet, who: AttemptId, verb: Verb, nonce: str = "n", key: SigningKey | None = None) -> bytes:
    made = Hello(fleet=FLEET, node=node.tag, nonce=nonce, identity=who, verb=verb)
    return made.signed(key or node.key).model_dump_json().encode()


@pytest.fixture
def coordinator() -> Desk:
    return Desk()


def bound(coordinator: Desk, node: Puppet) -> AttemptId:
    node.breathe()
    coordinator.dispatch(workspace=WORKSPACE, node=node.name)
    coordinator.turn()
    job = node.take()
    return job.identity


@pytest.mark.parametrize("verb", ["fetch", "push", "log"])
def test_the_node_of_the_lease_may(coordinator: Desk, verb: Verb) -> None:
    node = Puppet(coordinator)
    who = bound(coordinator, node)
    assert authorize(coordinator.core, hello(node, who, verb), "n") == StreamGrant(verb, who, "demo-1234")


def test_what_no_node_sends_is_no_verb(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    who = bound(coordinator, node)
    said = {"fleet": FLEET, "node": node.tag, "nonce": "n", "identity": who.model_dump()}
    assert Hello.model_validate({**said, "verb": "log"}).verb == "log"
    with pytest.raises(ValidationError, match="verb"):
        Hello.model_validate({**said, "verb": "artifact"})


def test_nobody_else_may(coordinator: Desk) -> None:
    node, other = Puppet(coordinator), Puppet(coordinator, "n2")
    who = bound(coordinator, node)
    core = coordinator.core
    assert isinstance(authorize(core, hello(other, who, "fetch"), "n"), StreamDenial)
    assert isinstance(authorize(core, hello(node, who, "fetch", key=other.key), "n"), StreamDenial)
    assert isinstance(authorize(core, hello(node, who, "fetch"), "another nonce"), StreamDenial)
    assert isinstance(authorize(core, b"\xff", "n"), StreamDenial)
    stranger = AttemptId(run="r-none", attempt=1, lease=1)
    assert isinstance(authorize(core, hello(node, stranger, "log"), "n"), StreamDenial)


def test_a_settled_lease_delivers_no_more(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    node.breathe()
    coordinator.dispatch(workspace=WORKSPACE)
    coordinator.turn()
    job = node.take()
    node.deliver(job)
    coordinator.turn()
    assert authorize(coordinator.core, hello(node, job.identity, "push"), "n") == StreamDenial(
        f"{job.identity} has been settled"
    )


def test_a_lost_lease_may_still_deliver_but_not_read(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    who = bound(coordinator, node)
    for _ in range(100):
        coordinator.turn(10_000)
    assert isinstance(authorize(coordinator.core, hello(node, who, "push"), "n"), StreamGrant)
    assert isinstance(authorize(coordinator.core, hello(node, who, "fetch"), "n"), StreamDenial)


def test_without_a_repository_there_is_no_git(coordinator: Desk) -> None:
    node, job = offered(coordinator)
    assert isinstance(authorize(coordinator.core, hello(node, job.identity, "push"), "n"), StreamDenial)
    assert isinstance(authorize(coordinator.core, hello(node, job.identity, "log"), "n"), StreamGrant)


def test_a_machine_that_was_removed_and_came_back_under_another_name(coordinator: Desk) -> None:
    node = Puppet(coordinator, "zz")
    who = bound(coordinator, node)
    with coordinator.ledger.transaction() as tx:
        known = tx.get(Node, "zz")
        assert known is not None
        tx.put(replace(known, name="aa", removed="removed"))
    assert isinstance(authorize(coordinator.core, hello(node, who, "log"), "n"), StreamGrant)
    inventory.forget(coordinator.core, "zz")
    assert isinstance(authorize(coordinator.core, hello(node, who, "log"), "n"), StreamDenial)


def test_what_a_result_waits_for_is_the_runs_reason_and_is_told_once(coordinator: Desk) -> None:
    node = Puppet(coordinator)
    who = bound(coordinator, node)
    for _ in range(3):
        note_wait(coordinator.core, who.run, "no room")
    note_wait(coordinator.core, "r-none", "no room")
    with coordinator.ledger.transaction() as tx:
        run = tx.get(Run, who.run)
        told = [d for d in tx.find(Decision, {"run": who.run}) if d.what == "depot"]
    assert run is not None and run.reason == "no room"
    assert [(d.verdict, d.detail) for d in told] == [("waits", "no room")]
