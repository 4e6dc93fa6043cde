"""A tool that a run proposes: what is sound, what is refused in words, and the trial of its tests."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from node_agent.wire.skill import ProposedTool
from pancode.kernel.errors import UsageError
from pancode.skills.model import SkillFile, made_of
from tests.made_tools import ABOUT, RUN, made, proposal


def said(**changes: object) -> bytes:
    return json.dumps({**ABOUT, **changes}).encode()


def test_a_sound_one_becomes_a_skill_with_a_name_that_nothing_else_has() -> None:
    tool = made(proposal("bash"))
    assert tool.ordered().name == "tool-bash", "it takes no built-in tool's place"
    files = tool.ordered().files()
    assert files["run"] == RUN.encode() and tool.tests == ("two",)
    assert b'description: "Counts the words of a text."' in files["SKILL.md"]
    assert json.loads(files["tool.json"])["input"]["additionalProperties"] is False
    assert tool.ordered().digest == tool.digest != made(proposal(run=b"#!/bin/sh\n")).digest


@pytest.mark.parametrize(
    ("tool", "why"),
    [
        (proposal(tool_json=None), "tool.json"),
        (proposal(tool_json=b"[" * 100_000), "tool.json"),
        (proposal(tool_json=b"[]"), "not a JSON object"),
        (proposal(tool_json=said(about="a\nname: other")), "one line"),
        (proposal(tool_json=said(about="x" * 301)), "one line"),
        (proposal(tool_json=said(seconds=0)), "1 to 120"),
        (proposal(tool_json=said(seconds=True)), "1 to 120"),
        (proposal(tool_json=said(network=True)), "must have only the fields"),
        (proposal(tool_json=said(input={"type": "array"})), "schema of an object"),
        (proposal(tool_json=said(input=None)), "schema of an object"),
        (proposal(tool_json=said(input={"type": "object", "$ref": "http://x"})), "type, properties"),
        (proposal(tool_json=said(input={"type": "object", "properties": {"a": {"type": "rm"}}})), "a is no"),
        (
            proposal(tool_json=said(input={"type": "object", "properties": {"a b": {"type": "string"}}})),
            "a b",
        ),
        (proposal(tool_json=said(input={"type": "object", "required": ["b"]})), "required"),
        (proposal(run=None), "run is missing"),
        (proposal(run=b"echo"), "begin with #!"),
        (proposal(run=b"#!/bin/sh\n\xff"), "not text"),
        (proposal(two_in=None), "1 to 10 tests"),
        (proposal(two_in=b"7"), "not a JSON object"),
        (proposal(two_out=None), "two.out is missing"),
        (proposal("x" * 41), "longer than 40"),
        (proposal().model_copy(update={"digest": "0" * 64}), "does not match its digest"),
    ],
)
def test_one_that_is_not_sound_says_why(tool: ProposedTool, why: str) -> None:
    with pytest.raises(UsageError) as wrong:
        made(tool)
    assert why in wrong.value.why


@pytest.mark.parametrize("path", ["../out", "a/../../b", "/etc/x"])
def test_a_path_that_leads_out_is_refused(path: str) -> None:
    with pytest.raises(UsageError) as wrong:
        made(proposal(more={path: b"x"}))
    assert "outside" in wrong.value.why


def tried(tool: ProposedTool, folder: Path) -> subprocess.CompletedProcess[str]:
    script = made(tool).trial()
    env = {"PATH": os.defpath, "HOME": str(folder)}
    return subprocess.run(["sh", "-eu", "-c", script], cwd=folder, env=env, capture_output=True, text=True)


def test_its_trial_runs_its_tests(tmp_path: Path) -> None:
    good, bad, odd = (tmp_path / name for name in ("good", "bad", "odd"))
    for one in (good, bad, odd):
        one.mkdir()
    assert tried(proposal(), good).stdout == "passed  two\n"
    wrong = tried(proposal(two_out=b"3"), bad)
    assert wrong.returncode == 1 and "FAILED  two" in wrong.stdout and "\n2\n" in wrong.stdout
    quoted = b"#!/bin/sh\necho '$(id) `id` \\ EOF'\nEOF=1\n"
    assert tried(proposal(run=quoted, two_out=b"$(id) `id` \\ EOF"), odd).returncode == 0
    assert (odd / "tool/run").read_bytes() == quoted, "laid to the byte"


def test_programs_read_it_as_a_skill() -> None:
    ordered = made(proposal()).ordered()
    files = {path: SkillFile(data, data.startswith(b"#!")) for path, data in ordered.files().items()}
    skill = made_of(ordered.name, files)
    assert skill.is_sound and skill.digest == ordered.digest
