"""`--verify-on`: another node runs the gates on the result, and its signed word decides the trust in it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import Job
from node_agent.wire.receipt import GateResult
from pancode.fleet import inventory
from pancode.kernel.errors import NotFoundError, RefusedError, UsageError, WorkspaceError
from pancode.kernel.records import Action, ActionKind, EventKind, FeedEvent, Run, Setting
from pancode.kernel.values import replace
from pancode.landing.cross_check import Verifications, request_check
from pancode.landing.judgement import Repositories
from pancode.landing.model import LandWay
from pancode.landing.queue import LandingWish, list_landable
from pancode.landing.service import Lander
from pancode.runs import views as query
from pancode.runs.receipts import service as receipts
from pancode.runs.receipts.trust import ResultTrust, landing_of, read_verified, trusted_on
from pancode.runs.stop import stop_run
from tests.unit.pancode.interfaces.http.world import MemoryStreams
from tests.unit.pancode.runs.test_lost_told import silence
from tests.unit.pancode.runs.world import Desk, Puppet, no_prd

COMMIT = "c" * 40
GIT = {"kind": "git", "repo": "repo-1", "base": None, "snapshot": "a" * 40, "object_format": "sha1"}
GATES = ({"name": "make test", "argv": ["make", "test"]},)


def gate(passed: bool = True) -> tuple[GateResult, ...]:
    return (
        GateResult(
            name="make test", argv=("make", "test"), exit_code=int(not passed), passed=passed, duration_ms=5
        ),
    )


class Pair:
    """A fleet of some nodes, and a run with gates on one of them."""

    def __init__(self, on: str | None = "other", names: tuple[str, ...] = ("n1", "n2"), **run: Any) -> None:
        self.desk = Desk()
        self.nodes = {name: Puppet(self.desk, name) for name in names}
        self.breathe()
        terms = {"verify_on": on} if on is not None else {}
        fields = {"workspace": GIT, "gates": GATES, "terms": terms, "project": "/p", **run}
        with self.desk.ledger.transaction() as tx:  # the gate is not new in its repository
            tx.put(Setting("gates:/p", [[["make", "test"], ""]], 0, "test"))
        self.desk.dispatch(**fields)
        self.desk.depot.commits.add(COMMIT)
        self.desk.turn()
        self.own, job = self.claimed()
        self.answer(self.own, job, commit=COMMIT, change="change", files_changed=("a.txt",), gates=gate())
        self.follow()

    def breathe(self) -> None:
        for node in self.nodes.values():
            node.breathe()

    def claimed(self) -> tuple[str, Job]:
        for name, node in self.nodes.items():
            job = node.claim()
            if job is not None:
                return name, job
        raise AssertionError("no node has a job")

    def answer(self, name: str, job: Job, /, **claims: Any) -> None:
        self.nodes[name].carry_out(job, gates_on="result", **claims)

    def follow(self) -> None:
        """As the coordinator's thread does it."""
        doer = Verifications(self.desk.core)
        for action in self.desk.rows(Action):
            if action.kind is ActionKind.VERIFY:
                doer.do(action.run, lambda: False)
        self.desk.turn()

    def judge(self, agrees: bool) -> str:
        """The other node ends its verification; its name."""
        name, job = self.claimed()
        failed = {"outcome": Outcome.VERIFY_FAILED, "failure": FailureKind.GATE_FAILED, "exit_code": 0}
        told: dict[str, Any] = {} if agrees else {**failed, "reason": "make test failed"}
        self.answer(name, job, gates=gate(passed=agrees), **told)
        self.follow()
        return name

    @property
    def run(self) -> Run:
        found: Run = self.desk.row(Run, "r-0001")
        return found

    def seen(self) -> tuple[ResultTrust, bool]:
        told = read_verified(self.run)
        assert told is not None
        return told.state, told.waits


def test_another_node_agrees() -> None:
    pair = Pair()
    assert pair.seen() == (ResultTrust.PARTLY, True)
    name, job = pair.claimed()
    assert name != pair.own
    assert (job.workspace.snapshot, job.runtime) == (COMMIT, "shell")
    pair.answer(name, job, gates=gate())
    pair.follow()
    told = query.get_run_shape(pair.desk.core, "r-0001")
    assert told["verification"] is not None and told["notes"] == ["gates passed on two nodes"]
    assert told["verification"]["why"] == f"its gates passed on {pair.own} and on {name}"
    assert told["verification"]["receipt"] is not None and not pair.desk.rows(Action)
    events = [
        event.data["status"] for event in pair.desk.rows(FeedEvent) if event.kind is EventKind.RUN_VERIFIED
    ]
    assert events == ["partly", "partly", "verified"]
    pair.desk.check_books()


def test_another_node_sees_a_failure_and_nothing_is_landed() -> None:
    pair = Pair(land=True)
    assert landing_of(pair.run) == {
        "status": "waiting",
        "why": "another node must verify the result first",
    }
    name, job = pair.claimed()
    failed = {"outcome": Outcome.VERIFY_FAILED, "failure": FailureKind.GATE_FAILED, "exit_code": 0}
    pair.answer(name, job, gates=gate(passed=False), reason="make test failed", **failed)
    pair.follow()
    assert pair.seen() == (ResultTrust.DISPUTED, False)
    assert pair.run.landing["status"] == "disputed" and not pair.desk.rows(Action)
    assert query.get_run_shape(pair.desk.core, "r-0001")["notes"] == [
        "gates disputed",
        "not landed: disputed",
    ]


def test_what_is_verified_is_landed_next() -> None:
    pair = Pair(land=True)
    name, job = pair.claimed()
    pair.answer(name, job, gates=gate())
    pair.follow()
    assert [action.kind for action in pair.desk.rows(Action)] == [ActionKind.LAND]


def test_a_stop_meanwhile_calls_the_landing_off() -> None:
    pair = Pair(land=True)
    stop_run(pair.desk.core, "r-0001", "not wanted")
    name, job = pair.claimed()
    pair.answer(name, job, gates=gate())
    pair.follow()
    assert pair.run.landing["status"] == "called off" and not pair.desk.rows(Action)


def test_a_node_that_cannot_judge_leaves_it_as_it_was() -> None:
    pair = Pair()
    name, job = pair.claimed()
    pair.answer(name, job, outcome=Outcome.ERROR, failure=FailureKind.SETUP_FAILED, reason="no make")
    pair.follow()
    told = read_verified(pair.run)
    assert told is not None and told.state is ResultTrust.PARTLY and "could not verify it" in told.why


def test_without_another_node_the_words_are_definite() -> None:
    pair = Pair(require={"os": "linux"}, on=None)
    assert pair.seen() == (ResultTrust.PARTLY, False)
    other = next(name for name in pair.nodes if name != pair.own)
    inventory.change(pair.desk.core, other, lambda node: replace(node, labels={}))
    request_check(pair.desk.core, pair.run, "other", "me")
    pair.follow()
    told = read_verified(pair.run)
    assert told is not None and not told.waits
    assert told.why.endswith(f"no other node can run them: {other} has no label os=linux")


def test_a_user_asks_for_it_later_and_by_name() -> None:
    pair = Pair(on=None)
    other = next(name for name in pair.nodes if name != pair.own)
    with pytest.raises(NotFoundError):
        request_check(pair.desk.core, pair.run, "n9", "me")
    with pytest.raises(UsageError, match="no other node", check=lambda error: error.fix == "--on other"):
        request_check(pair.desk.core, pair.run, pair.own, "me")
    request_check(pair.desk.core, pair.run, other, "me")
    pair.follow()
    with pytest.raises(RefusedError, check=lambda error: error.code == "not_verifiable"):
        request_check(pair.desk.core, pair.run, other, "me")
    name, job = pair.claimed()
    assert name == other
    pair.answer(name, job, gates=gate())
    pair.follow()
    assert pair.seen() == (ResultTrust.VERIFIED, False)


def test_the_other_node_runs_the_gates_of_every_run_of_the_change() -> None:
    """One that fails there and that the run's own node has not run is no dispute, and no verification."""
    lint: dict[str, object] = {"name": "lint", "argv": ["lint"]}
    pair = Pair(on=None)
    run = pair.run
    with pair.desk.ledger.transaction() as tx:
        tx.put(replace(run, id="r-0000", gates=(lint,), result={}))
        tx.put(replace(run, terms={**run.terms, "begins": "r-0000"}))
    request_check(pair.desk.core, pair.run, "other", "me")
    pair.follow()
    name, job = pair.claimed()
    assert [one.name for one in job.gates] == ["make test", "lint"]
    failed = GateResult(name="lint", argv=("lint",), exit_code=1, passed=False, duration_ms=5)
    end = {"outcome": Outcome.VERIFY_FAILED, "failure": FailureKind.GATE_FAILED, "reason": "lint failed"}
    pair.answer(name, job, gates=(*gate(), failed), exit_code=0, **end)
    pair.follow()
    told = read_verified(pair.run)
    assert told is not None and pair.seen() == (ResultTrust.PARTLY, False)
    assert "lint failed" in told.why and not told.in_doubt


def test_a_coordinator_that_died_between_asks_only_once() -> None:
    pair = Pair()
    pair.follow()
    pair.desk.restart()
    pair.breathe()
    pair.follow()
    assert len([run for run in pair.desk.rows(Run) if run.judges == "r-0001"]) == 1


def disputed(**run: Any) -> Pair:
    """Its own node saw the gates pass, the other one saw them fail."""
    pair = Pair(**run)
    pair.judge(False)
    return pair


def test_what_another_node_disputes_or_is_asked_about_is_not_green_and_its_gates_run_anew() -> None:
    pair = Pair()
    core = pair.desk.core
    assert list_landable(core, "/p") == [], "another node is being asked"
    pair.judge(False)
    assert list_landable(core, "/p") == [] and trusted_on(pair.run) == "", "disputed"
    agreed = Pair()
    agreed.judge(True)
    assert [row["run"] for row in list_landable(agreed.desk.core, "/p")] == ["r-0001"]
    assert trusted_on(agreed.run) == agreed.own


def test_a_verification_that_was_lost_and_comes_back_counts() -> None:
    pair = Pair()
    name, job = pair.claimed()
    node = pair.nodes[name]
    node.start(job)
    node.open = [job.identity]
    pair.breathe()
    other: Run = pair.desk.row(Run, job.identity.run)
    with pair.desk.ledger.transaction() as tx:
        tx.put(replace(other, max_attempts=1))
    silence(pair.desk)
    pair.follow()
    told = read_verified(pair.run)
    assert told is not None and (told.state, told.waits) == (ResultTrust.PARTLY, False)
    pair.breathe()
    node.deliver(job, gates=gate())
    pair.desk.turn()
    pair.follow()
    assert pair.seen() == (ResultTrust.VERIFIED, False)


def test_a_dispute_stays_until_a_user_overrides_it_and_is_never_forgotten() -> None:
    pair = Pair(names=("n1", "n2", "n3"))
    core, first = pair.desk.core, pair.judge(False)
    with pytest.raises(RefusedError, match="is disputed") as refused:
        request_check(core, pair.run, "other", "me")
    assert "pancode runs verify r-0001 --again" in refused.value.fix
    with pytest.raises(UsageError, check=lambda error: error.code == "judged_already"):
        request_check(core, pair.run, first, "me", again=True)
    request_check(core, pair.run, "other", "me", again=True)
    pair.follow()
    assert trusted_on(pair.run) == "", "in doubt as long as nobody has agreed"
    second = pair.judge(True)
    assert second not in (first, pair.own) and pair.seen() == (ResultTrust.VERIFIED, False)
    told = query.get_run_shape(core, "r-0001")
    assert (
        told["notes"] == ["gates passed on two nodes", "disputed before"] and told["verification"] is not None
    )
    (earlier,) = told["verification"]["earlier"]
    assert (earlier["state"], earlier["node"]) == ("disputed", first) and earlier["receipt"] is not None
    checks = receipts.verify_run(pair.desk.core, "r-0001", MemoryStreams())["checks"]
    words = [check["what"] for check in checks]
    assert f"{first} disputes the result" in words and f"{second} agrees with the result" in words


def test_where_nobody_else_can_judge_a_dispute_it_stays_one() -> None:
    pair = disputed(land=True)
    request_check(pair.desk.core, pair.run, "other", "me", again=True)
    pair.follow()
    told = read_verified(pair.run)
    assert told is not None and (told.state, told.waits) == (ResultTrust.DISPUTED, False)
    assert "make test failed; asked again: " in told.why and "no other node can run them" in told.why
    assert not pair.desk.rows(Action) and list_landable(pair.desk.core, "/p") == []


def test_where_the_settings_land_what_two_nodes_have_verified_nothing_lands_before() -> None:
    """Neither by itself nor by hand: `dispatch.land: when-verified` with `dispatch.verify_on`."""
    pair = Pair(terms={"verify_on": "other", "land_verified": True}, land=True)
    lander = Lander(pair.desk.core, cast("Repositories", None), no_prd)
    with pytest.raises(WorkspaceError, check=lambda error: error.code == "not_verified"):
        lander.land(pair.run, LandWay("ana"), cast("LandingWish", lambda: True))
    assert not [one for one in pair.desk.rows(Action) if one.kind is ActionKind.LAND]
    pair.judge(agrees=True)
    assert [one.run for one in pair.desk.rows(Action) if one.kind is ActionKind.LAND] == ["r-0001"]
