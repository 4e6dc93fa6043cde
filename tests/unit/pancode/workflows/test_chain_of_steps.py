"""A chain and a graph: what a step hands on, rounds, failures, stop, resume, retry and races."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.receipt import GateResult
from pancode.kernel.errors import WorkspaceError
from pancode.kernel.records import Run
from pancode.workflows.records import WorkflowStep, WorkflowStepState
from pancode.workflows.results import StepResults
from pancode.workflows.step_work import files_front, step_work, verdict_front
from tests.unit.pancode.workflows.trees import LOOP, Trees, changed, git
from tests.unit.pancode.workflows.world import ERROR, Flows, step


def test_a_step_begins_when_what_it_needs_is_done_and_is_told_its_answer(flows: Flows) -> None:
    flows.begin(
        step("plan", task="plan $INPUT", runtime="scripted"),
        step(
            "build", "plan", task="do {{ steps.plan.answer }} for $ORIGINAL, not $INPUTS", runtime="scripted"
        ),
        kind="chain",
        input="a $ORIGINAL shop",
    )
    assert flows.claim() == ["plan"] and flows.states() == {"plan": "running", "build": "waiting"}
    flows.end("plan", answer="first {{ steps.plan.commit }} then $INPUT")
    assert flows.claim() == ["build"]
    assert flows.runs()["plan"].task == "plan a $ORIGINAL shop"
    task = "do first {{ steps.plan.commit }} then $INPUT for a $ORIGINAL shop, not $INPUTS"
    assert flows.runs()["build"].task == task
    flows.end("build")
    assert flows.show()["state"] == "done"
    flows.check_sums(flows.show()["workflow"])


def test_a_step_begins_from_the_result_of_the_one_that_it_needs(
    flows: Flows, trees: Trees, tmp_path: Path
) -> None:
    long = trees.answers["plan"] = "x" * 5_000_000
    build = git("build", "plan", task="{{ steps.plan.answer }}", runtime="scripted")
    asked = [git("plan"), build, git("check", "build")]
    flows.begin(*asked, kind="chain", cwd=str(tmp_path / "shop"))
    flows.claim()
    flows.end("plan", **changed(trees, "b", answer=long[-4_000:]))
    flows.claim()
    (made,) = trees.composed
    assert (made.origin, made.results) == ("a" * 40, {"plan": "b" * 40})
    assert made.files == {".pancode/inputs/plan.md": long.encode()}
    assert ".pancode/inputs/plan.md" in flows.runs()["build"].task and len(flows.runs()["build"].task) < 200
    flows.end("build", **changed(trees, "c"))
    flows.claim()
    assert trees.composed[1].results == {"build": "c" * 40} and trees.composed[1].origin == "a" * 40
    assert flows.runs()["check"].terms["origin"] == "a" * 40


def test_two_results_that_do_not_go_together_end_the_step(flows: Flows, trees: Trees, tmp_path: Path) -> None:
    steps = [git("a"), git("b"), git("join", "a", "b")]
    flows.begin(*steps, kind="graph", cwd=str(tmp_path / "shop"))
    flows.claim()
    trees.conflict = True
    flows.end("a", **changed(trees, "b"))
    flows.end("b", **changed(trees, "c"))
    told = flows.show()
    assert told["state"] == "failed" and told["steps"][2]["reason"].startswith("merge conflict: a.txt")
    assert told["steps"][2]["outputs"]["conflict"] == ["a.txt"] and told["steps"][2]["run"] is None


def conflicted(flows: Flows, trees: Trees, folder: Path) -> str:
    """A workflow whose last step could not begin; its id."""
    joined = git("join", "a", "b", verify=["sh check.sh"])
    begun = flows.begin(git("a"), git("b"), joined, kind="graph", cwd=str(folder / "shop"))
    flows.claim()
    trees.conflict = True
    flows.end("a", **changed(trees, "b"))
    flows.end("b", **changed(trees, "c"))
    return str(begun["workflow"])


def test_an_agent_settles_a_conflict_between_steps_as_a_step_more(
    flows: Flows, trees: Trees, tmp_path: Path
) -> None:
    """All work had to be paid again: nothing edits a workflow, and no step could settle it."""
    (tmp_path / "pancode.yaml").write_text("dispatch: {runtime: scripted}")
    workflow = conflicted(flows, trees, tmp_path)
    assert f"pancode workflow resume {workflow} --resolve" in flows.show()["steps"][2]["reason"]
    again = flows.world.http.post(f"/v1/workflows/{workflow}/resume", {"resolve": True})
    assert again.status_code == 200, again.text
    flows.advance()
    assert flows.claim() == ["join-merge"]
    merging, run = trees.composed[-1], flows.runs()["join-merge"]
    assert merging.marked and merging.results == {"a": "b" * 40, "b": "c" * 40}
    assert "- a.txt\n" in run.task and run.runtime == "scripted" and not run.gates
    assert "resolves" not in run.terms, "it settles no conflict of a landing"
    trees.files["d" * 40] = {"a.txt": b"both\n"}
    trees.files[str(run.workspace["snapshot"])] = {"a.txt": b"<<<<<<< a\na\n=======\nb\n>>>>>>> b\n"}
    flows.end("join-merge", **changed(trees, "d"))
    assert flows.claim() == ["join"]
    assert trees.composed[-1].results == {"join-merge": "d" * 40} and not trees.composed[-1].marked
    passed = GateResult(name="sh check.sh", argv=("sh", "check.sh"), passed=True, exit_code=0, duration_ms=1)
    flows.end("join", **changed(trees, "e"), gates=(passed,))
    told = flows.show()
    assert told["state"] == "done" and [len(one["runs"]) for one in told["steps"]] == [1, 1, 1, 1]
    refused = flows.world.problem("POST", f"/v1/workflows/{workflow}/resume", {"resolve": True})
    assert refused["code"] == "nothing_to_resume"


def test_a_step_that_settles_takes_no_other_steps_name(flows: Flows, trees: Trees, tmp_path: Path) -> None:
    (tmp_path / "pancode.yaml").write_text("dispatch: {runtime: scripted}")
    joined, named = git("join", "a", "b"), git("join-merge", "a")
    workflow = flows.begin(git("a"), git("b"), joined, named, kind="graph", cwd=str(tmp_path / "shop"))
    flows.claim()
    flows.end("a", **changed(trees, "b"))
    flows.claim()
    flows.end("join-merge", **changed(trees, "d"))
    trees.conflict = True
    flows.end("b", **changed(trees, "c"))
    flows.world.http.post(f"/v1/workflows/{workflow['workflow']}/resume", {"resolve": True})
    flows.advance()
    assert flows.claim() == ["join-merge-4"]
    assert flows.states()["join-merge"] == "done"


@pytest.mark.parametrize(
    ("left", "why"),
    [
        (b"<<<<<<< a\na\n=======\nb\n>>>>>>> b\n", "is unchanged since the conflict began"),
        (b"<<<<<<< a\nx\n=======\nb\n>>>>>>> b\n", "still has conflict markers"),
    ],
)
def test_what_is_not_settled_ends_the_workflow_before_the_next_step(
    flows: Flows, trees: Trees, tmp_path: Path, left: bytes, why: str
) -> None:
    (tmp_path / "pancode.yaml").write_text("dispatch: {runtime: scripted}")
    workflow = conflicted(flows, trees, tmp_path)
    flows.world.http.post(f"/v1/workflows/{workflow}/resume", {"resolve": True})
    flows.advance()
    flows.claim()
    run = flows.runs()["join-merge"]
    trees.files[str(run.workspace["snapshot"])] = {"a.txt": b"<<<<<<< a\na\n=======\nb\n>>>>>>> b\n"}
    trees.files["d" * 40] = {"a.txt": left}
    flows.end("join-merge", **changed(trees, "d"))
    told = flows.show()
    assert told["state"] == "failed" and why in told["steps"][3]["reason"]
    refused = flows.world.problem("POST", f"/v1/workflows/{workflow}/resume", {"resolve": True})
    assert refused["code"] == "no_conflict"
    flows.world.http.post(f"/v1/workflows/{workflow}/resume", {})
    flows.advance()
    assert flows.claim() == ["join-merge"]


def test_a_failed_step_ends_the_rest_and_resume_begins_there(flows: Flows) -> None:
    flows.begin(step("a"), step("b", "a"), step("c", "b"), kind="chain")
    flows.claim()
    flows.end("a")
    flows.claim()
    flows.end("b", **ERROR)
    assert flows.states() == {"a": "done", "b": "failed", "c": "skipped"}
    assert flows.show()["state"] == "failed" and flows.show()["reason"].startswith("b: error")
    assert flows.world.http.post("/v1/workflows/last/resume").status_code == 200
    flows.advance()
    assert flows.claim() == ["b"]
    flows.end("b")
    flows.claim()
    flows.end("c")
    told = flows.show()
    assert told["state"] == "done" and [len(one["runs"]) for one in told["steps"]] == [1, 2, 1]
    assert flows.world.problem("POST", "/v1/workflows/last/resume")["code"] == "nothing_to_resume"
    again = flows.world.http.post("/v1/workflows/last/retry").json()
    assert again["retry_of"] == told["workflow"] and again["steps"][0]["state"] == "pending"


def test_after_a_failure_no_first_step_that_was_held_back_begins(flows: Flows) -> None:
    flows.begin(step("a"), step("b"), step("c", "a", "b"), kind="graph", concurrency=1)
    assert flows.claim() == ["a"]
    flows.end("a", **ERROR)
    assert flows.claim() == [] and flows.runs()["b"].stop_asked == "step a did not succeed"
    assert flows.states() == {"a": "failed", "b": "stopped", "c": "skipped"}
    assert flows.show()["state"] == "failed" and flows.show()["reason"].startswith("a: error")
    flows.check_sums(flows.show()["workflow"])


def test_after_a_failure_what_runs_already_goes_on(flows: Flows) -> None:
    flows.begin(step("a"), step("b"), step("c"), kind="graph", concurrency=2)
    assert flows.claim() == ["a", "b"]
    flows.end("a", **ERROR)
    assert flows.runs()["b"].stop_asked is None and flows.claim() == []
    flows.end("b")
    assert flows.states() == {"a": "failed", "b": "done", "c": "stopped"}
    assert flows.show()["state"] == "failed"


def test_stop_stops_its_runs_and_begins_nothing(flows: Flows) -> None:
    flows.begin(step("a"), step("b", "a"), kind="chain")
    flows.claim()
    assert (
        flows.world.http.post("/v1/workflows/last/stop", {"reason": "enough"}).json()["state"] == "stopping"
    )
    flows.advance()
    assert flows.runs()["a"].stop_asked == "enough" and flows.states() == {"a": "running", "b": "stopped"}
    flows.end("a")
    assert (flows.show()["state"], flows.show()["reason"]) == ("stopped", "enough")


def reviewed(flows: Flows, trees: Trees, letter: str, verdict: bytes) -> None:
    """The builder has changed something, and the reviewer has written its verdict."""
    build, review = letter, chr(ord(letter) + 1)
    assert flows.claim() == ["build"]
    flows.end("build", **changed(trees, build))
    assert flows.claim() == ["review"]
    trees.files[review * 40] = {"verdict.json": verdict}
    flows.end("review", **changed(trees, review))


@pytest.fixture
def loop(flows: Flows, trees: Trees, tmp_path: Path) -> Flows:
    steps = [git("build", task="build it"), git("review", "build", **LOOP)]
    flows.begin(*steps, kind="graph", cwd=str(tmp_path / "shop"))
    return flows


def test_a_round_begins_again_with_the_verdict_until_it_is_approved(loop: Flows, trees: Trees) -> None:
    reviewed(loop, trees, "b", b'{"verdict": "rejected", "why": "no tests"}')
    assert [one["round"] for one in loop.show()["steps"]] == [2, 2]
    reviewed(loop, trees, "d", b'{"verdict": "approved"}')
    assert loop.runs()["build"].task == "build it", "a judge's words are not part of a script"
    again = trees.composed[1]
    assert again.results == {"build": "b" * 40} and b"no tests" in again.files[".pancode/inputs/verdict.json"]
    review = trees.composed[2]
    assert review.without == ("verdict.json",) and review.results == {"build": "d" * 40}
    told = loop.show()
    assert told["state"] == "done" and [len(one["runs"]) for one in told["steps"]] == [2, 2]


def test_an_agent_is_told_what_its_judge_has_said() -> None:
    again = WorkflowStep("w-1", 0, "build", (), {"task": "build it"}, round=2)
    judge = WorkflowStep("w-1", 1, "review", ("build",), {}, most=3, outputs={"verdict": {"why": "no tests"}})
    task = step_work(again, "", {}, verdict_front(again, judge), has_files=True).task
    assert task.startswith("Round 2 of 3. review has judged") and '"no tests"' in task
    assert task.endswith("build it")


def test_the_last_round_without_a_yes_is_a_definite_end(loop: Flows, trees: Trees) -> None:
    reviewed(loop, trees, "b", b'{"verdict": "rejected"}')
    reviewed(loop, trees, "d", b'{"verdict": "rejected"}')
    told = loop.show()
    assert (
        told["state"] == "failed" and "not approved after 2 rounds: verdict is 'rejected'" in told["reason"]
    )
    loop.world.http.post("/v1/workflows/last/resume")
    loop.advance()
    assert loop.claim() == ["build"]


def test_resumed_in_a_later_round_what_is_done_is_not_done_again(loop: Flows, trees: Trees) -> None:
    reviewed(loop, trees, "b", b'{"verdict": "rejected"}')
    loop.claim()
    loop.end("build", **changed(trees, "d"))
    loop.claim()
    loop.end("review", **ERROR)
    loop.world.http.post("/v1/workflows/last/resume")
    loop.advance()
    assert loop.claim() == ["review"] and trees.composed[-1].results == {"build": "d" * 40}
    trees.files["e" * 40] = {"verdict.json": b'{"verdict": "approved"}'}
    loop.end("review", **changed(trees, "e"))
    told = loop.show()
    assert told["state"] == "done" and [one["round"] for one in told["steps"]] == [2, 2]
    assert [len(one["runs"]) for one in told["steps"]] == [2, 3]


def test_resumed_in_a_later_round_it_goes_on_from_its_own_result_with_the_verdict(
    loop: Flows, trees: Trees
) -> None:
    reviewed(loop, trees, "b", b'{"verdict": "rejected", "why": "no tests"}')
    loop.claim()
    loop.end("build", **ERROR)
    loop.world.http.post("/v1/workflows/last/resume")
    loop.advance()
    assert loop.claim() == ["build"]
    again = trees.composed[-1]
    assert again.results == {"build": "b" * 40} and b"no tests" in again.files[".pancode/inputs/verdict.json"]
    assert [one["round"] for one in loop.show()["steps"]] == [2, 2]


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (b"approved", "is not JSON"),
        (b'["approved"]', "not a JSON object"),
        (b"{}", "no field 'verdict'"),
        (b'{"verdict": "maybe"}', "must be one of 'approved', 'rejected'"),
    ],
)
def test_what_is_no_verdict_ends_the_step(loop: Flows, trees: Trees, verdict: bytes, words: str) -> None:
    reviewed(loop, trees, "b", verdict)
    assert words in loop.show()["reason"] and loop.show()["state"] == "failed"


def race(flows: Flows, by: str) -> None:
    paid = (step(name, runtime="scripted", budget="0.10") for name in "abc")
    flows.begin(*paid, kind="race", race={"by": by})
    flows.claim()


def test_the_first_that_is_done_wins_and_the_others_are_stopped_and_paid(flows: Flows) -> None:
    race(flows, "first")
    flows.end("b", **ERROR)
    assert flows.show()["winner"] is None
    flows.end("c")
    assert flows.show()["winner"] == "c" and flows.show()["state"] == "running"
    assert flows.runs()["a"].stop_asked == "c won the race"
    flows.end("a")
    told = flows.show()
    assert (told["state"], told["reason"], told["cost"]["usd"]) == ("done", "c has won", "0.30")


def test_no_winner_is_a_failure(flows: Flows) -> None:
    race(flows, "first")
    for name in "abc":
        flows.end(name, **ERROR)
    assert flows.show()["state"] == "failed" and flows.show()["reason"].startswith("no winner: a: error")


def test_the_smallest_change_wins_when_all_have_ended(flows: Flows, trees: Trees, tmp_path: Path) -> None:
    steps = [git(name) for name in "xyz"]
    flows.begin(*steps, kind="race", race={"by": "smallest"}, cwd=str(tmp_path / "shop"))
    flows.claim()
    for name, letter in zip(
        "xyz", "cbb", strict=True
    ):  # the lines are the number that the commit begins with
        assert flows.show()["winner"] is None
        flows.end(name, **changed(trees, letter))
    assert (flows.show()["winner"], flows.show()["state"]) == ("y", "done")


def test_what_is_given_up_keeps_no_run_that_never_was(flows: Flows) -> None:
    flows.begin(step("a"), kind="chain")
    with flows.coordinator.ledger.transaction() as tx:
        row = tx.find(WorkflowStep)[0]
        ghost: dict[str, Any] = {"run": "r-ghost", "runs": ("r-older", *row.runs, "r-ghost")}
        tx.put(replace(row, state=WorkflowStepState.STARTING, **ghost))
    flows.advancing().give_up(row.workflow, ValueError("so"))
    (left,) = flows.coordinator.rows(WorkflowStep)
    assert (left.state, left.run, left.runs) == ("failed", None, ("r-older", *row.runs))
    assert flows.show()["steps"][0]["runs"] == list(row.runs), "only runs that there are"


SCORED: dict[str, Any] = {"race": {"by": "score", "score": "./bench.sh --quick"}, "kind": "race"}


def test_a_race_by_score_is_won_by_the_highest_number_of_a_receipt(flows: Flows) -> None:
    flows.begin(step("a"), step("b"), step("c"), **SCORED)
    flows.claim()
    assert all(job.score == ("./bench.sh", "--quick") for job in flows.jobs.values())
    flows.end("b", score="10")
    flows.end("a", score="9.5")
    assert flows.show()["winner"] is None, "every racer finishes"
    flows.end("c", findings=("no score: the last line of the output is not a JSON number: 'eleven'",))
    told = flows.show()
    assert (told["state"], told["winner"]) == ("done", "b")
    assert [one["outputs"].get("score") for one in told["steps"]] == ["9.5", "10", None]
    assert "eleven" in told["steps"][2]["outputs"]["problem"]
    flows.check_sums(told["workflow"])


def test_a_score_that_an_older_node_agent_computed_in_the_agents_place_does_not_count(
    flows: Flows,
) -> None:
    flows.begin(step("a"))
    flows.claim()
    (run,), results = flows.coordinator.rows(Run), StepResults(flows.coordinator.core)
    scored = {"score": "11", "commit": "c" * 40}
    assert results.score(replace(run, result={**scored, "gates_on": "result"})) == "11"
    with pytest.raises(WorkspaceError, match="no score") as refused:
        results.score(replace(run, result=scored))
    assert "among the agent's own files" in refused.value.why


def test_a_tie_is_won_by_the_first_that_was_named(flows: Flows) -> None:
    flows.begin(step("a"), step("b"), **SCORED)
    flows.claim()
    flows.end("b", score="7")
    flows.end("a", score="7.0")
    assert flows.show()["winner"] == "a"


def test_without_any_number_nobody_wins(flows: Flows) -> None:
    flows.begin(step("a"), step("b"), **SCORED)
    flows.claim()
    flows.end("a", findings=("no score: the command failed: exit 1",))
    flows.end("b", **ERROR)
    told = flows.show()
    assert (told["state"], told["winner"]) == ("failed", None) and told["reason"].startswith("no winner: ")
    assert flows.world.http.post("/v1/workflows/last/retry").status_code == 201
    assert all(job.score for job in (flows.claim(), flows.jobs)[1].values())


def test_without_a_number_of_those_that_are_done_it_is_said_why(flows: Flows) -> None:
    flows.begin(step("a"), step("b"), **SCORED)
    flows.claim()
    for name in "ab":
        flows.end(name, findings=("no score: the command printed nothing",))
    told = flows.show()
    assert told["state"] == "failed" and "a: no score; the command printed nothing" in told["reason"]


def test_a_task_names_each_file_of_its_step() -> None:
    files = {".pancode/inputs/1.md", ".pancode/inputs/1.diff"}
    assert files_front("look at .pancode/inputs/1.diff", files).endswith("workspace: .pancode/inputs/1.md.")
    assert files_front("read .pancode/inputs/1.md and .pancode/inputs/1.diff", files) == ""
