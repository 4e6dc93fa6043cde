"""The work of a step is prepared: no words of an agent in a script."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.pancode.control.workflow.trees import Trees, changed, git
from tests.unit.pancode.control.workflow.world import Flows


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
    flows.begin(git("plan", files=["a"]), build, kind="chain", cwd=str(tmp_path / "shop"))
    flows.claim()
    trees.files["b" * 40] = {"a": b"rm -rf /"}
    flows.end("plan", **changed(trees, "b", answer="; rm -rf /"))
    told = flows.show()["steps"][1]
    assert told["state"] == "refused" and "part of the script of build" in told["reason"]
    assert ".pancode/inputs/plan.md" in told["reason"] and told["runs"] == []
