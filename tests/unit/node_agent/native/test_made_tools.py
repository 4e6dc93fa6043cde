"""Kept tools in our own worker: offered by name, run where commands run, bounded, never instead of ours."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from node_agent.chat.messages import Call, Result
from node_agent.native.tools.offer import TABLE, Deeds, made_forms
from node_agent.native.voice import Voice
from node_agent.runtimes.native.runtime import launch
from node_agent.runtimes.workerspec import MadeTool, WorkerSpec
from node_agent.wire.clock import SystemClock
from node_agent.wire.policy import Isolation, Safety
from tests.made_tools import made as read
from tests.made_tools import proposal
from tests.unit.node_agent.native.tree_of import box_of, checkout, spec_of
from tests.unit.node_agent.runtimes.asked import ask, place

NAME = "tool-count-words"


def made(folder: Path, run: str, **changes: object) -> MadeTool:
    program = folder / "run"
    program.write_text(run)
    program.chmod(0o700)
    form = json.dumps(read(proposal()).schema)
    tool = MadeTool(name=NAME, about="Counts.", form=form, run=str(program), seconds=5)
    return tool.model_copy(update=changes)


def did(tmp_path: Path, run: str, given: dict[str, object], **changes: object) -> Result:
    box = box_of(spec_of(checkout(tmp_path)))
    box.made = {NAME: made(tmp_path, run, **changes)}
    with open(os.devnull, "wb") as nobody:
        deeds = Deeds(box, Voice(SystemClock(), nobody.fileno()))
        return deeds.do(Call("c", NAME, json.dumps(given)))


def test_it_reads_its_input_and_is_answered_with_its_output(tmp_path: Path) -> None:
    said = did(tmp_path, "#!/bin/sh\ncat; pwd; echo told >&2; exit 3\n", {"text": "a b"})
    assert said.text == f'{{"text": "a b"}}{tmp_path}/top\ntold\n\n[exit 3]'


def test_its_time_its_output_and_its_arguments_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    late = did(tmp_path / "a", "#!/bin/sh\nsleep 600 & sleep 600\n", {"text": ""}, seconds=1)
    assert late.text == "[ended after 1 s]"
    (tmp_path / "b").mkdir()
    loud = did(tmp_path / "b", "#!/bin/sh\nyes\n", {"text": ""})
    assert "left out" in loud.text and len(loud.text) < 20_000
    (tmp_path / "c").mkdir()
    wrong = did(tmp_path / "c", "#!/bin/sh\necho ran\n", {"path": "/etc"})
    assert "tool-count-words" in wrong.text and "ran" not in wrong.text


def test_it_is_offered_by_a_name_that_no_tool_of_ours_has(tmp_path: Path) -> None:
    (form,) = made_forms([made(tmp_path, "")])
    assert form.name not in TABLE and not any(name.startswith("tool-") for name in TABLE)


def given(isolation: Isolation = Isolation.SANDBOX, **asked: object) -> tuple[WorkerSpec, set[str]]:
    skills = (read(proposal()).ordered(),)
    request = ask(**{"model": "m", "tools": ("bash", "read"), "skills": skills, **asked})
    started = launch(request, replace(place(env={"OPENAI_API_KEY": "k"}), isolation=isolation))
    return WorkerSpec.model_validate_json(started.files["native.json"]), set(started.files)


def test_its_files_lie_where_a_sandbox_shows_them_read_only_and_an_agent_that_only_looks_has_none() -> None:
    spec, files = given()
    (tool,) = spec.made
    assert tool.run == f"{spec.home}/pancode/skills/{NAME}/run" and tool.seconds == 5
    assert f"pancode/skills/{NAME}/run" in files
    assert given(read_only=True)[0].made == given(safety=Safety.SUGGEST)[0].made == ()
    assert given(tools=("read",))[0].made == ()
