"""After a restore nothing pending begins by itself, and what nodes did since is booked once."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from node_agent.wire.control import ReportAttempts
from node_agent.wire.event import Refused
from node_agent.wire.failure import FailureKind, JobRefusal, Outcome
from node_agent.wire.identity import Mark
from node_agent.wire.job import Job
from node_agent.wire.node import AttemptReport, AttemptsReport
from node_agent.wire.signing import Envelope, SigningKey, parse_envelope, parse_message
from pancode.app.features import FEATURES
from pancode.budget.books import day_scope
from pancode.kernel.errors import NotFoundError, WorkspaceError
from pancode.kernel.records import (
    Action,
    ActionKind,
    Attempt,
    Balance,
    Run,
    RunState,
    StoredReceipt,
    WaitReason,
)
from pancode.runs.features import HeldThing
from pancode.runs.restored.attempts import NOT_ATTRIBUTED
from pancode.runs.restored.hold import read_hold
from pancode.runs.restored.release import describe_held, release
from pancode.runs.restored.requests import PROOF_MS
from pancode.runs.retention.parts import must_have_changes
from pancode.runs.stop import stop_run
from tests.unit.pancode.runs import world
from tests.unit.pancode.runs.test_restored import backup, restore
from tests.unit.pancode.runs.world import FLEET, Desk, Puppet, entry_of, failed

COMMIT = "c" * 40


class Fleet:
    """A coordinator and one node, whose disk outlives the coordinator's."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.node = Puppet(self.desk)
        self.node.reports = True
        self.done: list[AttemptReport] = []
        self.node.breathe()

    def work(self, run: str, **claims: Any) -> tuple[Job, Envelope]:
        """The node carries out the run, and its receipt is acknowledged."""
        job = self.node.take()
        assert job.identity.run == run
        self.node.start(job)
        receipt = self.node.deliver(job, **claims)
        self.desk.turn()
        self.keep(job, Mark.ACKNOWLEDGED, receipt)
        return job, receipt

    def keep(self, job: Job, mark: Mark, receipt: Envelope | None, key: SigningKey | None = None) -> None:
        """The node's journal has this attempt."""
        order = job.signed(key or self.desk.key).model_dump_json()
        text = None if receipt is None else receipt.model_dump_json()
        self.done.append(AttemptReport(mark=mark, job=order, receipt=text))

    def lose(self, rows: Any, knows_epoch: bool = False) -> None:
        """The coordinator's disk is lost, and a copy is put back."""
        restore(self.desk, rows)
        if not knows_epoch:
            self.desk.epochs.lose()
        self.desk.redis.wipe()
        self.desk.redis.bus().admit_node(self.node.tag, "password")
        self.desk.restart()
        self.node.session = "later"
        self.node.control_seen = 0
        self.node.breathe()

    def answer(self) -> None:
        """The node answers each request for its attempts, one attempt a page."""
        for _ in range(10):
            asked = [one.body for one in self.node.controls() if isinstance(one.body, ReportAttempts)]
            for body in asked[-1:]:
                self._send_page(body)
            self.desk.turn()
            self.node.breathe()

    def _send_page(self, body: ReportAttempts) -> None:
        jobs = [(parse_message(Job, parse_envelope(one.job).body()).identity, one) for one in self.done]
        left = [pair for pair in jobs if body.after is None or str(pair[0]) > str(body.after)]
        page = AttemptsReport(
            fleet=FLEET,
            node=self.node.tag,
            since_ms=body.since_ms,
            after=body.after,
            entries=tuple(entry for _, entry in left[:1]),
            next=left[0][0] if len(left) > 1 else None,
            complete_since_ms=body.since_ms,
        )
        self.node.uplink.send(page.signed(self.node.key).model_dump_json())

    def run(self, name: str = "r-0001") -> Run:
        run: Run = self.desk.row(Run, name)
        return run

    def spent(self, scope: str | None = None) -> Decimal:
        balance = self.desk.row(Balance, scope or day_scope(self.desk.clock.wall_ms()))
        return Decimal(0) if balance is None else balance.spent_usd


def test_what_waited_in_the_copy_and_was_done_since_is_booked_once_and_never_begun() -> None:
    fleet = Fleet()
    fleet.desk.dispatch()
    rows = backup(fleet.desk)
    fleet.node.breathe()
    fleet.work("r-0001")
    assert fleet.run().outcome is Outcome.DONE and fleet.spent() == Decimal("0.10")
    fleet.lose(rows)
    assert fleet.node.claim() is None, "nothing begins by itself"
    assert fleet.run().waits is WaitReason.RESTORED
    fleet.answer()
    fleet.answer()
    assert fleet.run().outcome is Outcome.DONE and fleet.spent() == Decimal("0.10")
    assert fleet.node.claim() is None
    assert len(fleet.desk.rows(StoredReceipt)) == 1 and len(fleet.desk.rows(Attempt)) == 1
    assert describe_held(fleet.desk.core)["held"] == []
    fleet.desk.check_books()


@pytest.mark.parametrize("knows_epoch", [False, True])
def test_nodes_are_asked_from_the_newest_event_of_the_copy_on(knows_epoch: bool) -> None:
    """Also if the restored ledger has led for a while before a node proved that it was restored."""
    fleet = Fleet()
    fleet.desk.dispatch()
    rows, copied_ms = backup(fleet.desk), fleet.desk.clock.wall_ms()
    fleet.desk.clock.advance(3 * 86_400_000)
    fleet.node.breathe()
    job, _ = fleet.work("r-0001")
    fleet.node.journal = [entry_of(job, Mark.ACKNOWLEDGED)]
    fleet.node.slots = 0
    fleet.lose(rows, knows_epoch)
    fleet.node.slots = 1
    fleet.node.breathe()
    fleet.answer()
    with fleet.desk.ledger.transaction() as tx:
        hold = read_hold(tx)
    assert hold is not None and hold.since_ms <= copied_ms


def test_a_run_that_a_user_ended_while_it_was_held_is_paid_when_its_node_reports_it() -> None:
    fleet = Fleet()
    fleet.desk.dispatch()
    fleet.node.breathe()
    fleet.work("r-0001", **failed(FailureKind.PROCESS_VANISHED, Outcome.INFRA))
    rows, before = backup(fleet.desk), fleet.spent()
    assert fleet.run().attempt == 2
    fleet.desk.clock.advance(60_000)
    fleet.node.breathe()
    fleet.work("r-0001")
    fleet.lose(rows)
    stop_run(fleet.desk.core, "r-0001", "a user")
    assert fleet.run().state is RunState.ENDED and fleet.spent() == before
    fleet.answer()
    assert fleet.spent() == before + Decimal("0.10")
    fleet.desk.check_books()


def test_a_job_of_a_run_that_a_user_ended_while_it_was_held_reserves_nothing_once_it_is_refused() -> None:
    fleet = Fleet()
    fleet.desk.dispatch()
    rows = backup(fleet.desk)
    fleet.node.breathe()
    job = fleet.node.take()
    fleet.keep(job, Mark.HELD, None)
    fleet.lose(rows)
    stop_run(fleet.desk.core, "r-0001", "a user")
    fleet.answer()
    (balance,) = (one for one in fleet.desk.rows(Balance) if one.scope.startswith("day:"))
    assert balance.reserved_usd == Decimal("0.75"), "the node may still begin it"
    fleet.node.say(job.identity, Refused(why=JobRefusal.STOPPED, detail="stopped"))
    fleet.desk.turn()
    assert [one.scope for one in fleet.desk.rows(Balance) if one.reserved_usd] == []
    fleet.desk.check_books()


def test_a_run_after_the_copy_is_named_and_booked_once_as_not_attributed() -> None:
    fleet = Fleet()
    rows = backup(fleet.desk)
    for name in ("r-0001", "r-0002"):
        fleet.desk.dispatch(name)
        fleet.node.breathe()
        fleet.work(name)
    fleet.lose(rows)
    for _ in range(2):
        fleet.answer()
        assert fleet.spent(NOT_ATTRIBUTED) == fleet.spent() == Decimal("0.20")
    assert [one.orphan for one in fleet.desk.rows(StoredReceipt)] == [True, True]
    fleet.desk.check_books()


def test_a_held_workflow_says_that_unknown_runs_may_be_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet()
    rows = backup(fleet.desk)
    fleet.desk.dispatch("r-0001")
    fleet.node.breathe()
    fleet.work("r-0001")
    held = HeldThing("w-0001", "chain", "it: b left", 0, lambda by: None, has_steps=True)
    monkeypatch.setattr(world, "FEATURES", replace(FEATURES, held=(lambda core, tx: [held],)))
    fleet.lose(rows)
    fleet.answer()
    (shown,) = describe_held(fleet.desk.core)["held"]
    assert "runs that this ledger lacks cost $0.10: some may be its steps" in shown["nodes"]


def test_where_only_the_receipt_is_left_the_run_says_that_its_change_is_lost() -> None:
    fleet = Fleet()
    workspace = {"kind": "git", "repo": "repo-1", "base": None, "snapshot": "a" * 40}
    fleet.desk.dispatch(workspace=workspace, land="green")
    rows = backup(fleet.desk)
    fleet.node.breathe()
    fleet.desk.depot.commits.add(COMMIT)
    fleet.work("r-0001", commit=COMMIT, change="change", files_changed=("a",))
    assert fleet.run().outcome is Outcome.DONE
    fleet.lose(rows)
    fleet.desk.depot.commits.discard(COMMIT)
    fleet.answer()
    run = fleet.run()
    assert run.outcome is Outcome.DONE and fleet.spent() == Decimal("0.10")
    assert "its change is lost" in str(run.landing["why"])
    assert not [one for one in fleet.desk.rows(Action) if one.kind is ActionKind.LAND]
    with pytest.raises(WorkspaceError, match="were deleted") as refused:
        must_have_changes(run)
    assert "restored" in refused.value.why


def test_a_run_at_work_continues_and_is_not_begun_a_second_time() -> None:
    fleet = Fleet()
    fleet.desk.dispatch()
    rows = backup(fleet.desk)
    fleet.node.breathe()
    job = fleet.node.take()
    fleet.node.start(job)
    fleet.desk.turn()
    fleet.lose(rows)
    fleet.keep(job, Mark.SPAWNED, None)
    fleet.node.journal = [entry_of(job, Mark.SPAWNED)]
    fleet.answer()
    assert fleet.node.claim() is None and fleet.run().lease == job.identity.lease
    fleet.node.events.clear()
    fleet.node.start(job)
    fleet.node.deliver(job)
    fleet.desk.turn()
    assert fleet.run().outcome is Outcome.DONE and fleet.run().attempt == 1
    fleet.desk.check_books()


def test_a_disk_that_was_put_back_whole_is_proven_by_a_node() -> None:
    """Ledger and epoch agree, so only a job tells that they are old."""
    fleet = Fleet()
    fleet.node.slots = 0
    fleet.node.breathe()
    for name in ("r-0001", "r-0002"):
        fleet.desk.dispatch(name)
    rows = backup(fleet.desk)
    fleet.node.slots = 1
    fleet.node.breathe()
    job, _ = fleet.work("r-0001")
    fleet.node.slots = 0
    fleet.node.journal = [entry_of(job, Mark.ACKNOWLEDGED)]
    fleet.lose(rows, knows_epoch=True)
    fleet.node.slots = 1
    fleet.node.breathe()
    assert fleet.node.claim() is None, "nothing begins until the node has proven it"
    fleet.answer()
    assert fleet.run("r-0001").outcome is Outcome.DONE
    assert fleet.run("r-0002").waits is WaitReason.RESTORED and fleet.node.claim() is None


def test_a_node_that_names_a_job_which_nobody_signed_delays_work_for_a_minute_only() -> None:
    fleet = Fleet()
    fleet.desk.dispatch("r-0001")
    fleet.node.breathe()
    job, _ = fleet.work("r-0001")
    forged = job.model_copy(update={"identity": job.identity.model_copy(update={"lease": 2})})
    fleet.done.clear()
    fleet.keep(forged, Mark.ACKNOWLEDGED, None, SigningKey(b"x" * 32))
    fleet.node.journal = [entry_of(forged, Mark.SPAWNED)]
    fleet.desk.dispatch("r-0002")
    fleet.node.breathe()
    fleet.answer()
    assert describe_held(fleet.desk.core)["since"] is None
    fleet.desk.turn(PROOF_MS)
    fleet.node.breathe()
    fleet.node.breathe()
    assert fleet.node.take().identity.run == "r-0002"


def test_what_is_held_is_listed_started_and_dropped_by_name() -> None:
    fleet = Fleet()
    fleet.node.slots = 0
    fleet.node.breathe()
    for name in ("r-0001", "r-0002", "r-0003"):
        fleet.desk.dispatch(name)
    fleet.lose(backup(fleet.desk))
    core = fleet.desk.core
    shown = describe_held(core)
    assert [one["name"] for one in shown["held"]] == ["r-0001", "r-0002", "r-0003"]
    assert "n1 has not answered" in shown["held"][0]["nodes"] and shown["held"][0]["usd"] == "0.75"
    fleet.answer()
    assert describe_held(core)["held"][0]["nodes"] == "no node knows that it was done since"
    with pytest.raises(NotFoundError):
        release(core, ("r-0001", "r-none"), (), "me", all_left=False)
    assert release(core, ("r-0002",), ("r-0003",), "me", all_left=False)["left"] == 1
    assert fleet.run("r-0003").state is RunState.ENDED
    fleet.node.slots = 2
    fleet.node.breathe()
    fleet.work("r-0002")
    assert fleet.node.claim() is None
    release(core, (), (), "me", all_left=True)
    fleet.node.breathe()
    assert fleet.node.take().identity.run == "r-0001"
    fleet.desk.dispatch("r-0004")
    fleet.node.breathe()
    assert fleet.node.take().identity.run == "r-0004", "what is new is not held"
