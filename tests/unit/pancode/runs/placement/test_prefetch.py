"""Runs that wait on a node: handed over ahead of a free slot, paid for, taken back, never in two places."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from node_agent.wire.control import StopControl, TakeBack
from node_agent.wire.event import Marked, Refused, Revoked
from node_agent.wire.failure import JobRefusal, Outcome
from node_agent.wire.identity import Mark
from node_agent.wire.job import Job
from node_agent.wire.receipt import Usage
from pancode.budget import books
from pancode.config.fleet_settings import pause_queue
from pancode.fleet import inventory
from pancode.kernel.records import (
    Balance,
    BookEntry,
    EntryKind,
    Lease,
    LeaseState,
    Run,
    RunState,
    Setting,
    WaitReason,
)
from pancode.runs import stop as runs_stop
from pancode.runs.core import CEILING
from pancode.runs.life.case import MAX_BINDINGS, RunStage, holds_slot
from pancode.runs.placement.prefetch_service import hand_over
from pancode.runs.views import get_run_shape
from pancode.workflows.records import Workflow, WorkflowKind, WorkflowStep, WorkflowStepState
from tests.unit.pancode.runs.world import Desk, Puppet, entry_of


class Night:
    """Nodes that hold jobs, and what they were given."""

    def __init__(self, *slots: int, ceiling: str = "100") -> None:
        self.desk = Desk(ceiling)
        self.nodes = [Puppet(self.desk, f"n{number}", many) for number, many in enumerate(slots, 1)]
        for node in self.nodes:
            node.ahead = 64
        self.jobs: dict[str, tuple[Puppet, Job]] = {}
        self.deaf = False
        self.look()

    def look(self) -> None:
        """Every node is heard, and takes what it was sent: it begins what has a slot, and holds the rest."""
        for _ in range(2):
            for node in self.nodes:
                node.breathe()
            for node in self.nodes if not self.deaf else ():
                while (job := node.claim()) is not None:
                    self.take(node, job)
            self.desk.turn(1_000)

    def take(self, node: Puppet, job: Job) -> None:
        self.jobs[job.identity.run] = node, job
        if job.ahead or len(node.open) == node.slots:
            node.say(job.identity, Marked(mark=Mark.HELD))
            node.journal.append(entry_of(job, Mark.HELD))
        else:
            self.begin(job.identity.run)

    def begin(self, run: str) -> None:
        node, job = self.jobs[run]
        node.start(job)
        node.open.append(job.identity)
        node.journal = [one for one in node.journal if one.identity != job.identity]
        node.journal.append(entry_of(job, Mark.SPAWNED))

    def end(self, run: str) -> None:
        node, job = self.jobs[run]
        node.open.remove(job.identity)
        node.deliver(job)
        self.desk.turn()

    def give_back(self, run: str, why: JobRefusal = JobRefusal.TAKEN_BACK) -> None:
        node, job = self.jobs.pop(run)
        node.journal = [one for one in node.journal if one.identity != job.identity]
        node.say(job.identity, Refused(why=why, detail="as you asked"))
        self.desk.turn()

    def asked_back(self) -> dict[str, str]:
        bodies = [control.body for node in self.nodes for control in node.controls()]
        return {body.identity.run: body.reason for body in bodies if isinstance(body, TakeBack)}

    def run(self, name: str) -> Run:
        row: Run = self.desk.row(Run, name)
        return row

    def where(self) -> dict[str, str]:
        """By run, the node at which its newest lease is open."""
        open_ = [lease for lease in self.desk.rows(Lease) if lease.state is not LeaseState.CLOSED]
        return {lease.run: lease.node for lease in open_}

    def dispatch(self, *names: str, **changes: Any) -> None:
        for name in names:
            self.desk.clock.ms += 1
            self.desk.dispatch(name, **changes)
        self.look()


def test_twenty_tasks_on_two_nodes_with_two_slots_each() -> None:
    night = Night(2, 2)
    night.dispatch(*(f"r-{number:04}" for number in range(20)))
    night.look()
    leases = night.desk.rows(Lease)
    assert len(leases) == 20 and sum(map(holds_slot, leases)) == 4
    assert sorted(night.where().values()) == ["n1"] * 10 + ["n2"] * 10, "spread over the lines"
    words = [get_run_shape(night.desk.core, f"r-{number:04}") for number in (4, 5, 6, 8)]
    assert [one["reason"] for one in words] == [
        "handed to n1, 1st there",
        "handed to n2, 1st there",
        "handed to n1, 2nd there",
        "handed to n1, 3rd there",
    ]
    assert {(one["state"], one["waits"], one["stage"]) for one in words} == {
        (RunState.PENDING, WaitReason.HANDED, RunStage.PLACED)
    }


def test_a_held_one_begins_and_ends_as_any_other_and_is_settled_once() -> None:
    night = Night(1)
    night.dispatch("r-0001", "r-0002")
    night.end("r-0001")
    night.begin("r-0002")
    night.look()
    assert night.run("r-0002").state is RunState.RUNNING
    night.end("r-0002")
    assert night.run("r-0002").outcome is Outcome.DONE
    night.desk.check_books()
    mine = night.desk.rows(BookEntry, run="r-0002")
    held = {entry.scope for entry in mine}
    for scope in held:
        kinds = [entry.kind for entry in mine if entry.scope == scope]
        assert kinds.count(EntryKind.SPEND) == 1, kinds
    stamp = books.Stamp(0, lambda: "x")
    again = books.settle_attempt(mine, books.Account("r-0002", 1, 1), books.Spent(Decimal(1)), stamp)
    assert again == [] and all(balance.reserved_usd == 0 for balance in night.desk.rows(Balance))


@pytest.mark.parametrize(
    ("usd", "limit", "due"), [("0.75", None, "2"), ("0.75", "1.50", "1.50"), ("3", None, "3")]
)
def test_what_goes_ahead_holds_all_that_it_may_cost_in_every_scope(
    usd: str, limit: str | None, due: str
) -> None:
    night = Night(1)
    limits = {"wall_ms": 1, "idle_ms": 1, "output_bytes": 1, "usd": limit}
    night.dispatch("r-0001", "r-0002", usd=usd, limits=limits)
    job = night.jobs["r-0002"][1]
    assert job.ahead and job.limits.usd == Decimal(due)
    held = {entry.scope.partition(":")[0] for entry in night.desk.rows(BookEntry, run="r-0002")}
    for scope in held:
        entries = [e for e in night.desk.rows(BookEntry, run="r-0002") if e.scope.startswith(scope)]
        assert sum(entry.usd for entry in entries) == Decimal(due), scope
    assert {"day", "agent", "node"} <= held
    assert all(balance.runs <= 2 for balance in night.desk.rows(Balance)), "raised is not admitted twice"
    night.desk.check_books()


def test_where_the_ceiling_has_room_for_some_the_others_say_so() -> None:
    night = Night(1, ceiling="6.50")
    night.dispatch("r-0001", "r-0002", "r-0003", "r-0004")
    assert set(night.where()) == {"r-0001", "r-0002", "r-0003"}
    why = night.run("r-0004").reason
    assert "it is not handed over: day:" in why and "has no room for its whole limit of $2.00" in why
    assert night.run("r-0004").waits is WaitReason.NO_SLOT
    night.end("r-0001")
    night.begin("r-0002")
    night.look()
    assert "r-0004" in night.where(), "what was not spent makes room"


def test_what_costs_nothing_goes_ahead_without_a_cap() -> None:
    night = Night(1, ceiling="1")
    night.dispatch("r-0001", "r-0002", usd="0", runtime="shell")
    job = night.jobs["r-0002"][1]
    assert job.ahead and job.limits.usd is None


def test_a_slot_elsewhere_takes_back_the_first_and_it_begins_there() -> None:
    night = Night(1, 1)
    night.dispatch("r-0001", "r-0002", "r-0003", "r-0004")
    assert night.where()["r-0003"] == "n1" and night.where()["r-0004"] == "n2"
    night.dispatch("r-0005", node="n1")
    night.end("r-0002")
    night.begin("r-0004")
    night.look()
    night.end("r-0004")
    night.look()
    assert night.asked_back() == {"r-0003": "a slot is free on n2"}
    assert night.where()["r-0003"] == "n1", "nothing is bound before the node has said so"
    night.give_back("r-0003")
    night.look()
    assert night.where()["r-0003"] == "n2" and not night.jobs["r-0003"][1].ahead
    assert len(night.desk.rows(Lease, run="r-0003")) == 2
    night.desk.check_books()


def test_asked_once_and_what_has_begun_meanwhile_goes_on() -> None:
    night = Night(1, 1)
    night.dispatch("r-0001", "r-0002", "r-0003")
    night.end("r-0002")
    night.look()
    assert list(night.asked_back()) == ["r-0003"]
    night.begin("r-0003")
    night.look()
    assert night.run("r-0003").state is RunState.RUNNING and night.where()["r-0003"] == "n1"


def test_it_comes_back_as_often_as_it_must() -> None:
    night = Night(1)
    night.dispatch("r-0001", "r-0002")
    for _ in range(15):
        night.give_back("r-0002")
        night.look()
    assert night.run("r-0002").state is RunState.PENDING and night.where()["r-0002"] == "n1"
    mine = [e for e in night.desk.rows(BookEntry, run="r-0002") if e.scope.startswith("day:")]
    assert books.sum_entries(mine[0].scope, mine).reserved_usd == 2, "raised once"
    night.desk.check_books()


@pytest.mark.parametrize("how", ["taken back", "not taken"])
def test_what_came_back_holds_its_estimate_again(how: str) -> None:
    night = Night(1)
    night.dispatch("r-0001")
    night.deaf = how == "not taken"
    night.dispatch("r-0002", usd="0.75")
    assert night.where()["r-0002"] == "n1"
    night.desk.core.rules = replace(night.desk.core.rules, ahead=0)
    if how == "taken back":
        night.give_back("r-0002")
    else:
        night.desk.clock.ms += 11 * night.desk.rules.start_by_ms
        night.look()
    night.look()

    def held() -> dict[str, Decimal]:
        mine = night.desk.rows(BookEntry, run="r-0002")
        return {
            scope: books.sum_entries(scope, [e for e in mine if e.scope == scope]).reserved_usd
            for scope in scopes
        }

    scopes = {entry.scope for entry in night.desk.rows(BookEntry, run="r-0002")}
    assert held() == {one: 0 if one == "node:n1" else Decimal("0.75") for one in scopes}
    while night.deaf and night.nodes[0].claim() is not None:
        """What it never took is gone."""
    night.deaf = False
    night.end("r-0001")
    night.look()
    assert not night.jobs["r-0002"][1].ahead and set(held().values()) == {Decimal("0.75")}
    day = next(scope for scope in scopes if scope.startswith("day:"))
    mine = [e for e in night.desk.rows(BookEntry, run="r-0002") if e.scope == day]
    assert books.sum_entries(day, mine).runs == 1, "admitted once"
    night.end("r-0002")
    assert set(held().values()) == {0}
    night.desk.check_books()


def test_a_job_that_its_node_never_takes_ends_no_run() -> None:
    """A snapshot that takes too long is no fault of the run."""
    night = Night(1)
    night.dispatch("r-0001")
    night.deaf = True
    for _ in range(15):
        night.desk.dispatch("r-0002") if not night.desk.rows(Run, id="r-0002") else None
        night.desk.clock.ms += 11 * night.desk.rules.start_by_ms
        night.look()
    assert night.run("r-0002").state is RunState.PENDING
    assert len(night.desk.rows(Lease, run="r-0002")) > MAX_BINDINGS


def test_a_higher_priority_does_not_stand_behind() -> None:
    night = Night(1)
    night.dispatch("r-0001", "r-0002", "r-0003")
    night.dispatch("r-0009", priority=5)
    night.look()
    assert set(night.asked_back()) == {"r-0002", "r-0003"}
    for run in ("r-0002", "r-0003"):
        night.give_back(run)
    night.look()
    assert get_run_shape(night.desk.core, "r-0009")["reason"] == "handed to n1, 1st there"
    assert get_run_shape(night.desk.core, "r-0002")["reason"] == "handed to n1, 2nd there"


@pytest.mark.parametrize("what", ["fleet", "queue", "node", "drain", "down", "setting"])
def test_a_pause_and_a_drain_take_back(what: str) -> None:
    night = Night(1)
    night.dispatch("r-0001", "r-0002", "r-0003")
    match what:
        case "fleet":
            pause_queue(night.desk.core, None, "audit", "ana")
        case "queue":
            pause_queue(night.desk.core, "any", "audit", "ana")
        case "node":
            inventory.pause(night.desk.core, "n1", "audit", "ana")
        case "drain":
            inventory.drain(night.desk.core, "n1", "audit", "ana")
        case "down":
            inventory.put_halted(night.desk.core, "n1", True)
        case _:
            night.desk.core.rules = replace(night.desk.core.rules, ahead=0)
    night.look()
    assert set(night.asked_back()) == {"r-0002", "r-0003"}
    for run in ("r-0002", "r-0003"):
        night.give_back(run)
    night.look()
    assert set(night.where()) == {"r-0001"}, "and the others wait here, as it is said"


def test_a_stop_reaches_it_and_it_costs_nothing() -> None:
    night = Night(1)
    night.dispatch("r-0001", "r-0002")
    runs_stop.stop_run(night.desk.core, "r-0002", "not today")
    night.look()
    node, job = night.jobs["r-0002"]
    assert any(isinstance(control.body, StopControl) for control in node.controls())
    node.say(job.identity, Revoked(reason="not today"))
    night.desk.turn()
    run = night.run("r-0002")
    assert run.outcome is Outcome.INTERRUPTED
    mine = [e for e in night.desk.rows(BookEntry, run="r-0002") if e.scope.startswith("day:")]
    assert books.sum_entries(mine[0].scope, mine).reserved_usd == 0
    night.desk.check_books()


def test_a_coordinator_that_starts_anew_frees_nothing() -> None:
    night = Night(1)
    night.dispatch("r-0001", "r-0002")
    night.desk.restart()
    for _ in range(4):
        night.look()
    assert night.where() == {"r-0001": "n1", "r-0002": "n1"}
    assert len(night.desk.rows(Lease)) == 2


def test_what_may_not_go_ahead_stays_and_says_why() -> None:
    night = Night(1)
    desk = night.desk
    with desk.ledger.transaction() as tx:
        tx.insert(Workflow("w-0001", 0, "ana", WorkflowKind.RACE, "race", "", None))
    night.dispatch("r-0001", "r-0002", workflow="w-0001")
    night.dispatch("r-0003", terms={"turns": {"idle_ms": 1, "turn_ms": 1}})
    night.dispatch("r-0004", parent="r-0001")
    assert set(night.where()) == {"r-0001"}
    reasons = {name: night.run(name).reason for name in ("r-0002", "r-0003", "r-0004")}
    assert reasons["r-0002"].endswith("in a race the first run to pass wins, and the others are stopped")
    assert reasons["r-0003"].endswith("a session waits for a user's message")
    assert reasons["r-0004"].endswith("run r-0001, which started it, waits for it")


TALK: dict[str, Any] = {"terms": {"turns": {"idle_ms": 1, "turn_ms": 1}}}


def test_what_cannot_wait_there_and_comes_first_has_the_next_slot() -> None:
    """What was taken back for it is not handed over again while it waits."""
    night = Night(1)
    night.dispatch("r-0001", "r-0002", "r-0003", "r-0004")
    night.dispatch("r-0009", priority=5, **TALK)
    night.look()
    assert set(night.asked_back()) == {"r-0002", "r-0003", "r-0004"}
    for run in ("r-0002", "r-0003", "r-0004"):
        night.give_back(run)
    for _ in range(3):
        night.look()
    assert set(night.where()) == {"r-0001"}
    assert night.run("r-0002").reason.endswith("run r-0009 comes first, and cannot wait on the node")
    night.dispatch("r-0010", priority=6)
    assert night.where()["r-0010"] == "n1", "what comes before it is"
    night.end("r-0001")
    night.begin("r-0010")
    night.end("r-0010")
    night.look()
    night.look()
    assert set(night.where()) == {"r-0009", "r-0002", "r-0003", "r-0004"}
    assert not night.jobs["r-0009"][1].ahead and night.jobs["r-0002"][1].ahead


def test_new_work_does_not_overtake_what_cannot_wait_there() -> None:
    night = Night(1)
    night.dispatch("r-0001", "r-0002")
    night.dispatch("r-0003", **TALK)
    night.dispatch("r-0004")
    night.look()
    assert set(night.where()) == {"r-0001", "r-0002"} and night.asked_back() == {}
    night.end("r-0001")
    night.begin("r-0002")
    night.end("r-0002")
    night.look()
    assert night.where()["r-0003"] == "n1" and night.jobs["r-0004"][1].ahead


def test_what_was_handed_over_before_an_older_one_could_begin_comes_back() -> None:
    night = Night(1)
    night.dispatch("r-0001", "r-0002")
    night.dispatch("r-0003", **TALK)
    older = replace(night.run("r-0003"), created_ms=0)
    with night.desk.ledger.transaction() as tx:
        tx.put(older)
    night.desk.restart()
    night.look()
    night.look()
    assert night.asked_back() == {"r-0002": "run r-0003 comes before it"}


def test_a_limit_that_no_ceiling_has_room_for_takes_nothing_back_twice() -> None:
    night = Night(1, ceiling="6.50")
    night.dispatch("r-0001", "r-0002", "r-0003")
    limits = {"wall_ms": 1, "idle_ms": 1, "output_bytes": 1, "usd": "50"}
    night.dispatch("r-0009", priority=5, limits=limits)
    night.look()
    assert set(night.asked_back()) == {"r-0002", "r-0003"}
    for run in ("r-0002", "r-0003"):
        night.give_back(run)
    night.look()
    assert set(night.where()) == {"r-0001"}


def test_a_node_that_knows_nothing_of_it_is_sent_nothing_ahead() -> None:
    night = Night(1)
    night.nodes[0].ahead = 0
    night.look()
    night.dispatch("r-0001", "r-0002")
    assert set(night.where()) == {"r-0001"}
    assert not night.jobs["r-0001"][1].ahead and "ahead" not in night.jobs["r-0001"][1].model_dump()


def test_a_node_that_claims_more_than_its_job_allowed_is_not_believed() -> None:
    night = Night(1)
    night.dispatch("r-0001", "r-0002")
    night.end("r-0001")
    night.begin("r-0002")
    node, job = night.jobs["r-0002"]
    usage = Usage(cost_usd=Decimal(7), cost_source="reported", input_tokens=10)
    node.deliver(job, usage=usage)
    night.desk.turn()
    day = next(b for b in night.desk.rows(Balance) if b.scope.startswith("day:"))
    assert (day.spent_usd, day.disputed_usd, day.reserved_usd) == (Decimal("2.10"), 5, 0)


def test_large_jobs_do_not_fill_redis() -> None:
    night = Night(1)
    night.desk.core.rules = replace(night.desk.core.rules, node_quota=2**20)
    for number in range(6):
        night.dispatch(f"r-000{number}", task="x" * 100_000)
    assert 2 <= len(night.where()) - 1 <= 3, "a quarter of what the node may keep there"


def test_a_nodes_own_ceiling_counts_the_whole_limit() -> None:
    night = Night(1)
    with night.desk.ledger.transaction() as tx:
        tx.put(Setting(f"{CEILING}node:n1", "3", 0, "ana"))
    night.dispatch("r-0001", "r-0002", "r-0003")
    assert set(night.where()) == {"r-0001", "r-0002"}


def test_a_handover_sends_the_rest_and_says_what_stays() -> None:
    night = Night(1)
    night.desk.core.rules = replace(night.desk.core.rules, ahead=1)
    night.dispatch("r-0001", "r-0002", "r-0003", "r-0004")
    night.dispatch("r-0009", require={"os": "plan9"})
    assert set(night.where()) == {"r-0001", "r-0002"}, "so many as the setting says"
    first = hand_over(night.desk.core)
    assert first["at_work"] == 1
    assert [(one["run"], one["node"], one["there"]) for one in first["handed"]] == [
        ("r-0002", "n1", True),
        ("r-0003", "n1", False),
        ("r-0004", "n1", False),
    ]
    assert [one["why"] for one in first["handed"]][1] == "handed to n1, 2nd there"
    assert [(one["run"], one["why"]) for one in first["stays"]] == [("r-0009", "n1 has no label os=plan9")]
    with night.desk.ledger.transaction() as tx:
        tx.insert(Workflow("w-0001", 0, "ana", WorkflowKind.CHAIN, "nightly", "", None))
        tx.put(WorkflowStep("w-0001", 0, "plan", (), {}, state=WorkflowStepState.RUNNING))
        tx.put(WorkflowStep("w-0001", 1, "build", ("plan",), {}))
        tx.insert(Workflow("w-0002", 0, "ana", WorkflowKind.RACE, "race", "", None))
    night.look()
    again = hand_over(night.desk.core)
    assert again["later"] == [{"workflow": "w-0001", "name": "nightly", "steps": 1}]
    assert all(one["there"] for one in again["handed"]) and len(again["handed"]) == 3
    night.look()
    assert night.asked_back() == {}, "what was sent stays there"
