"""A run that asks for GPUs goes where they are, holds them alone, and waits for those that others hold."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.identity import AttemptId
from node_agent.wire.node import GpuFact, GpuLoad
from pancode.fleet.acts import NodeChange
from pancode.fleet.inventory import adjust
from pancode.kernel.errors import UsageError
from pancode.kernel.node import NodeView, gpu_labels, gpu_name, has_label, labels_of
from pancode.kernel.records import Decision, GpuHold, GpuRule, Run, WaitReason
from pancode.kernel.values import replace
from pancode.runs.admission.request_rules import check_options
from pancode.runs.life.case import why_it_stays
from pancode.runs.placement.candidates import Candidate, GpuNeed, GpuSeen, choose_gpus, need_of
from pancode.runs.placement.placement import (
    Placed,
    Standing,
    Unplaced,
    decide_placements,
    lacks_slot_at,
    takes_now,
)
from pancode.runs.request import Defaults
from tests.unit.pancode.kernel.fleets import node, request, resolved
from tests.unit.pancode.runs.world import Desk, Puppet, a_run, facts, failed

GB, GIB = 10**9, 1 << 30


def gpu(number: int, memory: int = 80 * GIB, name: str = "NVIDIA H100 80GB HBM3", **more: Any) -> GpuFact:
    return GpuFact(index=number, uuid=f"GPU-{number}", name=name, memory=memory, **more)


TWO = (gpu(0), gpu(1, 24 * GIB, "NVIDIA GeForce RTX 4090"))


def candidate(view: NodeView, **options: Any) -> Candidate:
    (found,) = resolved(view, runtime="shell", task="true", **options).candidates
    return found


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"gpus": "1"}, ""),
        ({"gpus": "2"}, ""),
        ({"gpus": "all"}, ""),
        ({"gpu_memory": 24 * GB}, ""),
        ({"gpus": "3"}, "has no 3 GPUs: it has 2 GPUs, the largest NVIDIA H100 80GB HBM3 of 80 G"),
        ({"gpus": "2", "gpu_memory": 80 * GB}, "has no 2 GPUs of 80 GB: it has 2 GPUs"),
        ({"gpu_memory": 200 * GB}, "has no GPU of 200 GB: it has 2 GPUs, the largest"),
    ],
)
def test_a_node_fits_that_has_enough_gpus_of_the_size(asked: dict[str, Any], why: str) -> None:
    found = candidate(node("gpubox", gpus=TWO), **asked)
    assert found.fits is (not why) and (not why or found.why.startswith(why)), found.why
    assert why == "" or "--gpu" in found.fix


def test_what_a_node_lacks_is_said() -> None:
    assert candidate(node("desk"), gpus="1").why == "has no GPU"
    amd = node("desk", gpus=(gpu(0, vendor="amd"),))
    assert candidate(amd, gpus="1").why == "has an AMD GPU, which runs cannot use"
    shut = NodeView(replace(node("a", gpus=TWO).node, gpus=GpuRule.NONE), *_rest(node("a", gpus=TWO)))
    assert candidate(shut, gpus="1").fix == "pancode node set a --gpus all"
    assert candidate(node("desk")).fits, "who asks for none is not refused"


def _rest(view: NodeView) -> tuple[Any, ...]:
    return view.state, view.silent_ms, view.last, view.answers


@pytest.mark.parametrize("bad", ["00", "-1", "two", "1.5", "", "9999999", "١"])
def test_a_number_of_gpus_is_a_whole_number_or_all(bad: str) -> None:
    with pytest.raises(UsageError, match="--gpus"):
        check_options(request(gpus=bad))


def test_zero_gpus_reserves_none_despite_a_default() -> None:
    there = node("gpubox", gpus=TWO)
    settings = {"defaults": Defaults(gpus="1", gpu_memory=200 * GB)}
    assert not resolved(there, settings=settings, runtime="shell").candidates[0].fits
    found = resolved(there, settings=settings, runtime="shell", gpus="0")
    assert found.candidates[0].fits
    run = a_run("r-1", 1, Decimal(1), gpus=found.request.gpus, gpu_memory=found.request.gpu_memory)
    assert not run.holds_gpus


def seen(uuid: str, memory: int = 80, holder: str = "", silent: bool = False) -> GpuSeen:
    return GpuSeen(uuid, memory, holder, silent)


def test_the_smallest_free_gpus_that_fit_are_chosen() -> None:
    gpus = (seen("big"), seen("small", 24), seen("held", 24, "r-1"), seen("mute", 24, silent=True))
    assert choose_gpus(GpuNeed(1), gpus) == ("small",)
    assert choose_gpus(GpuNeed(2), gpus) == ("small", "big")
    assert choose_gpus(GpuNeed(1, 30), gpus) == ("big",)
    assert choose_gpus(GpuNeed(1), gpus, taken=("small",)) == ("big",)
    assert choose_gpus(GpuNeed(3), gpus) == ()
    assert choose_gpus(GpuNeed(None), gpus) == (), "all of them are not free"
    assert choose_gpus(GpuNeed(None), gpus[:2]) == ("small", "big")
    assert choose_gpus(GpuNeed(None), ()) == ()
    assert need_of(None, None) is None and need_of(None, 5) == GpuNeed(1, 5)


def run(name: str, **options: Any) -> Run:
    base = resolved(node("gpubox", gpus=TWO), runtime="shell", task="make").run(name, 1, "t", {})
    return replace(base, **options)


def at(*gpus: GpuSeen, free: int = 4) -> Standing:
    view = node("gpubox", gpus=TWO)
    return Standing((view,), {"gpubox": free}, gpus={"gpubox": gpus})


def test_two_runs_of_one_round_do_not_get_the_same_gpu_and_the_third_says_what_it_waits_for() -> None:
    standing = at(seen("a"), seen("b", holder="r-old"))
    first, second = decide_placements([run("r-1", gpus="1"), run("r-2", gpus="1")], standing)
    assert isinstance(first, Placed) and first.gpus == ("a",) and first.why.endswith("; holds a")
    assert isinstance(second, Unplaced) and second.kind is WaitReason.NO_GPU
    assert second.why == "waits for a GPU: gpubox has 2, held by r-1, r-old"


def test_one_that_asks_for_none_is_not_held_up_by_those_that_wait() -> None:
    one, plain = decide_placements([run("r-1", gpus="all"), run("r-2")], at(seen("a", holder="r-old")))
    assert isinstance(one, Unplaced) and isinstance(plain, Placed) and plain.gpus == ()


def test_one_that_asks_for_fewer_is_not_held_up_by_one_that_asks_for_more() -> None:
    every, one = decide_placements(
        [run("r-1", gpus="all"), run("r-2", gpus="1")], at(seen("a", holder="r-old"), seen("b"))
    )
    assert isinstance(every, Unplaced) and isinstance(one, Placed) and one.gpus == ("b",)


def test_of_two_machines_the_one_with_a_free_gpu_takes_it() -> None:
    views = (node("a", gpus=TWO), node("b", gpus=TWO))
    gpus = {"a": (seen("a0", holder="r-old"),), "b": (seen("b0"),)}
    (one,) = decide_placements([run("r-1", gpus="1")], Standing(views, {"a": 4, "b": 1}, gpus=gpus))
    assert isinstance(one, Placed) and (one.node.node.name, one.gpus) == ("b", ("b0",))


def test_a_silent_driver_is_what_a_run_waits_for() -> None:
    (one,) = decide_placements([run("r-1", gpus="1")], at(seen("a", silent=True)))
    assert isinstance(one, Unplaced)
    assert one.why == "waits for a GPU: gpubox has 1, 1 with a driver that does not respond"


def test_no_session_rests_for_a_run_that_lacks_a_gpu() -> None:
    held, one = at(seen("a", holder="r-old"), free=0), run("r-1", gpus="1")
    assert lacks_slot_at(one, held) == [] and takes_now(one, held, {"gpubox": 3}) == []
    assert lacks_slot_at(one, at(seen("a"), free=0)) == ["gpubox"]
    assert why_it_stays(one) == "it reserves a GPU as soon as it has a job"


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA A100-SXM4-40GB", "A100-SXM4-40GB"),
        ("", "unknown"),
    ],
)
def test_the_short_name_of_a_gpu_fits_a_label(name: str, short: str) -> None:
    assert gpu_name(name) == short


def test_facts_are_labels_and_the_owners_own_still_count() -> None:
    view = node("gpubox", gpus=TWO, labels={"gpu": "24g", "room": "attic"})
    assert gpu_labels(None) == {}
    assert labels_of(view) == {"gpu": "24g", "gpu.count": "2", "gpu.name": "H100", "room": "attic"}
    assert has_label(view, "gpu", "80g") and has_label(view, "gpu", "24g")
    assert candidate(view, require={"gpu.name": "H100"}).fits
    near = candidate(view, require={"gpu.name": "h200"})
    assert near.why == "has no label gpu.name=h200 (it has gpu.name=H100)"


# -- over the whole engine -----------------------------------------------------------------------------


class Box:
    """A coordinator, and a node with two GPUs."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.node = Puppet(self.desk, "gpubox", slots=4)
        self.node.facts = facts(gpus=TWO)
        self.node.breathe()

    def holds(self) -> dict[str, tuple[str, ...]]:
        return {one.run: one.uuids for one in self.desk.rows(GpuHold)}

    def rule(self, rule: GpuRule) -> None:
        adjust(self.desk.core, "gpubox", NodeChange(gpus=rule), "ana")


@pytest.fixture
def box() -> Box:
    return Box()


def test_a_run_holds_its_gpus_from_the_job_until_it_ends(box: Box) -> None:
    box.desk.dispatch("r-0001", gpus="1", gpu_memory=70 * GB)
    box.desk.dispatch("r-0002", gpu_memory=70 * GB)
    box.desk.turn()
    due = box.node.take()
    assert due.gpus == ("GPU-0",) and box.holds() == {"r-0001": ("GPU-0",)}
    assert box.desk.row(Run, "r-0002").reason == "waits for a GPU of 70 GB: gpubox has 1, held by r-0001"
    assert any("waits for a GPU" in one.detail for one in box.desk.rows(Decision, run="r-0002"))
    box.node.carry_out(due)
    box.node.breathe()
    assert box.holds() == {"r-0002": ("GPU-0",)} and box.node.take().gpus == ("GPU-0",)


def test_a_gpu_is_free_at_once_when_its_run_has_ended_though_the_node_has_not_said_so(box: Box) -> None:
    box.desk.dispatch("r-0001", gpus="2")
    box.desk.turn()
    due = box.node.take()
    box.node.start(due)
    box.desk.turn(box.desk.rules.heartbeat_ms)
    box.node.heartbeat(gpus=tuple(GpuLoad(uuid=one.uuid, holder=due.identity) for one in TWO))
    box.desk.turn(0)
    box.desk.dispatch("r-0002", gpus="1")
    box.node.deliver(due)
    box.desk.turn(0)
    assert box.holds() == {"r-0002": ("GPU-1",)}, "no heartbeat has come since"


def test_a_later_attempt_holds_its_own(box: Box) -> None:
    box.desk.dispatch("r-0001", gpus="2", max_attempts=2, runtime="shell")
    box.desk.turn()
    box.node.carry_out(**failed(FailureKind.AGENT_FAILED, Outcome.ERROR))
    (hold,) = box.desk.rows(GpuHold)
    assert hold.lease == 2 and set(hold.uuids) == {"GPU-0", "GPU-1"}
    assert box.node.take().identity.attempt == 2


def test_a_node_that_says_an_attempt_holds_a_gpu_is_believed(box: Box) -> None:
    lost = AttemptId(run="r-lost", attempt=1, lease=1)
    loads = (GpuLoad(uuid="GPU-0", holder=lost), GpuLoad(uuid="GPU-1"))
    box.desk.turn(box.desk.rules.heartbeat_ms)
    box.node.heartbeat(gpus=loads)
    box.node.inventory()
    box.desk.dispatch("r-0001", gpus="2")
    box.desk.turn()
    assert box.desk.row(Run, "r-0001").reason == "waits for 2 GPUs: gpubox has 2, held by r-lost"


@pytest.mark.parametrize(("rule", "plain"), [(GpuRule.ALL, None), (GpuRule.ASKED, ()), (GpuRule.NONE, ())])
def test_a_plain_run_gets_what_the_owner_gives(
    box: Box, rule: GpuRule, plain: tuple[str, ...] | None
) -> None:
    box.rule(rule)
    box.desk.dispatch("r-0001")
    box.desk.turn()
    assert box.node.take().gpus == plain


def test_a_node_without_gpus_gets_a_job_that_older_agents_can_read() -> None:
    desk = Desk()
    old = Puppet(desk)
    adjust(desk.core, "n1", NodeChange(gpus=GpuRule.NONE), "ana")
    old.breathe()
    desk.dispatch("r-0001")
    desk.turn()
    due = old.take()
    assert due.gpus is None and "gpus" not in due.model_dump()
