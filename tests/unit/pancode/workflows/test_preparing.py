"""The work of a step is prepared: no words of an agent in a script."""

from __future__ import annotations

from pathlib import Path

import pytest

from pancode.runs.whole_changes import change_of
from tests.unit.pancode.workflows.trees import Trees, changed, git
from tests.unit.pancode.workflows.world import Flows, step


@pytest.mark.parametrize("task", ["echo {{ steps.plan.answer }}", "echo $INPUT", "{{ steps.plan.files.a }}"])
@pytest.mark.parametrize("said", ["step", "agent", "defaults"])
def test_an_answer_is_no_part_of_a_script_whoever_names_the_shell(
    flows: Flows, trees: Trees, tmp_path: Path, task: str, said: str
) -> None:
    own, usual = ("shell", "claude") if said == "agent" else ("null", "shell")
    (tmp_path / "pancode.yaml").write_text(f"dispatch: {{runtime: {usual}}}")
    agent = f"{{description: d, system_prompt: i, readonly: false, runtime: {own}}}"
    (tmp_path / "panagents.yaml").write_text(f"agents: {{sheller: {agent}}}")
    build = git("build", "plan", task=task)
    if said != "step":
        del build["dispatch"]["runtime"]
        build["dispatch"]["agent"] = "sheller"
    asked = {"kind": "chain", "steps": [git("plan", files=["a"]), build], "cwd": str(tmp_path / "shop")}
    refused = flows.world.problem("POST", "/v1/workflows", asked)
    assert refused["code"] == "stranger_words" and refused["details"] == {"step": "build"}
    assert ".pancode/inputs/plan.md" in refused["fix"] and flows.claim() == []
    assert flows.world.problem("POST", "/v1/workflows", {**asked, "dry_run": True}) == refused


@pytest.mark.parametrize("task", ["echo $ORIGINAL", "echo '$INPUT'", "echo $(echo $ORIGINAL)"])
@pytest.mark.parametrize("needs", [(), ("plan",)])
def test_the_input_of_a_workflow_is_no_part_of_a_script(
    flows: Flows, trees: Trees, tmp_path: Path, task: str, needs: tuple[str, ...]
) -> None:
    """It may come from an issue, or from a model."""
    asked = {"kind": "chain", "steps": [git("plan"), git("build", *needs, task=task)], "input": "$(touch x)"}
    refused = flows.world.problem("POST", "/v1/workflows", {**asked, "cwd": str(tmp_path / "shop")})
    assert refused["code"] == "stranger_words" and flows.claim() == []
    assert refused["fix"].startswith("let the script read .pancode/inputs/")


def test_a_script_that_names_the_file_of_the_input_finds_it(
    flows: Flows, trees: Trees, tmp_path: Path
) -> None:
    plan, build = step("plan"), git("build", "plan", task="cat .pancode/inputs/ORIGINAL.md")
    flows.begin(plan, build, kind="chain", cwd=str(tmp_path / "shop"), input="$(touch x)")
    flows.claim()
    flows.end("plan", answer="")
    (made,) = trees.composed
    assert made.files == {".pancode/inputs/ORIGINAL.md": b"$(touch x)"}
    assert flows.runs()["build"].task == "cat .pancode/inputs/ORIGINAL.md"


def test_a_program_that_becomes_the_shell_meanwhile_gets_no_words_of_an_agent(
    flows: Flows, trees: Trees, tmp_path: Path
) -> None:
    (tmp_path / "pancode.yaml").write_text("dispatch: {runtime: scripted}")
    build = git("build", "plan", task="echo $INPUT")
    del build["dispatch"]["runtime"]
    flows.begin(git("plan"), build, kind="chain", cwd=str(tmp_path / "shop"))
    flows.claim()
    (tmp_path / "pancode.yaml").write_text("dispatch: {runtime: shell}")
    flows.end("plan", **changed(trees, "b", answer="; rm -rf /"))
    told = flows.show()["steps"][1]
    assert told["state"] == "refused" and "part of the script of step build" in told["reason"]
    assert ".pancode/inputs/plan.md" in told["reason"] and told["runs"] == []


def test_a_long_answer_of_a_step_without_a_workspace_is_a_file_of_the_next(
    flows: Flows, trees: Trees, tmp_path: Path
) -> None:
    """It was named in the task, and was not there."""
    plan, build = step("plan"), git("build", "plan", task="$INPUT", runtime="scripted")
    flows.begin(plan, build, kind="chain", cwd=str(tmp_path / "shop"))
    flows.claim()
    long = trees.answers["plan"] = "x" * 5_000
    flows.end("plan", answer=long[-4_000:])
    (made,) = trees.composed
    assert made.files == {".pancode/inputs/plan.md": long.encode()} and made.results == {}
    run = flows.runs()["build"]
    assert ".pancode/inputs/plan.md" in run.task
    assert run.terms["origin"] and flows.claim() == ["build"]


def test_who_needs_a_step_is_handed_its_change_beside_its_answer(
    flows: Flows, trees: Trees, tmp_path: Path
) -> None:
    """A reviewer reads files, and could not see what is new in them, or gone."""
    (tmp_path / "shop").mkdir(exist_ok=True)
    (tmp_path / "pansafety.yaml").write_text("zeroAccessPaths: ['keys/**']")
    steps = [git("plan"), git("build", "plan"), git("review", "plan", "build"), git("after", "review")]
    flows.begin(*steps, kind="chain", cwd=str(tmp_path / "shop"))
    flows.claim()
    flows.end("plan", answer="the plan")
    assert trees.composed[-1].files == {".pancode/inputs/plan.md": b"the plan"}
    flows.claim()
    trees.patches["b" * 40] = {"a": b"-old\n+new\n", "keys/k": b"+the-key\n"}
    flows.end("build", **changed(trees, "b", answer="built"))
    assert trees.composed[-1].files == {
        ".pancode/inputs/plan.md": b"the plan",
        ".pancode/inputs/build.md": b"built",
        ".pancode/inputs/build.diff": b"-old\n+new\n",
    }, "what it may not read it is not shown"
    flows.claim()
    flows.end("review", answer="fine")
    assert trees.composed[-1].files == {".pancode/inputs/review.md": b"fine"}


def test_a_step_begins_from_those_needs_that_no_other_need_goes_on_from(
    flows: Flows, trees: Trees, tmp_path: Path
) -> None:
    steps = [git("a"), git("b", "a"), git("c", "a"), git("join", "a", "b", "c")]
    flows.begin(*steps, kind="graph", cwd=str(tmp_path / "shop"))
    for names in (["a"], ["b", "c"]):
        assert flows.claim() == names
        for name in names:
            flows.end(name, **changed(trees, {"a": "1", "b": "2", "c": "3"}[name]))
    assert flows.claim() == ["join"]
    made = trees.composed[-1]
    assert made.results == {"b": "2" * 40, "c": "3" * 40}
    runs = flows.runs()
    of_all = change_of(flows.coordinator.core, runs["join"])
    assert {run.id for run in of_all} == {run.id for run in runs.values()}, (
        "a landing answers for each of them"
    )
    began = {name: one.began_from for name, one in made.history.items()}
    assert began == {"a": (), "b": ("a",), "c": ("a",)} and next(iter(began)) == "a"
