"""What goes wrong with one node is that node's result; the others continue."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest

from node_agent.wire.signing import SigningKey
from pancode.fleet import inventory
from pancode.fleet.acts import Caller, NodeResult, Progress, ProgressLine, ignore_line
from pancode.fleet.place import Reach
from pancode.fleet.ssh.errors import ConnectError, LinkFault
from pancode.fleet.ssh.link import LinkKind, LinkState
from pancode.fleet.ssh.links import news_of
from pancode.fleet.ssh.login_session import LoginSession
from pancode.fleet.ssh.loop import LoopThread
from pancode.fleet.ssh.machines import Machines
from pancode.fleet.ssh.reach import reach_to
from pancode.fleet.ssh.target import Target
from pancode.kernel.declared import to_json
from pancode.kernel.node import Linked, NodeState
from pancode.kernel.records import Node
from pancode.runs.core import Core
from pancode.runs.restored.hold import begin_hold
from pancode.runs.unit_of_work import unit_of_work
from tests.unit.pancode.runs.world import Desk

ANA = Caller("ana")


class Works:
    """Bring-up of which nothing but its end is real; `bad` ends in a way that nobody foresaw."""

    def __init__(self, coordinator: Desk) -> None:
        self.did: list[tuple[str, str]] = []
        self.core = coordinator.core
        self.settings = SimpleNamespace(slots=4, least=None)
        self.links = SimpleNamespace(settings=SimpleNamespace(tend_s=60, session=LoginSession()))

    async def up(self, node: Node, progress: Progress, agent_path: str | None) -> NodeResult:
        return self._end("up", node)

    async def down(self, node: Node, progress: Progress, agent_path: str | None) -> NodeResult:
        return self._end("down", node)

    async def remove(self, node: Node, progress: Progress, agent_path: str | None) -> NodeResult:
        return self._end("remove", node)

    def _end(self, verb: str, node: Node) -> NodeResult:
        if node.name == "bad":
            raise KeyError("no such thing")
        self.did.append((verb, node.name))
        return NodeResult(node.name, True)


@pytest.fixture
def coordinator() -> Desk:
    return Desk()


@pytest.fixture
def bringup(coordinator: Desk) -> Works:
    return Works(coordinator)


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    made = LoopThread("test")
    yield made
    made.stop()


@pytest.fixture
def fleet(coordinator: Desk, bringup: Works, loop: LoopThread) -> Machines:
    made = Machines(cast(Any, bringup), loop, lambda: None, lambda: None)
    for name in ("a", "bad", "c"):
        reach = reach_to(Target(name, "h", 22, "u"), installed_home="/n", uid=1)
        inventory.add(coordinator.core, Node(name, 0, to_json(reach), {}, 1))
        inventory.enrol(coordinator.core, name, SigningKey(name.encode().ljust(32, b"k")).public.text())
    return made


@pytest.mark.parametrize("verb", ["up", "down"])
def test_an_unforeseen_error_of_one_node_is_its_result(fleet: Machines, verb: str) -> None:
    results = getattr(fleet, verb)(["a", "bad", "c"], ANA, ignore_line)
    assert [(r.node, r.ok) for r in results] == [("a", True), ("bad", False), ("c", True)]
    (problem,) = results[1].problems
    assert problem["what"] == "KeyError: 'no such thing'" and "coordinator.log" in problem["fix"]


def test_two_commands_on_one_machine_go_one_after_the_other(fleet: Machines, bringup: Works) -> None:
    """Who gave the first one may have pressed Ctrl-C: the second must not meet it half-way."""
    inside, most, told = 0, 0, []

    async def slow(node: Node, progress: Progress, agent_path: str | None) -> NodeResult:
        nonlocal inside, most
        inside, most = inside + 1, max(most, inside + 1)
        await asyncio.sleep(0.05)
        inside -= 1
        return NodeResult(node.name, True)

    bringup.up = slow  # type: ignore[method-assign]
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(fleet.up, ["a"], ANA, lambda line: told.append(line.text)) for _ in "12"]
        assert all(call.result()[0].ok for call in calls)
    assert most == 1 and told == ["another command is running on this node: waiting"]


def test_after_a_restore_a_node_without_an_agent_comes_up_by_name_only(
    fleet: Machines, coordinator: Desk, bringup: Works
) -> None:
    with unit_of_work(coordinator.core) as work:
        begin_hold(work, "restored", has_led=False)

    async def with_remote(name: str, agent: str | None, work: Any) -> Any:
        async def run(argv: Sequence[str], limit_s: float) -> Any:
            return SimpleNamespace(status=0 if (name, argv[-1]) == ("a", "/n/journal") else 1)

        return await work(SimpleNamespace(run=run))

    hands: Any = bringup
    hands.with_remote = with_remote
    results = {one.node: one for one in fleet.up([], ANA, ignore_line)}
    assert results["a"].ok and not results["c"].ok
    (problem,) = results["c"].problems
    assert "removed since the copy" in problem["what"] and "pancode fleet up c" in problem["fix"]
    assert bringup.did == [("up", "a")]
    assert fleet.up(["c"], ANA, ignore_line)[0].ok


def test_two_first_bring_ups_at_once_add_this_machine_once(
    fleet: Machines, coordinator: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = inventory.add
    with coordinator.core.ports.ledger.transaction() as tx:
        for node in tx.find(Node):
            tx.delete(Node, node.name)

    def late(core: Core, node: Node) -> None:
        add(core, node)  # the other one was quicker
        add(core, node)

    monkeypatch.setattr(inventory, "add", late)
    results = fleet.up([], ANA, ignore_line)
    assert len(results) == 1 and results[0].ok


def test_a_removal_that_goes_wrong_is_told_and_not_forgotten(fleet: Machines, coordinator: Desk) -> None:
    result = fleet.remove("bad", ANA, ignore_line)
    assert not result.ok and result.problems
    assert inventory.get_view(coordinator.core, "bad").state is NodeState.NOT_CLEANED


def test_what_cannot_be_cleaned_is_tried_again_once_a_minute(
    fleet: Machines, coordinator: Desk, bringup: Works, loop: LoopThread
) -> None:
    hands: Any = bringup
    inventory.revoke(coordinator.core, "c")
    for ms in (0, 1_000, 58_000, 2_000, 500):
        coordinator.clock.ms += ms
        fleet.contact("c")
        loop.call(_all_else())
    assert hands.did == [("remove", "c"), ("remove", "c")]


async def _all_else() -> None:
    """What was begun in this loop is over."""
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))


def test_a_contact_in_the_midst_of_a_removal_does_not_begin_another(
    fleet: Machines, coordinator: Desk, bringup: Works, loop: LoopThread
) -> None:
    """On one node each would find the other's scripts, and end them."""
    hands: Any = bringup
    once = hands.remove

    async def met(node: Node, progress: Progress, agent_path: str | None) -> NodeResult:
        hands.remove = once
        await asyncio.to_thread(fleet.contact, node.name)
        return await once(node, progress, agent_path)

    hands.remove = met
    assert fleet.remove("c", ANA, ignore_line).ok
    loop.call(_all_else())
    assert hands.did == [("remove", "c")]


def test_a_removal_that_a_contact_has_carried_out_before_it_is_one(
    fleet: Machines, coordinator: Desk, bringup: Works, loop: LoopThread
) -> None:
    hands: Any = bringup
    once, begun, go = hands.remove, threading.Event(), asyncio.Event()

    async def carried_out(node: Node, progress: Progress, agent_path: str | None) -> NodeResult:
        begun.set()
        await go.wait()
        await asyncio.to_thread(inventory.forget, coordinator.core, node.name)
        return await once(node, progress, agent_path)

    async def let_go() -> None:
        go.set()

    hands.remove = carried_out
    inventory.revoke(coordinator.core, "c")
    fleet.contact("c")
    assert begun.wait(30)
    hands.remove = once
    told: list[str] = []

    def waits(line: ProgressLine) -> None:
        told.append(line.text)
        loop.begin(let_go())

    result = fleet.remove("c", ANA, waits)
    assert (result.ok, result.changed) == (True, ("removed",)), result
    assert told == ["another command is running on this node: waiting"]
    assert hands.did == [("remove", "c")]


def test_down_halts_each_also_the_one_that_fails(fleet: Machines, coordinator: Desk) -> None:
    fleet.down([], ANA, ignore_line)
    assert {inventory.get_view(coordinator.core, name).state for name in ("a", "bad", "c")} == {
        NodeState.HALTED
    }
    assert all(Reach.of(coordinator.row(Node, name)).halted for name in ("a", "bad", "c"))


def test_a_stopped_link_is_not_tried_and_says_why(fleet: Machines, coordinator: Desk) -> None:
    changed = ConnectError(LinkFault.HOST_KEY_CHANGED, "the host key of a has changed", fix="look")
    told = coordinator.core.reaching
    tell = fleet.tried
    tell("a", news_of("a", LinkState(LinkKind.STOPPED, error=changed)))
    assert (told("a").trying, told("a").why, told("a").fix) == (False, changed.message, "look")
    for kind, trying in ((LinkKind.UP, True), (LinkKind.CLOSED, False), (LinkKind.DOWN, True)):
        tell("a", news_of("a", LinkState(kind)))
        assert told("a").trying is trying
    assert coordinator.core.live.links.counts["a"] == Linked(up=False, breaks=0), (
        "it was closed before it was down"
    )
    for kind in (LinkKind.UP, LinkKind.DOWN, LinkKind.CONNECTING):
        tell("a", news_of("a", LinkState(kind)))
    assert coordinator.core.live.links.counts["a"] == Linked(up=False, breaks=1)
    assert told("c").trying
