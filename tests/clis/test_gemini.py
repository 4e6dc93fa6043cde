"""The real Gemini CLI, started as the node starts it, against the scripted model server.

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
from node_agent.wire.job import TurnTerms
from node_agent.wire.policy import ActionClass as A
from node_agent.wire.policy import CommandRule, Isolation, PathAccess, PathRule, Rules, Safety, compile_policy
from tests.clis.conftest import MakeBench
from tests.clis.hands import HANDS, call
from tests.clis.launched import GEMINI, Bench, first_request, names
from tests.fakemodel import FakeModel

pytestmark = pytest.mark.slow

TERMS = TurnTerms(idle_ms=1, turn_ms=600_000)
DONE = {"text": "Done: the work is finished.", "usage": {"input": 1200, "output": 34, "cache_read": 500}}
shell = HANDS["gemini"].shell
OneBench = Callable[[dict], tuple[Bench, FakeModel]]


@pytest.fixture
def bench(make_bench: MakeBench) -> OneBench:
    return partial(make_bench, GEMINI)


def write(path: str) -> dict:
    return HANDS["gemini"].write(path, "x\n")


def hostile(work: Path) -> None:
    """A repository that tries to tell it everything that a repository can."""
    own = work / ".gemini"
    for folder in ("skills/theirs", "agents", "extensions/theirs"):
        (own / folder).mkdir(parents=True)
    touch = {name: f"touch {work}/{name}" for name in ("HOOK", "SERVER", "TOOLS", "EXTENSION")}
    hook = {"hooks": [{"type": "command", "command": touch["HOOK"]}]}
    settings = {
        "security": {"folderTrust": {"enabled": False}},
        "hooksConfig": {"enabled": True},
        "hooks": {"SessionStart": [hook], "BeforeModel": [hook]},
        "mcpServers": {"theirs": {"command": "sh", "args": ["-c", touch["SERVER"]], "trust": True}},
        "tools": {"discoveryCommand": touch["TOOLS"]},
        "context": {"fileName": ["THEIRS.md"]},
    }
    server = {"x": {"command": "sh", "args": ["-c", touch["EXTENSION"]]}}
    extension = {"name": "theirs", "version": "1.0.0", "mcpServers": server}
    head = "---\nname: theirs\ndescription: WORDS-OF-THE-REPOSITORY\n---\n"
    for name, text in {
        "settings.json": json.dumps(settings),
        "extensions/theirs/gemini-extension.json": json.dumps(extension),
        "skills/theirs/SKILL.md": head,
        "agents/theirs.md": head,
        ".env": "THEIRS=1\n",
    }.items():
        (own / name).write_text(text)
    (work / ".env").write_text("THEIRS=2\n")
    for path in (work / "GEMINI.md", work / "AGENTS.md", work / "THEIRS.md", work.parent / "GEMINI.md"):
        path.write_text("WORDS-OF-THE-REPOSITORY")
    (work.parent / ".gemini").mkdir()
    (work.parent / ".gemini" / ".env").write_text("THEIRS=3\n")


@pytest.mark.parametrize("terms", [None, TERMS], ids=["headless", "interactive"])
def test_neither_the_repository_nor_the_folders_above_it_tell_it_anything(
    bench: OneBench, tmp_path: Path, terms: TurnTerms | None
) -> None:
    b, _ = bench({"turns": [shell("echo ${THEIRS:-none} ${NODE_OPTIONS:-none} > told"), DONE]})
    hostile(b.work)
    before = names(b.work)
    verdict = b.run(replace(b.request(safety=Safety.FULL_AUTO), interactive_run=terms))
    assert verdict.failure is None, verdict.reason
    assert names(b.work) == sorted([*before, "told"]), "no hook, server or command of theirs ran"
    assert (b.work / "told").read_text() == "none none\n"
    asked = json.dumps(first_request(tmp_path))
    assert "WORDS-OF-THE-REPOSITORY" not in asked, "they come with the prompt, marked, or not at all"
    assert "PROMPT-OF-THE-AGENT" in asked


def test_read_only_stops_every_way_out_and_the_claim_is_not_believed(bench: OneBench, tmp_path: Path) -> None:
    doors = [call("exit_plan_mode", plan_filename="p.md"), call("enter_plan_mode")]
    tries = [write("${cwd}/forbidden.txt"), *doors, shell("echo x > shell.txt")]
    b, _ = bench({"turns": [*tries, write("${cwd}/again.txt"), DONE]})
    verdict = b.run(b.request(safety=Safety.FULL_AUTO, read_only=True))
    assert verdict.failure is F.TOOL_DENIED
    assert [d.tool for d in verdict.denials] == [
        "write_file",
        "exit_plan_mode",
        "enter_plan_mode",
        "run_shell_command",
        "write_file",
    ]
    assert names(b.work) == [".git", "notes.txt"]
    offered = {f["name"] for tools in first_request(tmp_path)["tools"] for f in tools["functionDeclarations"]}
    assert offered <= {
        "update_topic", "list_directory", "read_file", "grep_search", "glob", "invoke_agent", "write_todos",
        "activate_skill", "ask_user",
    }  # fmt: skip


def test_auto_edit_stays_in_the_workspace_and_out_of_its_repository(bench: OneBench) -> None:
    tries = [
        write("${cwd}/../outside/x"),
        write("${cwd}/.git/hooks/post-commit"),
        shell("echo x > shell.txt"),
        call("web_fetch", prompt="http://127.0.0.1:1/"),
    ]
    b, _ = bench({"turns": [*tries, DONE]})
    verdict = b.run(b.request())
    assert verdict.failure is F.TOOL_DENIED
    assert verdict.denials[-1].action is A.NETWORK
    assert names(b.work) == [".git", "notes.txt"] and names(b.outside) == []
    assert not (b.work / ".git" / "hooks" / "post-commit").exists()


@pytest.mark.parametrize("terms", [None, TERMS], ids=["headless", "interactive"])
def test_its_shell_does_not_see_the_key(bench: OneBench, terms: TurnTerms | None) -> None:
    b, _ = bench({"turns": [shell("echo key=$GEMINI_API_KEY > seen.txt"), DONE]})
    verdict = b.run(replace(b.request(safety=Safety.FULL_AUTO), interactive_run=terms))
    assert verdict.failure is None, verdict.reason
    assert (b.work / "seen.txt").read_text() == "key=\n"


def test_words_that_go_round_in_circles_are_no_success(bench: OneBench) -> None:
    b, _ = bench({"turns": [{"text": "the same words again and again " * 400}], "no_tools": "turns"})
    verdict = b.run(b.request())
    assert (verdict.failure, verdict.reason) == (F.AGENT_FAILED, "Loop detected, stopping execution")


def test_in_an_interactive_run_it_asks_about_what_no_hook_sees(bench: OneBench, tmp_path: Path) -> None:
    """The whole of a command of many lines is judged, and none that begins elsewhere than we know."""
    lines = [f"printf 'line {number} of many' > long.txt" for number in range(40)]
    long = "\n".join([*lines, "printf ruled-x"])
    (read, elsewhere) = (HANDS["gemini"].read, call("run_shell_command", command="cat f", dir_path="sub"))
    turns = [
        read("${cwd}/secret.txt"),
        read("${cwd}/notes.txt"),
        shell(long),
        shell("ls sub"),
        elsewhere,
        DONE,
    ]
    b, _ = bench({"turns": turns})
    b.isolation = Isolation.SANDBOX
    (b.work / "secret.txt").write_text("THE-SECRET")
    (b.work / "sub").mkdir()
    (b.work / "sub/f").write_text("IN-ANOTHER-FOLDER")
    rules = Rules(
        paths=(PathRule(pattern="secret.txt", access=PathAccess.NONE),),
        commands=(CommandRule(pattern="printf ruled-"), CommandRule(pattern="ls sub")),
    )
    policy = compile_policy(Safety.AUTO_EDIT, False, rules=rules)
    verdict = b.run(replace(b.request("$go"), interactive_run=TERMS, policy=policy))
    assert verdict.failure is None, verdict.reason
    assert not (b.work / "long.txt").exists()
    why = [denial.why for denial in verdict.denials]
    wanted = ("secret.txt", "ruled-", "ls sub", "exact command")
    assert [words in one for words, one in zip(wanted, why, strict=True)] == [True] * 4, why
    told = "".join(path.read_text() for path in (tmp_path / "d").iterdir())
    assert "alpha" in told and "THE-SECRET" not in told and "IN-ANOTHER" not in told and "$go" in told
