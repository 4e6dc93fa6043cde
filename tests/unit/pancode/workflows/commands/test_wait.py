"""Waiting for a workflow: each run that ends is one line, once; the status says whether all of it is done."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.interfaces.cli.output import Face
from pancode.interfaces.cli.progress import ProgressRow
from pancode.kernel.errors import ExitCode
from pancode.workflows.commands import wait as waiting
from pancode.workflows.commands.tables import (
    format_counts,
    format_headline,
    format_workflow,
    format_workflows,
)
from pancode.workflows.commands.wait import Results, report_end, under_way
from tests.fakes.api import FakeApi


def step(name: str, state: str, *runs: str, **more: Any) -> Any:
    newest = runs[-1] if runs and state != "waiting" else None
    told: dict[str, Any] = {"needs": [], "outcome": None, "round": 1, "most": 1, "reason": ""}
    told |= {"verdict_file": None, "landing": None, "task": f"do {name}", "answer": ""}
    told |= {"agent": "builder", "node": None}
    return {"name": name, "state": state, "run": newest, "runs": list(runs), **told, **more}


def workflow(state: str, *steps: dict[str, Any], **more: Any) -> Any:
    cost = {"usd": "0.300000000", "unknown": 0, "budget_usd": None}
    times = {"created_at": "2026-11-22T08:30:00.000Z", "finished_at": None}
    names = {"workflow": "w-7f3k2x", "kind": "chain", "name": "review-loop", "reason": "", "winner": None}
    told = {**names, "state": state, "steps": list(steps), "cost": cost, **times, "warnings": [], **more}
    return {"landed": {"asked": 0, "landed": 0, "waiting": 0, "not_landed": 0}, **told}


def ended(**outcomes: str) -> FakeApi:
    """What the coordinator says of each run."""

    def run(path: str, query: object) -> dict[str, Any]:
        name = path.rpartition("/")[2]
        times = {"started_at": "2026-11-22T08:30:00.000Z", "finished_at": "2026-11-22T08:30:02.500Z"}
        outcome = outcomes[name.replace("-", "_")]
        told = {
            "run": name,
            "outcome": outcome,
            "status": outcome,
            "state": "ended",
            "reason": f"{outcome}, because \x1b[31m",
        }
        change = {"commit": "c" * 40, "files_changed": ["a.py"], "answer": f"answer of {name}"}
        told |= {"agent": "builder", "node": "gpubox"}
        return {**told, **times, **change, "usage": {"cost_usd": "0.1"}}

    return FakeApi({"GET /v1/runs/r-*": run})


def told(shapes: list[Any], runs: FakeApi, capsys: pytest.CaptureFixture[str]) -> list[str]:
    face = Face(as_json=False)
    results = Results(face, runs, ProgressRow(face, leaves=True))
    for shape in shapes:
        results.tell(shape)
    return capsys.readouterr().out.splitlines()


def test_each_run_that_ends_is_one_line_also_in_rounds(capsys: pytest.CaptureFixture[str]) -> None:
    shapes = [
        workflow("running", step("build", "running", "r-1"), step("look", "waiting")),
        workflow("running", step("build", "done", "r-1"), step("look", "starting", "r-2", run=None)),
        workflow("running", step("build", "done", "r-1"), step("look", "running", "r-2")),
        workflow("running", step("build", "waiting", "r-1"), step("look", "waiting", "r-2")),
        workflow(
            "running", step("build", "starting", "r-1", "r-3", run=None), step("look", "waiting", "r-2")
        ),
        workflow("running", step("build", "running", "r-1", "r-3"), step("look", "waiting", "r-2")),
        workflow(
            "failed", step("build", "failed", "r-1", "r-3"), step("look", "skipped", reason="build failed")
        ),
    ]
    lines = told(shapes, ended(r_1="done", r_2="done", r_3="error"), capsys)
    assert [line.split()[:3] for line in lines[:3]] == [
        ["build", "done", "r-1"],
        ["look", "done", "r-2"],
        ["build", "error", "r-3"],
    ]
    assert "$0.10" in lines[0] and "2.5 s" in lines[0]
    assert lines[0].endswith("builder on gpubox: do build  -> answer of r-1")
    assert lines[2].endswith("because \\x1b[31m")
    assert lines[3].split() == ["look", "skipped", "build", "failed"]
    assert len(lines) == 4


def test_json_is_one_document_and_no_line_before_it(capsys: pytest.CaptureFixture[str]) -> None:
    face = Face(as_json=True)
    Results(face, ended(), ProgressRow(face, leaves=True)).tell(workflow("done", step("a", "done", "r-1")))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("done", ExitCode.DONE),
        ("partial", ExitCode.PARTIAL),
        ("failed", ExitCode.PARTIAL),
        ("stopped", ExitCode.INTERRUPTED),
    ],
)
def test_the_status_says_whether_all_of_it_is_done(
    state: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended(r_1="done").serves(monkeypatch)
    end = {"finished_at": "2026-11-22T08:31:02.000Z"}
    assert (
        report_end(Face(False), workflow(state, step("a", "done", "r-1"), **end, results=["r-1"])) == status
    )
    out = capsys.readouterr().out
    assert ("answer of r-1" in out) == ("pancode land r-1" in out) == (state == "done")
    assert ("workflow show w-7f3k2x" in out) == (state != "done")


def test_words_name_states_costs_and_what_runs() -> None:
    shape = workflow(
        "running", step("a", "done", "r-1"), step("b", "running", "r-2"), step("c", "waiting", needs=["b"])
    )
    assert format_counts(shape) == "1 of 3 steps done, 1 running, 1 waiting"
    assert under_way(shape).split("  ")[1:] == [
        "w-7f3k2x",
        "1 of 3 steps done, 1 running, 1 waiting:",
        "b (r-2)",
    ]
    shape["cost"] = {"usd": "0.5", "unknown": 1, "budget_usd": "2"}
    assert "$0.50 of $2.00 and 1 run of unknown cost" in format_headline(shape)
    assert "w-7f3k2x" in format_workflows([shape]) and "not ended" in format_workflows([shape])
    assert "c     waiting  b" in format_workflow(shape)
    assert "explore-then-build" in format_workflows([])


@pytest.mark.parametrize("results", [["r-1"], ["r-1", "r-2"], []])
def test_the_result_is_that_of_the_coordinator_and_the_answer_that_of_the_last_step(
    results: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended(r_1="done", r_2="done").serves(monkeypatch)
    steps = (step("build", "done", "r-1"), step("look", "done", "r-2"))
    end = {"finished_at": "2026-11-22T08:31:02.000Z", "results": results}
    report_end(Face(False), workflow("done", *steps, **end))
    out = capsys.readouterr().out
    assert "answer of r-2" in out and "answer of r-1" not in out
    assert [run for run in ("r-1", "r-2") if f"pancode land {run}" in out] == results


def test_a_race_has_the_result_and_the_answer_of_its_winner() -> None:
    steps = (step("a", "done", "r-1"), step("b", "done", "r-2"))
    raced = workflow("done", *steps, winner="a", results=["r-1"])
    result = waiting._result_of(ended(r_1="done", r_2="done"), raced)
    assert result is not None and (result["run"], result["answer"]) == ("r-1", "answer of r-1")


ITEM = {
    "run": "r-1",
    "kind": "question",
    "words": "Which \x1b[31mport?",
    "command": 'pancode answer r-1 "..."',
}


def asking(**more: Any) -> Any:
    asks = step("a", "waiting", "r-1", run="r-1", outcome="blocked")
    return workflow("running", asks, step("b", "waiting", needs=["a"]), inbox=[ITEM], **more)


def test_a_workflow_that_waits_for_a_user_is_waited_for_no_longer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = ended(r_1="blocked").serves(monkeypatch)
    shape: Any = asking(waits_for_person=True)
    monkeypatch.setattr(waiting, "watch_workflow", lambda *_: iter([shape]))
    assert waiting.wait_for(Face(False), client, "w-7f3k2x") == shape
    assert report_end(Face(False), shape) == ExitCode.BLOCKED
    out = capsys.readouterr().out
    assert out.splitlines()[0].split()[:3] == ["a", "blocked", "r-1"]
    assert "w-7f3k2x  chain  review-loop  waits for a user" in out
    assert 'a waits for a user: Which \\x1b[31mport?\n    pancode answer r-1 "..."' in out
    assert "workflow show -f w-7f3k2x" in out and "waits for a user" in format_workflows([shape])


def test_a_question_beside_other_work_is_shown_and_waited_on(monkeypatch: pytest.MonkeyPatch) -> None:
    shape, last = asking(waits_for_person=False), workflow("failed")
    monkeypatch.setattr(waiting, "watch_workflow", lambda *_: iter([shape, last]))
    assert waiting.wait_for(Face(True), ended(), "w-7f3k2x") is last
    assert "running" in format_headline(shape) and 'pancode answer r-1 "..."' in format_workflow(shape)


def landing(status: str, **more: Any) -> Any:
    return {"status": status, "why": f"{status}, because", "fix": "", **more}


def landings(*states: dict[str, Any]) -> Any:
    """A batch that is done, whose landings are so far."""
    names = [one["status"] for one in states]
    landed, waits = names.count("landed"), names.count("waiting")
    count = {"asked": len(names), "landed": landed, "waiting": waits}
    count["not_landed"] = len(names) - landed - waits
    steps = (step(str(n), "done", f"r-{n}", landing=one) for n, one in enumerate(states, start=1))
    return workflow("done", *steps, kind="batch", landed=count, results=[])


def test_a_batch_that_lands_is_waited_for_until_nothing_waits_to_be_landed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ended with status 0, and half of the files were not there."""
    half = landings(landing("landed"), landing("waiting"))
    whole = landings(landing("landed"), landing("landed"))
    runs = ended(r_1="done", r_2="done").serves(monkeypatch)
    monkeypatch.setattr(waiting, "watch_workflow", lambda *_: iter([half, half, whole]))
    assert waiting.wait_for(Face(False), runs, "w-7f3k2x") == whole
    assert capsys.readouterr().err.count("1 of 2 landed, 1 waiting: landing, gates first") == 1
    assert report_end(Face(False), whole) == ExitCode.DONE
    assert "2 of 2 steps done; 2 of 2 landed" in capsys.readouterr().out


def test_what_is_not_landed_is_counted_and_named_with_the_command_that_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    held = landing("held", fix="pancode land --with-commands r-2", yes=["--with-commands"])
    conflict = landing("conflict", fix="pancode land r-3 --resolve")
    shape = landings(landing("landed"), held, conflict, landing("nothing to land"))
    ended().serves(monkeypatch)
    assert report_end(Face(False), shape) == ExitCode.PARTIAL
    out = capsys.readouterr().out
    assert "r-2  held: held, because\n  fix: pancode land --with-commands r-2" in out
    assert "r-3  conflict: conflict, because\n  fix: pancode land r-3 --resolve" in out
    assert "r-1  landed" not in out and "r-4" not in out
    assert report_end(Face(True), shape) == ExitCode.PARTIAL
    assert '"not_landed": 3' in capsys.readouterr().out


def test_each_reason_to_wait_is_said_once_in_a_pipe_too(capsys: pytest.CaptureFixture[str]) -> None:
    """A chain in a paused fleet printed no line for 100 s, and called its step running."""
    face = Face(False)
    reasons = waiting.WaitReasons(face, ProgressRow(face, leaves=True))
    paused = step("a", "pending", "r-1", reason="paused by ann: repairs")
    for shape in (
        workflow("running", step("a", "pending", "r-1", reason="queued")),
        *[workflow("running", paused, step("b", "waiting", needs=["a"]))] * 3,
        workflow("running", paused, step("c", "waiting", reason="waits: the breaker of claude is open")),
    ):
        reasons.tell(shape)
    assert capsys.readouterr().err.splitlines() == [
        "  w-7f3k2x  0 of 2 steps done, 1 pending, 1 waiting; a waits: paused by ann: repairs"
    ]


def test_a_race_that_nobody_has_won_does_not_read_as_done() -> None:
    steps = [step(name, "done", f"r-{name}") for name in "abc"]
    assert format_counts(workflow("failed", *steps, kind="race")) == "3 of 3 steps done, no winner"
    assert format_counts(workflow("done", *steps, kind="race", winner="a")) == "3 of 3 steps done"


def test_a_workflow_shows_task_agent_machine_and_answer_of_each_step() -> None:
    done = step("1", "done", "r-1", task="review src/auth", answer="3 problems", node="gpubox")
    table = format_workflow(
        workflow("running", done, step("2", "waiting", task="review src/api", agent="red-team"))
    )
    rows = [line.split() for line in table.splitlines()[1:]]
    assert rows[1][-7:] == ["r-1", "builder", "gpubox", "review", "src/auth", "3", "problems"]
    assert "red-team" in rows[2] and "src/api" in rows[2]
