"""What a landing asks is asked of the whole change, however many runs have made it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from node_agent.wire.failure import Outcome
from pancode.kernel.records import Run, RunState
from pancode.kernel.values import replace
from pancode.landing.judgement import LandingJudge, Repositories
from pancode.landing.model import How, LandWay, Merged
from pancode.workflows.results import change_begins, change_of
from tests.unit.pancode.runs.world import Desk, a_run, no_prd

GATES = ({"name": "test", "argv": ["test"]},)
BASE = "a" * 40


@dataclass(frozen=True, slots=True)
class Act:
    """Something that an agent does to the files. `passing`: a later commit of the same act takes it back."""

    file: str
    secret: bool = False
    passing: bool = False
    broken: bool = False


class Chain:
    """Runs that each go on from the one before them; each has ended as its node would have said."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.runs: list[Run] = []

    def ran(self, acts: Sequence[Act] = (), outcome: Outcome = Outcome.DONE, **more: Any) -> Run:
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
            result={"commit": f"{number:040x}" if acts else None, "exposed": rows},
        )
        terms = cast("Any", {**ended.terms, **links, **more.pop("terms", {})})
        ended = replace(ended, terms=terms, **more)
        self.put(ended)
        self.runs.append(ended)
        return ended

    def put(self, run: Run) -> None:
        with self.desk.ledger.transaction() as tx:
            tx.put(run)

    def asks(self, way: LandWay | None = None, run: Run | None = None) -> set[tuple[str, str]]:
        """What the landing of the newest run asks: each yes, and for which file; of an end: for any."""
        judge = LandingJudge(
            self.desk.core,
            cast("Repositories", None),
            run or self.runs[-1],
            way or LandWay("ana"),
            lambda: False,
            no_prd,
        )
        held = judge(Merged("t" * 40, "t" * 40, (), tested=True)).held
        return {(one.yes, "" if one.yes == "--anyway" else one.path) for one in held}


SECRET, BROKEN = Act("config.py", secret=True), Act("infra/prod.tf", broken=True)
WAYS = (LandWay("ana"), LandWay("ana", branch="x", how=How.MERGE), LandWay("ana", branch="x", how=How.REBASE))
acts = st.builds(Act, st.sampled_from("abc"), st.booleans(), st.booleans(), st.booleans())


@given(st.lists(st.tuples(acts, st.booleans()), max_size=6), st.sampled_from(WAYS))
def test_no_split_of_a_change_into_runs_makes_a_landing_ask_less(
    done: list[tuple[Act, bool]], way: LandWay
) -> None:
    whole, split, part = Chain(), Chain(), list[Act]()
    whole.ran([act for act, _ in done])
    for act, ends in done:
        part.append(act)
        if ends:
            split.ran(part)
            part = []
    split.ran(part)
    assert whole.asks(way) <= split.asks(way)


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
    chain = Chain()
    chain.ran([Act("a")], Outcome.VERIFY_FAILED, gates=GATES)
    chain.ran([Act("a")])
    assert chain.asks() == {("--anyway", "")}
    tested = chain.ran([Act("a")], gates=GATES)
    assert change_of(chain.desk.core, tested)[0].id == tested.id
    chain.ran()
    assert chain.asks() == set()


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
