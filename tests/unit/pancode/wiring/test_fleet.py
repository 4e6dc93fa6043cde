"""What goes wrong with one node is that node's result; the others go on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from node_agent.wire.signing import SigningKey
from pancode.adapters.ssh.errors import ConnectError, LinkFault
from pancode.adapters.ssh.link import LinkKind, LinkState
from pancode.adapters.ssh.target import Target
from pancode.domain.fleet import NodeState
from pancode.domain.linked import Linked
from pancode.domain.records import Node
from pancode.wiring.bringup import Report, UpResult
from pancode.wiring.fleet import Fleet
from pancode.wiring.loop import LoopThread
from pancode.wiring.nodes import Reach
from tests.unit.pancode.control.world import FLEET, Desk


class Hands:
    """Bring-up of which nothing but its end is real; `bad` ends in a way that nobody foresaw."""

    def __init__(self) -> None:
        self.did: list[tuple[str, str]] = []

    async def up(self, node: Node, report: Report, agent_path: str | None) -> UpResult:
        return self._end("up", node)

    async def down(self, node: Node, report: Report, agent_path: str | None) -> UpResult:
        return self._end("down", node)

    async def remove(self, node: Node, report: Report, agent_path: str | None) -> UpResult:
        return self._end("remove", node)

    def _end(self, verb: str, node: Node) -> UpResult:
        if node.name == "bad":
            raise KeyError("no such thing")
        self.did.append((verb, node.name))
        return UpResult(node.name, True)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def fleet(desk: Desk) -> Iterator[Fleet]:
    parts: Any = SimpleNamespace(plane=desk.plane, clock=desk.clock, fleet=FLEET, slots=4)
    links: Any = SimpleNamespace(settings=SimpleNamespace(tend_s=60))
    bundles: Any = None
    loop = LoopThread("test")
    made = Fleet(parts, loop, links, bundles)
    made._bringup = Hands()  # type: ignore[assignment]
    for name in ("a", "bad", "c"):
        reach = Reach(Target(name, "h", 22, "u"), installed_home="/n", uid=1)
        desk.plane.add_node(Node(name, 0, reach.data(), {}, 1))
        desk.plane.enrol(name, SigningKey(name.encode().ljust(32, b"k")).public.text())
    yield made
    loop.stop()


@pytest.mark.parametrize("verb", ["up", "down"])
def test_an_unforeseen_error_of_one_node_is_its_result(fleet: Fleet, verb: str) -> None:
    results = getattr(fleet, verb)(["a", "bad", "c"], lambda node, step: None)
    assert [(r.node, r.ok) for r in results] == [("a", True), ("bad", False), ("c", True)]
    (problem,) = results[1].problems
    assert problem["what"] == "KeyError: 'no such thing'" and "coordinator.log" in problem["fix"]


def test_two_commands_on_one_machine_go_one_after_the_other(fleet: Fleet) -> None:
    """Who gave the first one may have pressed Ctrl-C: the second must not meet it half-way."""
    inside, most, told = 0, 0, []

    async def slow(node: Node, report: Report, agent_path: str | None) -> UpResult:
        nonlocal inside, most
        inside, most = inside + 1, max(most, inside + 1)
        await asyncio.sleep(0.05)
        inside -= 1
        return UpResult(node.name, True)

    fleet._bringup.up = slow  # type: ignore[method-assign]
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(fleet.up, ["a"], lambda node, step: told.append(step.says)) for _ in "12"]
        assert all(call.result()[0].ok for call in calls)
    assert most == 1 and told == ["another command is at work on it: waiting"]


def test_two_first_bring_ups_at_once_add_this_machine_once(
    fleet: Fleet, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = desk.plane.add_node

    def late(node: Node) -> None:
        add(node)  # the other one was quicker
        add(node)

    monkeypatch.setattr(desk.plane, "add_node", late)
    results = fleet.up([], lambda node, step: None)
    assert len(results) == 4 and [r.node for r in results if not r.ok] == ["bad"]


def test_a_removal_that_goes_wrong_is_told_and_not_forgotten(fleet: Fleet, desk: Desk) -> None:
    result = fleet.remove("bad", lambda node, step: None)
    assert not result.ok and result.problems
    assert desk.plane.view("bad").state is NodeState.NOT_CLEANED


def test_what_cannot_be_cleaned_is_tried_again_once_a_minute(fleet: Fleet, desk: Desk) -> None:
    hands: Any = fleet._bringup
    desk.plane.revoke("c")
    for ms in (0, 1_000, 58_000, 2_000, 500):
        desk.clock.ms += ms
        fleet.links.on_contact("c")
        fleet.loop.call(_all_else())
    assert hands.did == [("remove", "c"), ("remove", "c")]


async def _all_else() -> None:
    """What was begun in this loop is over."""
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))


def test_a_contact_in_the_midst_of_a_removal_does_not_begin_another(fleet: Fleet, desk: Desk) -> None:
    """On one machine each would find the other's scripts, and end them."""
    hands: Any = fleet._bringup
    once = hands.remove

    async def met(node: Node, report: Report, agent_path: str | None) -> UpResult:
        hands.remove = once
        await asyncio.to_thread(fleet.links.on_contact, node.name)
        return await once(node, report, agent_path)

    hands.remove = met
    assert fleet.remove("c", lambda node, step: None).ok
    fleet.loop.call(_all_else())
    assert hands.did == [("remove", "c")]


def test_a_removal_that_a_contact_has_carried_out_before_it_is_one(fleet: Fleet, desk: Desk) -> None:
    hands: Any = fleet._bringup
    once, begun, go = hands.remove, threading.Event(), asyncio.Event()

    async def carried_out(node: Node, report: Report, agent_path: str | None) -> UpResult:
        begun.set()
        await go.wait()
        await asyncio.to_thread(desk.plane.forget_node, node.name)
        return await once(node, report, agent_path)

    async def let_go() -> None:
        go.set()

    hands.remove = carried_out
    desk.plane.revoke("c")
    fleet.links.on_contact("c")
    assert begun.wait(30)
    hands.remove = once
    told: list[str] = []

    def waits(node: str, step: Any) -> None:
        told.append(step.says)
        fleet.loop.begin(let_go())

    result = fleet.remove("c", waits)
    assert (result.ok, result.changed) == (True, ("removed",)), result
    assert told == ["another command is at work on it: waiting"]
    assert hands.did == [("remove", "c")]


def test_down_halts_each_also_the_one_that_fails(fleet: Fleet, desk: Desk) -> None:
    fleet.down([], lambda node, step: None)
    assert {desk.plane.view(name).state for name in ("a", "bad", "c")} == {NodeState.HALTED}
    assert all(Reach.of(desk.row(Node, name)).halted for name in ("a", "bad", "c"))


def test_a_stopped_link_is_not_tried_and_says_why(fleet: Fleet, desk: Desk) -> None:
    changed = ConnectError(LinkFault.HOST_KEY_CHANGED, "the host key of a has changed", fix="look")
    told = desk.plane.core.reaching
    tell = fleet.links.on_state
    tell("a", LinkState(LinkKind.STOPPED, error=changed))
    assert (told("a").trying, told("a").why, told("a").fix) == (False, changed.message, "look")
    for kind, trying in ((LinkKind.UP, True), (LinkKind.CLOSED, False), (LinkKind.DOWN, True)):
        tell("a", LinkState(kind))
        assert told("a").trying is trying
    assert desk.plane.core.live.links["a"] == Linked(up=False, breaks=0), "it was closed before it was down"
    for kind in (LinkKind.UP, LinkKind.DOWN, LinkKind.CONNECTING):
        tell("a", LinkState(kind))
    assert desk.plane.core.live.links["a"] == Linked(up=False, breaks=1)
    assert told("c").trying
