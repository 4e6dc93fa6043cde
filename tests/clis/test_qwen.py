"""The real Qwen Code, started as the node starts it, against the scripted model server.

Takes about 60 s in all: each test starts the real program, most of them once, which takes it 2 s.
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
from node_agent.runtimes.qwen.command import PROBE
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.failure import Outcome
from node_agent.wire.policy import ActionClass as A
from node_agent.wire.policy import Safety
from tests.clis.conftest import MakeBench, path_of
from tests.clis.launched import QWEN, Bench, answers, await_file, call, first_request, names, runs
from tests.fakemodel import FakeModel, preset

pytestmark = pytest.mark.slow

DONE = {"text": "Done: the work is finished.", "usage": {"input": 1200, "output": 34, "cache_read": 500}}
OneBench = Callable[[dict], tuple[Bench, FakeModel]]


@pytest.fixture
def bench(make_bench: MakeBench) -> OneBench:
    return partial(make_bench, QWEN)


def shell(command: str) -> dict:
    return call("run_shell_command", command=command, description="p", is_background=False)


def write(path: str) -> dict:
    return call("write_file", file_path=path, content="x\n")


def test_an_edit_is_made_and_task_and_prompt_reach_the_model(bench: OneBench, tmp_path: Path) -> None:
    b, model = bench(preset("edit"))
    verdict = b.run(b.request(task="/help with $(id), @types/node and 'quotes' 😀"))
    assert (verdict.failure, verdict.answer) == (None, "Done: the work is finished."), verdict.reason
    assert (b.work / "notes.txt").read_text() == "alpha\nBETA\ngamma\n"
    assert verdict.tool_calls == {A.FILE_READ: 1, A.FILE_WRITE: 1}
    usage = verdict.usage
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (3600, 1500, 102)
    assert (usage.turns, usage.cost_usd, usage.cost_source) == (3, None, "unknown")
    assert verdict.session and (verdict.model, verdict.version) == (QWEN.model, "0.15.10")
    asked = json.dumps(first_request(tmp_path)["messages"], ensure_ascii=False)
    assert "PROMPT-OF-THE-AGENT" in asked and "/help with $(id), @types/node and 'quotes' 😀" in asked
    assert {r["auth"] for r in model.requests if "wire" in r} == {"authorization"}


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


@pytest.mark.parametrize(
    ("name", "failure"), [("401", F.MODEL_AUTH), ("bad-json", F.MODEL_FAILED), ("cut", F.MODEL_FAILED)]
)
def test_a_model_server_that_fails_is_told_apart(bench: OneBench, name: str, failure: F) -> None:
    b, _ = bench(preset(name))
    verdict = b.run(b.request(safety=Safety.SUGGEST))
    assert verdict.failure is failure, verdict.reason
    assert verdict.outcome is not Outcome.DONE


@pytest.mark.parametrize(("name", "asked"), [("stall", 0), ("500", 2)])
def test_what_it_waits_for_in_silence_ends_at_our_limit(bench: OneBench, name: str, asked: int) -> None:
    b, model = bench(preset(name))
    request = b.request()
    with b.started(request) as process:
        reached = model.wait_for(asked, 60) if asked else model.wait_until_asked(60)
        assert reached, "it asks again and again, and says nothing"
        os.killpg(process.pid, signal.SIGTERM)
        status = process.wait(15)
    assert b.verdict(request, status).failure is F.NO_ANSWER
    assert b.verdict(request, status, EndedBy.IDLE).outcome is Outcome.STALLED


def test_ended_at_work_it_leaves_its_command_to_the_node(bench: OneBench) -> None:
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
        for pid in runs(long):  # in a session of its own; the node sweeps by its mark
            os.kill(pid, signal.SIGKILL)


def test_a_flood_arrives_whole_and_a_resumed_session_goes_on(bench: OneBench, tmp_path: Path) -> None:
    b, model = bench(preset("huge"))
    first = b.run(b.request(task="first words"))
    assert first.failure is None and len(first.answer) == 4000, first.reason
    assert first.session and (b.home / "out").stat().st_size > 250_000
    model.set_script(preset("text"))
    second = b.run(b.request(task="second", resume=Resume(first.session, first.usage)))
    assert second.failure is None, second.reason
    assert second.session == first.session
    assert second.usage.output_tokens <= 2 * 34, "the first part is taken off"
    assert "first words" in max((tmp_path / "d").iterdir()).read_text()


def test_the_probe_sees_version_and_login(tmp_path: Path) -> None:
    probed = partial(answers, PROBE, path_of("qwen"), tmp_path)
    said = probed()
    fact = PROBE.read(said)
    assert (fact.version, fact.state) == ("0.15.10", "not_logged_in")
    assert PROBE.read(probed(OPENAI_API_KEY="k")).state == "ok"
