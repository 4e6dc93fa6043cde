"""The gates of a run on the unchanged tree: which are checked, beside what, and what runs are told."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import Job
from node_agent.wire.receipt import GateResult
from pancode.budget.books import is_day
from pancode.kernel.errors import UsageError, WorkspaceError
from pancode.kernel.records import Action, ActionKind, Audit, Balance, Decision, Run, RunState, WaitReason
from pancode.kernel.values import replace
from pancode.landing.gate_check import ALREADY, HELPS_MS, WAITS, YIELDS, GateChecks
from pancode.runs import views as query
from pancode.runs.lists import Filter, list_runs
from pancode.runs.stop import stop_run
from tests.unit.pancode.runs.world import Desk, Puppet, failed

GIT = {"kind": "git", "repo": "repo-1", "base": None, "snapshot": "a" * 40, "object_format": "sha1"}
TEST, LINT = ("make", "test"), ("make", "lint")
FIRST = {"terms": {"check_first": True}}


def gates(*commands: tuple[str, ...]) -> tuple[dict[str, object], ...]:
    return tuple({"name": " ".join(argv), "argv": list(argv)} for argv in commands)


def ended(passed: bool = True, argv: tuple[str, ...] = TEST) -> dict[str, Any]:
    result = GateResult(
        name=" ".join(argv), argv=argv, exit_code=0 if passed else 2, passed=passed, duration_ms=5
    )
    told = {} if passed else failed(FailureKind.GATE_FAILED, Outcome.VERIFY_FAILED)
    return {**told, "gates": (result,), **({} if passed else {"reason": "gate make test: exit 2"})}


class World:
    """A fleet of one node, on which runs with gates in one repository are dispatched."""

    def __init__(self, slots: int = 4) -> None:
        self.desk = Desk()
        self.node = Puppet(self.desk, "n1", slots)
        self.node.breathe()
        self.checks: list[str] = []
        self.jobs: dict[str, Job] = {}

    def dispatch(self, run: str, **changes: Any) -> Run:
        asked = {"project": "/p", "workspace": GIT, "gates": gates(TEST), "max_attempts": 1, **changes}
        self.desk.dispatch(run, **asked)
        self.follow()
        return self.run(run)

    def follow(self) -> None:
        """As the coordinator's thread does it."""
        self.desk.turn()
        for action in self.desk.rows(Action):
            if action.kind is ActionKind.CHECK_GATES:
                GateChecks(self.desk.core).do(action.run, lambda: False)
        self.desk.turn()
        found = sorted(self.desk.rows(Run), key=lambda run: int(run.created_ms))
        self.checks = [run.id for run in found if run.judges is not None]

    def take(self, run: str) -> None:
        """The node takes jobs until it has that of the run."""
        while run not in self.jobs:
            due = self.node.take()
            self.jobs[due.identity.run] = due

    def end(self, run: str, **claims: Any) -> None:
        """The node carries the run out."""
        self.take(run)
        self.node.carry_out(self.jobs.pop(run), **claims)
        self.follow()

    def breathe(self) -> None:
        """The node says which slots are free."""
        self.node.breathe()
        self.follow()

    def stop_checks(self) -> None:
        """A user stops the checks, and their nodes obey."""
        for check in self.checks:
            if stop_run(self.desk.core, check, "not now").state is not RunState.ENDED:
                self.end(check, **failed(FailureKind.STOPPED, Outcome.INTERRUPTED))
        self.follow()

    def run(self, name: str) -> Run:
        found: Run = self.desk.row(Run, name)
        return found

    def told(self, run: str) -> list[tuple[str, str]]:
        lines = [one for one in self.desk.rows(Decision, run=run) if one.kind == "gate"]
        return [(one.what, one.verdict) for one in lines if one.what != "budget"]


def list_shown(world: World, *, checks: bool = False) -> list[str]:
    return [row["run"] for row in list_runs(world.desk.core, 9, Filter(checks=checks), None).rows]


def test_a_run_whose_gate_is_red_before_says_so_at_its_end() -> None:
    world = World()
    world.dispatch("r-0001")
    (check,) = world.checks
    about = world.run(check)
    assert (about.priority, about.runtime, about.model) == (-1000, "shell", None)
    assert (about.workspace["snapshot"], about.task) == (
        GIT["snapshot"],
        "gates of r-0001 on the unchanged tree",
    )
    world.end(check, **ended(passed=False))
    assert world.run("r-0001").outcome is None
    world.end("r-0001", **ended(passed=False))
    shape = query.get_run_detail(world.desk.core, "r-0001")
    assert (shape["outcome"], shape["reason"]) == ("verify_failed", f"gate make test: exit 2; {ALREADY}")
    assert [gate.get("already_fails") for gate in shape["gates"]] == [True]
    assert world.told("r-0001") == [
        (check, "begun"), (check, "checked"), ("make test", "already fails"),
    ]  # fmt: skip
    assert not world.desk.rows(Action)
    world.desk.check_books()


def test_a_check_is_shown_under_its_run_and_never_as_a_run_of_a_user() -> None:
    world = World()
    world.dispatch("r-0001")
    (check,) = world.checks
    assert world.run(check).created_ms > world.run("r-0001").created_ms, "the time is its own"
    world.end(check, **ended(passed=False))
    world.end("r-0001", **ended())
    assert list_shown(world) == ["r-0001"] and list_shown(world, checks=True) == [check, "r-0001"]
    (shown,) = query.get_run_detail(world.desk.core, "r-0001")["checks"]
    assert (shown["run"], shown["status"], shown["judges"]) == (check, "gate_failed", "r-0001")
    assert "ended: verify_failed" not in [one.what for one in world.desk.rows(Audit, level="error")]
    assert [outcome for outcome, _, _ in world.desk.core.live.tally.ended] == ["done"]
    (day,) = [one for one in world.desk.rows(Balance) if is_day(one.scope)]
    assert (day.runs, day.tokens) == (1, 20), "what both have used"
    world.desk.check_books()


@pytest.mark.parametrize("too_late", ("after a while", "after a decision"))
def test_a_check_does_not_begin_when_its_answer_helps_nobody(too_late: str) -> None:
    world = World(slots=1)
    world.dispatch("r-0001")
    world.take("r-0001")
    world.node.carry_out(world.jobs.pop("r-0001"), **ended(passed=False))
    world.desk.turn()
    assert world.run("r-0001").outcome is Outcome.VERIFY_FAILED
    if too_late == "after a while":
        world.desk.clock.ms += HELPS_MS
    else:
        dropped = replace(world.run("r-0001"), landing={"status": "dropped"})
        with world.desk.ledger.transaction() as tx:
            tx.put(dropped)
    world.breathe()
    assert not world.checks and not world.desk.rows(Action)


def test_a_check_that_ends_after_the_run_tells_it_then() -> None:
    world = World(slots=1)
    world.dispatch("r-0001")
    world.end("r-0001", **ended(passed=False))
    assert world.run("r-0001").reason == "gate make test: exit 2"
    world.node.breathe()
    world.end(world.checks[0], **ended(passed=False))
    assert world.run("r-0001").reason == f"gate make test: exit 2; {ALREADY}"
    assert world.told("r-0001")[-1] == ("make test", "already fails")


def test_a_gate_that_passed_once_is_not_checked_again() -> None:
    world = World()
    world.dispatch("r-0001")
    world.end("r-0001", **ended())
    world.dispatch("r-0002")
    assert len(world.checks) == 1
    world.end("r-0002", **ended(passed=False))
    assert world.run("r-0002").reason == "gate make test: exit 2"
    world.stop_checks()
    world.breathe()
    world.dispatch("r-0003", project="/elsewhere")
    world.dispatch("r-0004", gates=gates(TEST, LINT))
    assert [world.run(one).judges for one in world.checks] == ["r-0001", "r-0003", "r-0004"]


def test_a_repository_has_one_check_at_a_time() -> None:
    world = World(slots=8)
    world.dispatch("r-0001")
    world.dispatch("r-0002", gates=gates(LINT))
    world.dispatch("r-0003", gates=gates(LINT), **FIRST)
    assert [world.run(one).judges for one in world.checks] == ["r-0001"]
    world.end(world.checks[0], **ended())
    world.follow()
    assert [world.run(one).judges for one in world.checks] in (["r-0001", "r-0002"], ["r-0001", "r-0003"])


def test_a_check_delays_no_work() -> None:
    world, tests = World(slots=1), {f"r-000{number}": (f"test {number}",) for number in range(1, 4)}
    for run, gate in tests.items():
        world.dispatch(run, gates=gates(gate))
    assert not world.checks and world.run("r-0003").waits is WaitReason.NO_SLOT
    for run, gate in tests.items():
        assert not world.checks, "the slot is for those that wait"
        world.end(run, **ended(False, gate))
        world.breathe()
    (check,) = world.checks
    world.take(check)
    world.dispatch("r-0004", gates=())
    world.follow()
    assert world.run("r-0004").waits is WaitReason.NO_SLOT and world.run(check).stop_asked == YIELDS
    world.end(check, **failed(FailureKind.STOPPED, Outcome.INTERRUPTED))
    world.breathe()
    assert world.run("r-0004").waits is not WaitReason.NO_SLOT and world.checks == [check]
    world.end("r-0004")
    world.breathe()
    assert len(world.checks) == 2


def test_runs_that_begin_meanwhile_share_one_check() -> None:
    world = World()
    world.dispatch("r-0001")
    world.dispatch("r-0002")
    (check,) = world.checks
    world.end("r-0002", **ended(passed=False))
    assert world.run("r-0002").reason == "gate make test: exit 2"
    world.end(check, **ended(passed=False))
    assert world.run("r-0002").reason == f"gate make test: exit 2; {ALREADY}"
    world.end("r-0001", **ended(passed=False))
    assert world.run("r-0001").reason == f"gate make test: exit 2; {ALREADY}"
    assert world.checks == [check]


def test_a_gate_that_failed_is_checked_again_on_another_commit() -> None:
    world = World()
    world.dispatch("r-0001")
    world.end(world.checks[0], **ended(passed=False))
    world.dispatch("r-0002", workspace={**GIT, "snapshot": "b" * 40})
    assert len(world.checks) == 1
    world.dispatch("r-0003", workspace={**GIT, "base": "c" * 40})
    assert [world.run(one).judges for one in world.checks] == ["r-0001", "r-0003"]


def test_a_run_that_waits_for_the_check_ends_before_its_agent_begins() -> None:
    world = World()
    waits = world.dispatch("r-0001", **FIRST)
    assert (waits.state, waits.waits, waits.reason) == (RunState.PENDING, WaitReason.GATES, WAITS)
    world.end(world.checks[0], **ended(passed=False))
    run = world.run("r-0001")
    assert (run.outcome, run.failure, run.lease) == (Outcome.VERIFY_FAILED, FailureKind.GATE_FAILED, 0)
    assert run.reason == (
        f"gate make test: exit 2; {ALREADY}: fix it first, or skip the gates with --no-verify"
    )
    world.desk.check_books()


def test_a_run_that_waits_for_the_check_begins_when_its_gates_pass() -> None:
    world = World()
    world.dispatch("r-0001")
    world.end("r-0001", **ended())
    world.stop_checks()
    world.dispatch("r-0002", **FIRST)  # the tree may have changed since the gate passed
    assert world.run(world.checks[-1]).judges == "r-0002"
    world.end(world.checks[-1], **ended())
    assert world.node.take().identity.run == "r-0002"


@pytest.mark.parametrize("how", ("stopped", "no commit"))
def test_a_check_without_a_verdict_is_repeated_at_the_next_use(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()

    def is_gone(run: str, snapshot: object) -> None:
        raise WorkspaceError("the snapshot is gone", fix="dispatch again")

    with monkeypatch.context() as patched:
        if how == "no commit":
            patched.setattr(world.desk.depot, "begin_at", is_gone)
        world.dispatch("r-0001", **FIRST)
    world.stop_checks()
    assert world.run("r-0001").reason.startswith("its gates were not checked: ")
    known = len(world.checks)
    world.dispatch("r-0002")
    assert len(world.checks) == known + 1


@pytest.mark.parametrize(
    "changes",
    [
        {"project": None, "workspace": {"kind": "none"}},
        {"terms": {"check_first": True, "begins": "r-0000"}},
        {"terms": {"check_first": True, "turns": {"idle_ms": 1}}},
        {"gpus": "1"},
        {"terms": {"check_first": True, "asks": "dispatch"}},
    ],
)
def test_a_run_cannot_wait_for_a_check_that_is_not_possible(changes: dict[str, Any]) -> None:
    world = World()
    with pytest.raises(UsageError) as refused:
        world.dispatch("r-0001", **{**FIRST, **changes})
    assert refused.value.code == "uncheckable_gates" and not world.desk.rows(Run)
