"""What a landing asks is asked of the whole change, however many runs have made it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.wire.failure import Outcome
from pancode.git.landings import (
    CalledOff,
    Gates,
    LandingGates,
    LandReport,
    LandRequest,
    LandStatus,
    Merged,
    Repositories,
)
from pancode.kernel.errors import UsageError, WorkspaceError
from pancode.kernel.records import Run, RunState
from pancode.kernel.states import How
from pancode.kernel.values import replace
from pancode.kernel.visitors import AccessError, AccessScope, Visitor, set_asker
from pancode.landing import queue
from pancode.landing.judgement import LandingJudge
from pancode.landing.queue import LandingWish
from pancode.landing.rules import require_gates
from pancode.landing.service import Lander
from pancode.runs.receipts.trust import passed_gates
from pancode.runs.request import LandWay
from pancode.runs.whole_changes import change_begins, change_of
from tests.unit.pancode.kernel.test_visitors import TOKEN
from tests.unit.pancode.runs.world import Desk, a_run, no_prd

BASE = "a" * 40


@dataclass(frozen=True, slots=True)
class Act:
    """Something that an agent does to the files. `passing`: a later commit of the same act takes it back."""

    file: str
    secret: bool = False
    passing: bool = False
    broken: bool = False


def gates_of(*texts: str) -> tuple[dict[str, object], ...]:
    return tuple({"name": text, "argv": text.split()} for text in texts)


class Trees:
    """Repositories with one tree, into which everything merges; `tested`: that of the newest run's result.

    `said`: the verdict on it, where the gates are not asked.
    """

    def __init__(self, tested: bool, said: LandingGates | None = None) -> None:
        self.tested, self.said = tested, said

    def into_files(self, project: str, request: LandRequest, gates: Gates, off: CalledOff) -> LandReport:
        gate = self.said or gates(Merged("t" * 40, "t" * 40, (), self.tested))
        failed = LandStatus.HELD if gate.held else LandStatus.GATE_FAILED
        return LandReport(LandStatus.LANDED if gate.ok else failed, conflicts=gate.held, gate=gate)

    def commit_of(self, repo: str, tree: str, base: str | None) -> str:
        return tree

    def offer(self, repo: str, run: str, commit: str, base: str | None) -> None:
        """No node of this world fetches it."""


class Chain:
    """Runs that each continue from the one before them; each has ended as its node would have said."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.runs: list[Run] = []

    def ran(
        self,
        acts: Sequence[Act] = (),
        outcome: Outcome = Outcome.DONE,
        gates: Sequence[str] = (),
        failed: Collection[str] = (),
        **more: Any,
    ) -> Run:
        """`gates`: those of the run; `failed`: those of them that failed, so that its outcome says so."""
        outcome = Outcome.VERIFY_FAILED if {*gates} & {*failed} else outcome
        number, broken = len(self.runs) + 1, [act for act in acts if act.broken]
        rows = [{"secret": "KEY", "file": act.file, "passing": act.passing} for act in acts if act.secret]
        before = self.runs[-1] if self.runs else None
        began = BASE if before is None else before.result.get("commit") or before.workspace["snapshot"]
        links = {} if before is None else {"begins": before.id, "continues": before.id}
        ended = a_run(
            f"r-{number:04d}",
            1,
            Decimal("0.1"),
            workspace={"kind": "git", "repo": "demo-1234", "snapshot": began},
            state=RunState.ENDED,
            outcome=Outcome.POLICY_VIOLATION if broken else outcome,
            reason=f"{broken[0].file} was changed" if broken else "done",
            result={
                "commit": f"{number:040x}" if acts else None,
                "exposed": rows,
                "node": "n1",
                "gates_on": "result",
                "gates": [{**one, "passed": one["name"] not in failed} for one in gates_of(*gates)],
            },
            gates=gates_of(*gates),
            project="/p",
        )
        terms = cast("Any", {**ended.terms, **links, **more.pop("terms", {})})
        ended = replace(ended, terms=terms, **more)
        self.put(ended)
        self.runs.append(ended)
        return ended

    def put(self, run: Run) -> None:
        with self.desk.ledger.transaction() as tx:
            tx.put(run)

    def judged(self, way: LandWay, tested: bool = True, run: Run | None = None) -> LandingGates:
        """The verdict on a landing that is called off as soon as its gates are queued."""
        trees = cast("Repositories", Trees(tested))
        judge = LandingJudge(self.desk.core, trees, run or self.runs[-1], way, lambda: True, no_prd)
        return judge(Merged("t" * 40, "t" * 40, (), tested))

    def asks(self, way: LandWay | None = None, run: Run | None = None) -> set[tuple[str, str]]:
        """What the landing of the newest run asks: each yes, and for which file; of an end: for any."""
        held = self.judged(way or LandWay("ana"), run=run).held
        return {(one.flag, "" if one.flag == "--anyway" else one.path) for one in held}

    def requires(self, way: LandWay | None = None, tested: bool = True) -> list[str]:
        """The gates that run on the merged tree once a user has said yes to all the rest."""
        said = self.judged(replace(way or LandWay("ana"), anyway=True, with_secret=True), tested)
        if said.run is None:
            return []
        judging: Run = self.desk.row(Run, said.run)
        return [str(gate["name"]) for gate in judging.gates]

    def refused(self, way: LandWay) -> str:
        """The code with which the landing of the newest run is refused; empty: it lands."""
        lander = Lander(self.desk.core, cast("Repositories", Trees(tested=True)), no_prd)
        try:
            lander.land(self.runs[-1], way, cast("LandingWish", Wish()))
        except WorkspaceError as error:
            return error.code
        return ""


class Wish:
    """A landing that a user has called off behind its gates."""

    def __call__(self) -> bool:
        return False

    def writes(self, report: object) -> None:
        """Nothing is written in this world."""


SECRET, BROKEN = Act("config.py", secret=True), Act("infra/prod.tf", broken=True)
WAYS = (LandWay("ana"), LandWay("ana", branch="x", how=How.MERGE), LandWay("ana", branch="x", how=How.REBASE))
"""What any caller may ask without an approval: a user, a token, a schedule, a lane, `dispatch.land`."""
YES = st.builds(
    LandWay,
    st.just("ana"),
    gates=st.booleans(),
    with_secret=st.booleans(),
    anyway=st.booleans(),
    without_gates=st.lists(st.sampled_from(["g1", "g2"]), max_size=1).map(tuple),
)
"""What a user may say beside it, or a token with the scope `answer`."""
acts = st.builds(Act, st.sampled_from("abc"), st.booleans(), st.booleans(), st.booleans())


@dataclass(frozen=True, slots=True)
class Part:
    """One run of a change."""

    acts: list[Act]
    gates: frozenset[str]
    failed: frozenset[str]


NAMES = st.frozensets(st.sampled_from(["g1", "g2", "g3"]))
parts = st.builds(Part, st.lists(acts, max_size=2), NAMES, NAMES)


def _ran(chain: Chain, part: Part) -> None:
    chain.ran(part.acts, gates=sorted(part.gates), failed=part.failed)


def _asked(chain: Chain, way: LandWay) -> set[tuple[str, str]]:
    """Everything that the landing asks. A failed gate of the newest run is asked for as a gate that must
    pass, and not as a bad end, as each gate runs again.
    """
    newest = chain.runs[-1]
    failed = newest.id if way.gates and newest.outcome is Outcome.VERIFY_FAILED else ""
    held = [one for one in chain.judged(way).held if one.path != failed]
    ends = {(one.flag, "" if one.flag == "--anyway" else one.path) for one in held}
    passed = {" ".join(argv) for argv in passed_gates(newest)}
    gates = {("gate", name) for name in chain.requires(way) if name not in passed}
    gates |= {("gate on another tree", name) for name in chain.requires(way, tested=False)}
    return ends | gates


@given(st.lists(parts, min_size=1, max_size=4), st.one_of(st.sampled_from(WAYS), YES))
def test_no_split_of_a_change_into_runs_makes_a_landing_ask_less(done: list[Part], way: LandWay) -> None:
    whole, split = Chain(), Chain()
    last = {name: name in part.failed for part in done for name in sorted(part.gates)}
    _ran(
        whole,
        Part(
            [act for part in done for act in part.acts],
            frozenset(last),
            frozenset(name for name, failed in last.items() if failed),
        ),
    )
    for part in done:
        _ran(split, part)
    assert _asked(whole, way) <= _asked(split, way)


@pytest.mark.parametrize("own", [[], ["true"]])
def test_a_later_run_takes_no_gate_away(own: list[str]) -> None:
    """Neither one without gates, as `plan keep` makes, nor one whose only gate is `true`."""
    chain = Chain()
    chain.ran([Act("a")], gates=["sh check.sh"], failed=["sh check.sh"])
    chain.ran(gates=own)
    assert chain.asks() == set()
    assert chain.requires() == chain.requires(tested=False) == [*own, "sh check.sh"]
    assert chain.asks(LandWay("ana", gates=False)) == {("--anyway", "")}
    assert chain.refused(LandWay("ana")) == "gate_failed"


def test_a_node_is_believed_only_where_it_signed_all_the_gates_of_the_change() -> None:
    chain = Chain()
    chain.ran([Act("a")], gates=["lint", "test"])
    chain.ran([Act("b")], gates=["test", "lint"])
    assert chain.requires() == [] and chain.requires(tested=False) == ["test", "lint"]
    chain.ran([Act("c")], gates=["test"])
    assert chain.requires() == ["test", "lint"]


def test_a_landing_says_which_files_of_the_agent_the_gates_judged() -> None:
    chain = Chain()
    chain.ran([Act("a")], gates=["test"], terms={"reads": ("out/model.pt",)})
    said = chain.judged(LandWay("ana"))
    assert said.ok and "and for the agent's out/model.pt, which does not land" in said.detail


def test_gates_that_an_older_node_agent_ran_in_the_agents_place_run_again() -> None:
    chain = Chain()
    run = chain.ran([Act("a")], gates=["test"])
    assert chain.requires() == []
    chain.put(replace(run, result={name: one for name, one in run.result.items() if name != "gates_on"}))
    chain.runs[-1] = replace(run, result={**run.result, "gates_on": None})
    assert chain.requires() == ["test"]


def test_the_set_up_is_that_of_the_runs_whose_gates_are_required() -> None:
    chain = Chain()
    chain.ran([Act("a")], gates=["old"], setup=(("make", "old"),))
    chain.ran([Act("a")], gates=["test"], setup=(("make", "wrong"),))
    newest = chain.ran([Act("a")], gates=["test"], setup=(("make", "new"), ("make", "old")))
    assert require_gates((newest, *chain.runs[1::-1])).setup == (("make", "new"), ("make", "old"))
    without = require_gates((newest, *chain.runs[1::-1]), ["old"])
    assert [one.text for one in without.gates] == ["test"]
    assert [(one.text, one.run) for one in without.left_out] == [("old", "r-0001")]


def test_a_user_withdraws_one_gate_by_its_text_and_the_landing_says_so() -> None:
    chain = Chain()
    chain.ran([Act("a")], gates=["pytset -q"], failed=["pytset -q"])
    chain.ran([Act("a")], gates=["pytest -q"])
    way = LandWay("ana", without_gates=("pytset  '-q'",))
    said = chain.judged(way)
    assert said.ok and said.detail.endswith("no gate ran again; left out, as ana requested: pytset -q")
    assert chain.requires(way, tested=False) == ["pytest -q"]
    judging = chain.desk.rows(Run)[-1]
    assert judging.task == "gates of the landing of r-0002, without pytset -q"
    chain.put(replace(judging, state=RunState.ENDED, outcome=Outcome.DONE, stop_asked=None))
    assert chain.requires(tested=False) == ["pytest -q", "pytset -q"], "that verdict was without this gate"
    both = LandWay("ana", without_gates=("pytset -q", "pytest -q"))
    assert chain.judged(both).detail == "no gates; left out, as ana requested: pytest -q, pytset -q"
    noted = queue.make_landed({"commit": "c" * 40, "files": ["a"], "gate": asdict(said)}, way)
    assert noted.flags == ("without_gate pytset  '-q'",) and "left out" in noted.gates


def test_a_gate_that_nobody_asked_for_is_not_withdrawn() -> None:
    chain = Chain()
    chain.ran([Act("a")], gates=["pytset -q"])
    run = chain.ran([Act("a")], gates=["pytest -q"])
    for text in ("pytest", "it's"):
        with pytest.raises(UsageError) as refused:
            queue.queue_landing(chain.desk.core, run.id, LandWay("ana", without_gates=("pytset -q", text)))
        assert refused.value.code == "unknown_gate" and text in str(refused.value)
        assert "pytset" in refused.value.why
        assert f"pancode land {run.id} --without-gate 'pytset -q'" in refused.value.fix
    queue.queue_landing(chain.desk.core, run.id, LandWay("ana", without_gates=("pytset -q",)))
    (asked,) = queue.list_waiting(chain.desk.core)
    assert queue.way_of(run, asked).without_gates == ("pytset -q",)


def test_a_token_withdraws_a_gate_only_with_the_scope_to_answer() -> None:
    chain = Chain()
    run = chain.ran([Act("a")], gates=["test"])
    lands = (AccessScope.DISPATCH, AccessScope.OPERATE)
    for scopes, refused in ((lands, True), ((*lands, AccessScope.ANSWER), False)):
        with (
            set_asker(Visitor(replace(TOKEN, scopes=scopes), is_confirmed=True)),
            pytest.raises(AccessError) if refused else nullcontext(),
        ):
            queue.queue_landing(chain.desk.core, run.id, LandWay("ci", without_gates=("test",)))


def test_a_failed_gate_of_an_older_run_is_named_with_the_command_that_leaves_it_out() -> None:
    chain = Chain()
    chain.ran([Act("a")], gates=["pytset -q"], failed=["pytset -q"])
    run = chain.ran([Act("a")], gates=["pytest -q"])

    def ends() -> bool:
        """Its gates fail while the landing waits for them, and nobody calls it off."""
        judging = chain.desk.rows(Run)[-1]
        gates = [{**gate, "passed": gate["name"] == "pytest -q"} for gate in judging.gates]
        end = {
            "state": RunState.ENDED,
            "outcome": Outcome.VERIFY_FAILED,
            "reason": "gate pytset -q: exit 127",
        }
        chain.put(replace(judging, result={"gates": gates}, **cast("Any", end)))
        return False

    judge = LandingJudge(
        chain.desk.core, cast("Repositories", Trees(tested=True)), run, LandWay("ana"), ends, no_prd
    )
    said = judge(Merged("t" * 40, "t" * 40, (), tested=True))
    assert "gate pytset -q: exit 127 (pytset -q is a gate of r-0001); see" in said.detail
    lander = Lander(chain.desk.core, cast("Repositories", Trees(tested=True, said=said)), no_prd)
    with pytest.raises(WorkspaceError) as refused:
        lander.land(run, LandWay("ana"), cast("LandingWish", Wish()))
    assert "pancode land r-0002 --without-gate 'pytset -q'" in refused.value.fix


def test_the_change_is_that_of_all_the_runs_for_which_it_answers() -> None:
    """However many there are, and where the newest names the run at whose files it begins and no other."""
    chain = Chain()
    for number in range(120):
        chain.ran([Act(f"{number}.txt")])
    assert change_begins(chain.desk.core, chain.runs[-1]) == BASE
    repaired = chain.ran([Act("z")], terms={"begins": "r-0002", "continues": ""})
    assert change_begins(chain.desk.core, repaired) == BASE
    chain.put(replace(chain.runs[0], landed="f" * 40))
    assert change_begins(chain.desk.core, repaired) == f"{1:040x}"


def test_a_change_that_was_composed_begins_where_its_files_do() -> None:
    chain = Chain()
    chain.ran([Act("a")])
    settled = chain.ran([Act("b")], terms={"begins": "r-0001", "continues": "", "origin": "e" * 40})
    assert change_begins(chain.desk.core, settled) == "e" * 40
    assert change_begins(chain.desk.core, chain.ran([Act("c")])) == "e" * 40


def test_thanks_washes_nothing() -> None:
    chain = Chain()
    chain.ran([SECRET, BROKEN])
    chain.ran()
    assert chain.asks() == {("--with-secret", "config.py"), ("--anyway", "")}
    assert chain.asks(LandWay("ana", with_secret=True)) == {("--anyway", "")}
    assert chain.asks(LandWay("ana", with_secret=True, anyway=True)) == set()


def test_what_has_landed_was_answered_for() -> None:
    chain = Chain()
    first = chain.ran([SECRET, BROKEN])
    chain.put(replace(first, landed="f" * 40))
    chain.ran()
    assert chain.asks() == set()


def test_work_that_was_only_not_finished_is_finished_by_the_next_run() -> None:
    chain = Chain()
    for outcome in (Outcome.INTERRUPTED, Outcome.TIMEOUT, Outcome.BLOCKED, Outcome.BUDGET_EXCEEDED):
        chain.ran([Act("a")], outcome)
    chain.ran([Act("a")])
    assert chain.asks() == set()
    chain.ran([Act("a")], Outcome.TIMEOUT)
    assert chain.asks() == {("--anyway", "")}, "the newest is not done"


def test_gates_that_failed_count_until_gates_have_passed() -> None:
    """Where the landing leaves out the gates; else it requires that they pass."""
    chain, without = Chain(), LandWay("ana", gates=False)
    chain.ran([Act("a")], gates=["lint", "test"], failed=["test"])
    chain.ran([Act("a")])
    assert chain.asks(without) == {("--anyway", "")}
    chain.ran([Act("a")], gates=["lint"])
    assert chain.asks(without) == {("--anyway", "")}, "another gate than the one that failed"
    tested = chain.ran([Act("a")], gates=["test"])
    assert change_of(chain.desk.core, tested)[0].id == tested.id
    chain.ran()
    assert chain.asks(without) == set()


def test_a_step_that_begins_from_several_answers_for_all_of_them() -> None:
    chain = Chain()
    chain.ran([SECRET])
    chain.ran([Act("b", secret=True)], terms={"begins": "", "continues": ""})
    chain.ran([Act("c")], terms={"begins": "r-0002", "takes": ["r-0002", "r-0001"]})
    assert chain.asks() == {("--with-secret", "config.py"), ("--with-secret", "b")}


def test_a_retry_answers_for_what_it_began_with_and_not_for_the_run_in_whose_place_it_is() -> None:
    chain = Chain()
    chain.ran([SECRET])
    chain.ran([Act("b", broken=True)])
    snapshot = chain.runs[-1].workspace
    chain.ran([Act("c")], retry_of="r-0002", workspace=snapshot, terms={"begins": "r-0002"})
    assert chain.asks() == {("--with-secret", "config.py")}


def test_a_secret_on_the_way_counts_where_the_commits_are_kept() -> None:
    chain = Chain()
    chain.ran([Act("a", secret=True, passing=True)])
    assert [chain.asks(way) for way in WAYS] == [set(), *[{("--with-secret", "a")}] * 2]
