"""The real Copilot CLI, started as the node starts it, against the scripted model server.

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
from tests.clis.launched import COPILOT, Bench, first_request, names
from tests.fakemodel import FakeModel

pytestmark = pytest.mark.slow

DONE = {"text": "Done: the work is finished.", "usage": {"input": 1200, "output": 34, "cache_read": 500}}
shell = HANDS["copilot"].shell
OneBench = Callable[[dict], tuple[Bench, FakeModel]]


@pytest.fixture
def bench(make_bench: MakeBench) -> OneBench:
    return partial(make_bench, COPILOT)


def write(path: str) -> dict:
    return HANDS["copilot"].write(path, "x\n")


def hostile(work: Path) -> None:
    """A repository that tries to tell it everything that a repository can."""
    github = work / ".github"
    for folder in ("agents", "hooks", "instructions", "skills/theirs"):
        (github / folder).mkdir(parents=True)
    events = ("sessionStart", "userPromptSubmitted", "preToolUse", "postToolUse", "sessionEnd")
    hooks = {event: [{"type": "command", "bash": f"touch {work}/HOOK"}] for event in events}
    server = {"type": "local", "command": "sh", "args": ["-c", f"touch {work}/SERVER"], "tools": ["*"]}
    head = "---\nname: theirs\ndescription: WORDS-OF-THE-REPOSITORY\n---\n"
    for name, text in {
        "hooks/theirs.json": json.dumps({"version": 1, "hooks": hooks}),
        "mcp.json": json.dumps({"mcpServers": {"theirs": server}}),
        "skills/theirs/SKILL.md": head,
        "agents/theirs.agent.md": head,
        "agents/pancode.agent.md": "---\nname: pancode\ndescription: x\n---\nWORDS-OF-THE-REPOSITORY",
        "copilot-instructions.md": "WORDS-OF-THE-REPOSITORY",
        "instructions/theirs.instructions.md": "WORDS-OF-THE-REPOSITORY",
    }.items():
        (github / name).write_text(text)
    (work / ".mcp.json").write_text((github / "mcp.json").read_text())
    (work / "AGENTS.md").write_text("WORDS-OF-THE-REPOSITORY")
    (work / ".env").write_text("THEIRS=1\n")


def test_the_repository_tells_it_nothing(bench: OneBench, tmp_path: Path) -> None:
    b, _ = bench({"turns": [shell("echo ${THEIRS:-none} > told"), DONE]})
    hostile(b.work)
    before = names(b.work)
    verdict = b.run(b.request(safety=Safety.FULL_AUTO))
    assert verdict.failure is None, verdict.reason
    assert names(b.work) == sorted([*before, "told"]), "no hook or server of theirs ran"
    assert (b.work / "told").read_text() == "none\n"
    asked = json.dumps(first_request(tmp_path))
    assert "WORDS-OF-THE-REPOSITORY" not in asked, "they come with the prompt, marked, or not at all"
    assert "PROMPT-OF-THE-AGENT" in asked


def test_read_only_stops_write_and_shell_and_the_claim_is_not_believed(
    bench: OneBench, tmp_path: Path
) -> None:
    b, _ = bench({"turns": [write("${cwd}/forbidden.txt"), shell("echo x > shell.txt"), DONE]})
    verdict = b.run(b.request(safety=Safety.FULL_AUTO, read_only=True))
    assert verdict.failure is F.TOOL_DENIED
    assert [d.tool for d in verdict.denials] == ["create", "bash"]
    assert names(b.work) == [".git", "notes.txt"]
    offered = {tool["function"]["name"] for tool in first_request(tmp_path)["tools"]}
    assert offered == {"view", "grep", "glob"}


def test_auto_edit_stays_in_the_workspace_and_out_of_its_repository(bench: OneBench) -> None:
    hook = "hooks/post-commit"
    ways = [
        "${cwd}/.git",
        ".git",
        "${cwd}/sub/../.git",
        "${cwd}/link",
        "${cwd}/sub/up/work/.git",
        "${cwd}//.git",
    ]
    tries = [
        *(write(f"{way}/{hook}") for way in ways),
        call("edit", path="${cwd}/file", old_str="[core]", new_str="[core]\n hooksPath = /"),
        write("${cwd}/../outside/x"),
        write("${cwd}/out/x"),
        shell("echo x > shell.txt"),
    ]
    b, _ = bench({"turns": [*tries, DONE]})
    (b.work / "sub").mkdir()
    for name, target in (
        ("link", ".git"),
        ("file", ".git/config"),
        ("sub/up", "../.."),
        ("out", "../outside"),
    ):
        (b.work / name).symlink_to(target)
    before = (b.work / ".git" / "config").read_text()
    verdict = b.run(b.request())
    assert verdict.failure is F.TOOL_DENIED
    assert [d.tool for d in verdict.denials] == [*["create"] * 6, "edit", "create", "create", "bash"]
    assert names(b.work) == [".git", "file", "link", "notes.txt", "out", "sub"] and names(b.outside) == []
    assert not (b.work / ".git" / hook).exists()
    assert (b.work / ".git" / "config").read_text() == before


def test_its_shell_does_not_see_the_key(bench: OneBench) -> None:
    b, _ = bench({"turns": [shell("echo key=$COPILOT_PROVIDER_API_KEY > seen.txt"), DONE]})
    verdict = b.run(b.request(safety=Safety.FULL_AUTO))
    assert verdict.failure is None, verdict.reason
    assert (b.work / "seen.txt").read_text() == "key=\n"
