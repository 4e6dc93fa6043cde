"""The real Copilot CLI, started as the node starts it, against the scripted model server.

Takes about 50 s in all: most tests start the real program once; it asks a server that fails six times.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from node_agent.runtimes.base import EndedBy, Resume
from node_agent.runtimes.copilot.command import PROBE
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.failure import Outcome
from node_agent.wire.policy import ActionClass as A
from node_agent.wire.policy import Safety
from tests.clis.conftest import MakeBench, path_of
from tests.clis.launched import COPILOT, Bench, answers, await_file, call, first_request, names, runs
from tests.fakemodel import FakeModel, preset

pytestmark = pytest.mark.slow

DONE = {"text": "Done: the work is finished.", "usage": {"input": 1200, "output": 34, "cache_read": 500}}
OneBench = Callable[[dict], tuple[Bench, FakeModel]]


@pytest.fixture
def bench(make_bench: MakeBench) -> OneBench:
    return partial(make_bench, COPILOT)


def shell(command: str) -> dict:
    return call("bash", command=command, description="p")


def write(path: str) -> dict:
    return call("create", path=path, file_text="x\n")


def test_an_edit_is_made_and_task_and_prompt_reach_the_model(bench: OneBench, tmp_path: Path) -> None:
    b, model = bench(preset("edit"))
    verdict = b.run(b.request(task="/help with $(id), @types/node and 'quotes' 😀"))
    assert (verdict.failure, verdict.answer) == (None, "Done: the work is finished."), verdict.reason
    assert (b.work / "notes.txt").read_text() == "alpha\nBETA\ngamma\n"
    assert verdict.tool_calls == {A.FILE_READ: 1, A.FILE_WRITE: 1}
    usage = verdict.usage
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (3600, 1500, 102)
    assert (usage.turns, usage.cost_usd, usage.cost_source) == (3, None, "unknown")
    assert verdict.session and verdict.model == COPILOT.model
    assert len(list((tmp_path / "d").iterdir())) == 3, "it asks for nothing beside its work"
    asked = json.dumps(first_request(tmp_path)["messages"], ensure_ascii=False)
    assert "PROMPT-OF-THE-AGENT" in asked and "/help with $(id), @types/node and 'quotes' 😀" in asked
    assert {r["auth"] for r in model.requests if "wire" in r} == {"authorization"}


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


@pytest.mark.parametrize(
    ("name", "failure"),
    [
        ("401", F.MODEL_AUTH),
        ("429", F.MODEL_BUSY),
        ("bad-json", F.MODEL_FAILED),
        ("cut", F.MODEL_FAILED),
    ],
)
def test_a_model_server_that_fails_is_told_apart(bench: OneBench, name: str, failure: F) -> None:
    b, _ = bench(preset(name))
    verdict = b.run(b.request(safety=Safety.SUGGEST))
    assert verdict.failure is failure, verdict.reason
    assert verdict.outcome is not Outcome.DONE


def test_stalled_and_ended_it_is_never_done(bench: OneBench) -> None:
    b, model = bench(preset("stall"))
    request = b.request()
    with b.started(request) as process:
        assert model.wait_until_asked(60)
        os.killpg(process.pid, signal.SIGTERM)
        status = process.wait(15)
    # It may still have written a result of its own, which says success.
    assert b.verdict(request, status).failure in (F.NO_ANSWER, F.AGENT_FAILED)
    assert b.verdict(request, status, EndedBy.IDLE).outcome is Outcome.STALLED


def test_ended_at_work_it_is_never_done(bench: OneBench) -> None:
    b, model = bench(preset("text"))
    long = f"sleep 300.{model.port}"
    model.set_script({"turns": [shell(f"echo x > begun; exec {long}"), DONE]})
    request = b.request(safety=Safety.FULL_AUTO)
    try:
        with b.started(request) as process:
            await_file(b.work / "begun")
            os.killpg(process.pid, signal.SIGTERM)
            status = process.wait(15)
        assert b.verdict(request, status).failure is F.NO_ANSWER
        assert b.verdict(request, status, EndedBy.WALL).outcome is Outcome.TIMEOUT
    finally:
        for pid in runs(long):  # where it did not
            os.kill(pid, signal.SIGKILL)


def test_a_flood_arrives_whole_and_a_resumed_session_goes_on(bench: OneBench, tmp_path: Path) -> None:
    b, model = bench(preset("huge"))
    first = b.run(b.request(task="first words"))
    assert first.failure is None and len(first.answer) == 4000, first.reason
    assert first.session and (b.home / "out").stat().st_size > 250_000
    model.set_script(preset("text"))
    second = b.run(b.request(task="second", resume=Resume(first.session, first.usage)))
    assert second.failure is None, second.reason
    assert (second.session, second.usage) == (first.session, first.usage), "the first part is taken off"
    assert "first words" in max((tmp_path / "d").iterdir()).read_text()


def test_the_probe_sees_version_and_login(tmp_path: Path) -> None:
    probed = partial(answers, PROBE, path_of("copilot"), tmp_path)
    said = probed()
    fact = PROBE.read(said)
    assert (fact.version, fact.state) == ("1.0.102", "not_logged_in")
    assert PROBE.read([said[0], (0, "")]).state == "ok"
