"""The real Qwen Code, started as the node starts it, against the scripted model server.

What all programs do alike is in test_acts.py. Takes about 10 s in all.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from node_agent.wire.failure import FailureKind as F
from node_agent.wire.identity import TurnTerms
from node_agent.wire.policy import (
    CommandRule,
    Isolation,
    PathAccess,
    PathRule,
    Rules,
    Safety,
    compile_policy,
)
from tests.clis.conftest import MakeBench
from tests.clis.hands import HANDS, call
from tests.clis.launched import QWEN, Bench, names
from tests.fakemodel import FakeModel

pytestmark = pytest.mark.slow

DONE = {"text": "Done: the work is finished.", "usage": {"input": 1200, "output": 34, "cache_read": 500}}
shell = HANDS["qwen"].shell
TERMS = TurnTerms(idle_ms=1, turn_ms=600_000)
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


@pytest.mark.parametrize("terms", [None, TERMS], ids=["headless", "sitting"])
def test_neither_the_repository_nor_the_folders_above_it_tell_it_anything(
    bench: OneBench, tmp_path: Path, terms: TurnTerms | None
) -> None:
    b, _ = bench({"turns": [shell("echo ${THEIRS:-none} ${NODE_OPTIONS:-none} > told"), DONE]})
    hostile(b.work)
    before = names(b.work)
    verdict = b.run(replace(b.request(safety=Safety.FULL_AUTO), sitting=terms))
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


def test_in_a_sitting_it_asks_about_each_command_and_file(bench: OneBench, tmp_path: Path) -> None:
    """Also before commands that only look, and none that begins elsewhere than we judge is let through."""
    elsewhere = call("run_shell_command", command="cat f", directory="${cwd}/sub", is_background=False)
    reads = [HANDS["qwen"].read(f"${{cwd}}/{name}") for name in ("secret.txt", "notes.txt")]
    turns = [*reads, shell("ls sub"), elsewhere, write("${cwd}/../outside/x"), write("${cwd}/.git/x"), DONE]
    b, _ = bench({"turns": turns})
    b.isolation = Isolation.SANDBOX
    (b.work / "secret.txt").write_text("THE-SECRET")
    (b.work / "sub").mkdir()
    (b.work / "sub/f").write_text("IN-ANOTHER-FOLDER")
    paths = (PathRule(pattern="secret.txt", access=PathAccess.NONE),)
    rules = Rules(paths=paths, commands=(CommandRule(pattern="ls sub"),))
    policy = compile_policy(Safety.AUTO_EDIT, False, rules=rules)
    verdict = b.run(replace(b.request("/go"), sitting=TERMS, policy=policy))
    assert verdict.failure is None, verdict.reason
    why = [denial.why for denial in verdict.denials]
    wanted = ("secret.txt", "ls sub", "exact command", "outside", ".git")
    assert [words in one for words, one in zip(wanted, why, strict=True)] == [True] * 5, why
    told = "".join(path.read_text() for path in (tmp_path / "d").iterdir())
    assert "alpha" in told and "THE-SECRET" not in told and "IN-ANOTHER" not in told and "/go" in told
    assert names(b.outside) == [] and not (b.work / ".git/x").exists()
