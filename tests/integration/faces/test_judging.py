"""What becomes of a merged tree: taken on a node's word, judged by a run of its own, or held for a user."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import Job
from node_agent.wire.receipt import Exposed
from node_agent.wire.receipt import GateResult as Signed
from pancode.fleet import inventory
from pancode.git.depot import Depot
from pancode.git.landings import LandingGates, Merged
from pancode.issues.kept_plans import record_plan
from pancode.kernel.records import Decision, Run
from pancode.kernel.states import How
from pancode.kernel.values import replace
from pancode.landing.git.change_store import DepotRepositories
from pancode.landing.judgement import LandingJudge
from pancode.runs.request import LandWay
from tests.crowd import crowded
from tests.integration.faces.conftest import until
from tests.unit.pancode.landing.test_asked import LandingWorld
from tests.unit.pancode.runs.world import failed, no_prd

GATE = {"name": "sh test.sh", "argv": ["sh", "test.sh"]}
PASSED = Signed(
    name="sh test.sh", argv=("sh", "test.sh"), passed=True, exit_code=0, signal=None, duration_ms=1
)


class Judged(LandingWorld):
    """A run that is done, with a gate; its depot has one tree."""

    def __init__(self, folder: Path, **result: Any) -> None:
        super().__init__(land=False, gates=(GATE,), setup=(("sh", "prepare.sh"),))
        self.depot = Depot(folder)
        self.depot.ensure("repo-1")
        self.tree = self.depot.git("repo-1").must("mktree", stdin=b"").text()
        self.end(**{"gates": (PASSED,), "gates_on": "result", "files_changed": (), **result})

    def judged(
        self, *files: str, tested: bool = False, off: Callable[[], bool] = lambda: False, **said: Any
    ) -> LandingGates:
        run = self.coordinator.row(Run, "r-0001")
        judge = LandingJudge(
            self.coordinator.core, DepotRepositories(self.depot), run, LandWay(by="ana", **said), off, no_prd
        )
        return judge(Merged(self.tree, self.tree, files or ("a.txt",), tested))

    def on_a_node(self, tested: bool = False, **told: Any) -> tuple[Job, LandingGates]:
        """Judged by a run, which ends as told."""
        answers: list[LandingGates] = []
        before = len(self.coordinator.rows(Run))
        thread = threading.Thread(target=lambda: answers.append(self.judged(tested=tested)))
        thread.start()
        until(lambda: len(self.coordinator.rows(Run)) > before, "its run is queued")
        self.coordinator.turn()
        job = self.node.carry_out(**told)
        thread.join(20 * crowded())
        return job, answers[0]


def test_the_very_tree_is_taken_on_the_nodes_signed_word(tmp_path: Path) -> None:
    said = Judged(tmp_path).judged(tested=True)
    assert said.ok and "passed on n1, which signed that" in said.detail and said.run is None


@pytest.mark.parametrize(
    "result", [{"gates": ()}, {"gates": (PASSED.model_copy(update={"argv": ("true",)}),)}]
)
def test_other_gates_than_the_runs_own_are_not_its_word(tmp_path: Path, result: dict[str, Any]) -> None:
    world = Judged(tmp_path, **result)
    (held,) = world.judged(tested=True).held
    assert held.flag == "--anyway", "a receipt that contradicts itself ends its run as infra"
    assert "stopped" in world.judged(tested=True, anyway=True, off=lambda: True).detail
    assert len(world.coordinator.rows(Run)) == 2, "it was to be judged anew"


def test_another_tree_is_prepared_and_judged_by_a_run_of_its_own(tmp_path: Path) -> None:
    world = Judged(tmp_path)
    job, said = world.on_a_node(gates=(PASSED,), change="no_change")
    assert (job.runtime, job.argv) == ("shell", ("true",))
    assert job.setup == (("sh", "prepare.sh"),) and [gate.argv for gate in job.gates] == [("sh", "test.sh")]
    assert job.workspace.snapshot == (
        world.depot.git("repo-1")
        .ask("rev-parse", "-q", "--verify", f"refs/pancode/snap/{job.identity.run}")
        .text()
    )
    assert said.ok and "n1" in said.detail and said.run == job.identity.run
    judging = world.coordinator.row(Run, job.identity.run)
    assert (judging.created_by, judging.land, judging.estimate_usd) == ("ana", False, 0)
    told = [one for one in world.coordinator.rows(Decision, run="r-0001") if one.kind == "land"]
    assert job.identity.run in told[0].what
    world.coordinator.check_books()


def test_the_gates_of_every_run_of_the_change_are_judged_with_their_set_up(tmp_path: Path) -> None:
    """Also where the newest run's node signed for this very tree: it signed for its own gate only."""
    world, older = Judged(tmp_path), {"name": "sh old.sh", "argv": ["sh", "old.sh"]}
    run = world.coordinator.row(Run, "r-0001")
    with world.coordinator.ledger.transaction() as tx:
        tx.put(replace(run, id="r-0000", gates=(GATE, older), setup=(("sh", "old-prepare.sh"),)))
        tx.put(replace(run, terms={**run.terms, "begins": "r-0000"}))
    old = PASSED.model_copy(update={"name": "sh old.sh", "argv": ("sh", "old.sh"), "passed": False})
    job, said = world.on_a_node(
        tested=True, **failed(FailureKind.GATE_FAILED, Outcome.VERIFY_FAILED), gates=(PASSED, old)
    )
    assert [gate.argv for gate in job.gates] == [("sh", "test.sh"), ("sh", "old.sh")]
    assert job.setup == (("sh", "prepare.sh"), ("sh", "old-prepare.sh"))
    assert (said.ok, said.failed) == (False, ("sh old.sh",))
    assert "sh old.sh is a gate of r-0000" in said.detail


def test_gates_that_fail_there_say_where_to_look(tmp_path: Path) -> None:
    job, said = Judged(tmp_path).on_a_node(**failed(FailureKind.GATE_FAILED, Outcome.VERIFY_FAILED))
    assert not said.ok and f"pancode logs --stream gates.log {job.identity.run}" in said.detail


def test_one_that_is_called_off_stops_its_run(tmp_path: Path) -> None:
    world = Judged(tmp_path)
    assert not world.judged(off=lambda: True).ok
    (judging,) = [run for run in world.coordinator.rows(Run) if run.id != "r-0001"]
    assert judging.stop_asked is not None and "called off" in judging.stop_asked


def test_files_that_decide_what_runs_next_need_a_yes(tmp_path: Path) -> None:
    world = Judged(tmp_path)
    said = world.judged("a.txt", "test.sh", ".github/workflows/ci.yml", tested=True)
    assert [(one.path, one.flag) for one in said.held] == [
        ("test.sh", "--with-commands"), (".github/workflows/ci.yml", "--with-commands"),
    ]  # fmt: skip
    assert world.judged("test.sh", tested=True, with_commands=True).ok
    assert world.judged("test.sh", with_commands=True, gates=False).ok


def test_a_node_that_takes_no_work_leaves_it_to_another(tmp_path: Path) -> None:
    world = Judged(tmp_path)
    inventory.pause(world.coordinator.core, "n1", "away", "ana")
    world.judged(off=lambda: True)
    (judging,) = [run for run in world.coordinator.rows(Run) if run.id != "r-0001"]
    assert judging.node is None


def test_a_secret_in_the_result_needs_a_yes_of_its_own(tmp_path: Path) -> None:
    world = Judged(tmp_path, exposed=(Exposed(secret="API_KEY", file="config.py"),))
    (held,) = world.judged(tested=True, with_commands=True).held
    assert (held.path, held.why, held.flag) == ("config.py", "contains the secret API_KEY", "--with-secret")
    assert world.judged(tested=True, with_secret=True).ok


def test_a_plan_that_a_user_has_kept_lands_without_another_yes(tmp_path: Path) -> None:
    world = Judged(tmp_path)
    git = world.depot.git("repo-1")
    blob = git.must("hash-object", "-w", "--stdin", stdin=b"the plan\n").text()
    docs = git.must("mktree", stdin=f"100644 blob {blob}\tx-plan.md\n".encode()).text()
    world.tree = git.must("mktree", stdin=f"040000 tree {docs}\tdocs\n".encode()).text()
    (held,) = world.judged("docs/x-plan.md", tested=True).held
    assert held.flag == "--with-commands" and "instructs agents" in held.why
    for text, is_kept in (("the plan\n", True), ("another\n", False)):
        kept = {"docs/x-plan.md": text, "docs/x-plan.questions.md": ""}
        record_plan(world.coordinator.core, "x", kept, "ana")
        assert world.judged("docs/x-plan.md", tested=True).ok is is_kept


@pytest.mark.parametrize("passing", [False, True])
def test_a_search_for_secrets_that_could_not_be_made_needs_the_same_yes(
    tmp_path: Path, passing: bool
) -> None:
    row = Exposed(secret="", file="the result could not be searched for secrets: 1 GiB", passing=passing)
    world = Judged(tmp_path, exposed=(row,))
    kept: dict[str, Any] = {"branch": "x", "how": How.MERGE} if passing else {}
    (held,) = world.judged(tested=True, **kept).held
    assert (held.path, held.why, held.flag) == ("r-0001", row.file, "--with-secret")
    assert world.judged(tested=True, with_secret=True, **kept).ok
    assert world.judged(tested=True).ok is passing, "a commit on the way is kept by a merge alone"
