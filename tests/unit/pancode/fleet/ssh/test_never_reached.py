"""A machine where we never were is forgotten; a fingerprint that a user gives is always compared."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from node_agent.wire.signing import SigningKey
from pancode.fleet import inventory
from pancode.fleet.acts import Caller, NodeResult, NodeSpec, ignore_line
from pancode.fleet.fleet import get_node
from pancode.fleet.place import Reach
from pancode.fleet.ssh.bringup import BringUp
from pancode.fleet.ssh.errors import ConnectError, LinkFault, LinkLost
from pancode.fleet.ssh.hostkey import HostKey
from pancode.fleet.ssh.machines import HostKeyOffer, Machines
from pancode.fleet.ssh.reach import reach_to
from pancode.fleet.ssh.target import Target
from pancode.kernel.declared import to_json
from pancode.kernel.errors import ConflictError, RefusedError
from pancode.kernel.node import NodeState
from pancode.kernel.records import Node
from tests.unit.pancode.runs.world import Desk

PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMtL8jLEu/a6cJZTn+PFC5C/WmctCxUsUoiMrlzbk5a9"


class NoWay:
    """Links to a machine that refuses every login."""

    def __init__(self) -> None:
        self.refuses = True

    async def leave(self, name: str) -> None:
        return None

    async def keep(self, name: str) -> None:
        return None

    def remote(self, name: str) -> Any:
        return None if self.refuses else SimpleNamespace(script=self._breaks)

    async def _breaks(self, *_: Any) -> Any:
        raise LinkLost("the connection ended in the middle")

    async def dial(self, name: str, agent_path: str | None, **_: Any) -> Any:
        raise ConnectError(LinkFault.LOGIN_REFUSED, "refused the login")


@pytest.fixture
def coordinator() -> Desk:
    return Desk()


def bring_up(coordinator: Desk, links: Any) -> BringUp:
    home = SimpleNamespace(forget_node=lambda name, tag: None)
    settings: Any = SimpleNamespace(slots=4, least=None)
    return BringUp(coordinator.core, settings, cast(Any, home), links, cast(Any, None))


def removed(coordinator: Desk, made: BringUp) -> NodeResult:
    inventory.revoke(coordinator.core, "ghost")
    return asyncio.run(made.remove(coordinator.row(Node, "ghost"), ignore_line, None))


@pytest.fixture
def ghost(coordinator: Desk) -> Node:
    node = Node("ghost", 0, to_json(reach_to(Target("ghost", "h", 22, "typo"))), {}, 1)
    inventory.add(coordinator.core, node)
    return node


def test_one_that_never_let_us_in_is_forgotten(coordinator: Desk, ghost: Node) -> None:
    result = removed(coordinator, bring_up(coordinator, NoWay()))
    assert result.ok and result.changed == ("never_reached",)
    assert coordinator.row(Node, "ghost").removed == NodeState.REMOVED


def test_one_that_let_us_in_once_is_cleaned_when_it_is_back(coordinator: Desk, ghost: Node) -> None:
    links = NoWay()
    made = bring_up(coordinator, links)
    made.note_reached(ghost)
    result = removed(coordinator, made)
    assert not result.ok and coordinator.row(Node, "ghost").removed == NodeState.NOT_CLEANED


def test_one_that_is_enrolled_is_cleaned_when_it_is_back(coordinator: Desk, ghost: Node) -> None:
    inventory.enrol(coordinator.core, "ghost", SigningKey(b"g" * 32).public.text())
    assert not removed(coordinator, bring_up(coordinator, NoWay())).ok


def test_one_whose_copied_home_was_deleted_is_cleaned_like_any_other(
    coordinator: Desk, ghost: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused bring-up marks it as another node's; the next one that finds a home of its own ends that."""
    twin, own = (SigningKey(seed * 32).public.text() for seed in (b"t", b"o"))
    inventory.add(coordinator.core, Node("first", 0, to_json(reach_to(Target("first", "h", 22, "u"))), {}, 1))
    inventory.enrol(coordinator.core, "first", twin)
    made = bring_up(coordinator, NoWay())
    monkeypatch.setattr(BringUp, "admit", lambda *_: "")
    monkeypatch.setattr(BringUp, "home_files", lambda *_: [])
    found: Any = SimpleNamespace(node_home="/home/u/.pancode", uid=7, wall_ms=None, asked_ms=(0, 0), path="")
    with pytest.raises(ConflictError):
        made.enrol("ghost", twin, found)
    assert Reach.of(coordinator.row(Node, "ghost")).is_twin
    made.enrol("ghost", own, found)
    assert not Reach.of(coordinator.row(Node, "ghost")).is_twin
    assert not removed(coordinator, made).ok, "its files wait for the next contact"


def test_a_bring_up_that_gets_in_is_noted(coordinator: Desk, ghost: Node) -> None:
    links = NoWay()
    links.refuses = False
    asyncio.run(bring_up(coordinator, links).up(ghost, ignore_line, None))
    assert coordinator.row(Node, "ghost").facts["reached"] is True


def test_a_given_fingerprint_is_compared_also_where_a_key_is_pinned(
    coordinator: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = HostKey.parse(PUBLIC)
    found = HostKeyOffer("n", Target("n", "h", 22, "u"), key, True, None, {})
    monkeypatch.setattr(Machines, "look", lambda *_: found)
    loop: Any = SimpleNamespace(call=lambda work, seconds: asyncio.run(work))
    fleet = Machines(bring_up(coordinator, NoWay()), loop, lambda: None, lambda: None)
    caller = Caller("ana", {"HOME": str(Path("/"))})
    with pytest.raises(RefusedError, match="is not the one that was accepted"):
        fleet.add(NodeSpec("n", fingerprint="SHA256:xx"), caller)
    assert coordinator.rows(Node) == []
    fleet.add(NodeSpec("n", fingerprint=key.fingerprint), caller)
    fleet.add(NodeSpec("m"), caller)
    assert [node.name for node in coordinator.rows(Node)] == ["m", "n"]
    (problem,) = get_node(coordinator.core, "m")["problems"]
    assert "refused the login" in problem["what"], "it is added, and its record says what is wrong"
