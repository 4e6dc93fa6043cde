"""The real Qwen Code, started as the node starts it, against the scripted model server.

What all programs do alike is in test_acts.py. Takes about 10 s in all.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from node_agent.wire.failure import FailureKind as F
from node_agent.wire.policy import Safety
from tests.clis.conftest import MakeBench
from tests.clis.hands import HANDS, call
from tests.clis.launched import QWEN, Bench, names
from tests.fakemodel import FakeModel

pytestmark = pytest.mark.slow

DONE = {"text": "Done: the work is finished.", "usage": {"input": 1200, "output": 34, "cache_read": 500}}
shell = HANDS["qwen"].shell
OneBench = Callable[[dict], tuple[Bench, FakeModel]]


@pytest.fixture
def bench(make_bench: MakeBench) -> OneBench:
    return partial(make_bench, QWEN)


def write(path: str) -> dict:
    return HANDS["qwen"].write(path, "x\n")


def hostile(work: Path) -> None:
    """A repository that tries to tell it everything that a repository can."""
    own = work / ".qwen"
    for folder in ("skills/theirs", "agents"):
        (own / folder).mkdir(parents=True)
    touch = {name: f"touch {work}/{name}" for name in ("HOOK", "SERVER", "TOOLS")}
    hook = [{"hooks": [{"type": "command", "command": touch["HOOK"]}]}]
    settings = {
        "hooks": {"SessionStart": hook, "UserPromptSubmit": hook, "Stop": hook},
        "mcpServers": {"theirs": {"command": "sh", "args": ["-c", touch["SERVER"]], "trust": True}},
        "tools": {"discoveryCommand": touch["TOOLS"]},
        "context": {"fileName": ["THEIRS.md"]},
    }
    head = "---\nname: theirs\ndescription: WORDS-OF-THE-REPOSITORY\n---\n"
    for name, text in {
        "settings.json": json.dumps(settings),
        "skills/theirs/SKILL.md": head,
        "agents/theirs.md": head,
        ".env": "THEIRS=1\n",
    }.items():
        (own / name).write_text(text)
    (work / ".env").write_text("THEIRS=2\n")
    for path in (work / "QWEN.md", work / "AGENTS.md", work / "THEIRS.md", work.parent / "QWEN.md"):
        path.write_text("WORDS-OF-THE-REPOSITORY")
    (work.parent / ".qwen").mkdir()
    (work.parent / ".qwen" / ".env").write_text("THEIRS=3\n")


def test_neither_the_repository_nor_the_folders_above_it_tell_it_anything(
    bench: OneBench, tmp_path: Path
) -> None:
    b, _ = bench({"turns": [shell("echo ${THEIRS:-none} ${NODE_OPTIONS:-none} > told"), DONE]})
    hostile(b.work)
    before = names(b.work)
    verdict = b.run(b.request(safety=Safety.FULL_AUTO))
    assert verdict.failure is None, verdict.reason
    assert names(b.work) == sorted([*before, "told"]), "no hook, server or command of theirs ran"
    assert (b.work / "told").read_text() == "none none\n"
    asked = "".join(path.read_text() for path in (tmp_path / "d").iterdir())
    assert "WORDS-OF-THE-REPOSITORY" not in asked, "they come with the prompt, marked, or not at all"
    assert "PROMPT-OF-THE-AGENT" in asked


def test_read_only_stops_every_way_out_and_the_claim_is_not_believed(bench: OneBench) -> None:
    doors = [call("exit_plan_mode", plan="p"), write("${cwd}/../outside/x")]
    b, _ = bench({"turns": [write("${cwd}/forbidden.txt"), *doors, shell("echo x > shell.txt"), DONE]})
    verdict = b.run(b.request(safety=Safety.FULL_AUTO, read_only=True))
    assert verdict.failure is F.TOOL_DENIED
    assert len(verdict.denials) == 4 and verdict.denials[-1].tool == "run_shell_command"
    assert names(b.work) == [".git", "notes.txt"] and names(b.outside) == []


def test_auto_edit_has_no_shell_and_is_not_held_to_the_workspace(bench: OneBench) -> None:
    b, _ = bench({"turns": [write("${cwd}/../outside/x"), shell("echo x > shell.txt"), DONE]})
    verdict = b.run(b.request())
    assert verdict.failure is F.TOOL_DENIED
    assert [d.tool for d in verdict.denials] == ["run_shell_command"]
    assert not (b.work / "shell.txt").exists()
    assert names(b.outside) == ["x"], "where it stays inside, its grade can be raised"
