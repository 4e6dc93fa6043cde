"""The real OpenCode, started as the node starts it, against the scripted model server.

Takes about 45 s in all: each test starts the real program, most of them once, which takes it 3 s.
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
from node_agent.runtimes.opencode.command import PROBE
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.failure import Outcome
from node_agent.wire.policy import ActionClass as A
from node_agent.wire.policy import Safety
from tests.clis.conftest import MakeBench, path_of
from tests.clis.launched import OPENCODE, Bench, answers, await_file, names, runs
from tests.fakemodel import FakeModel, preset

pytestmark = pytest.mark.slow

DONE = {"text": "Done: the work is finished.", "usage": {"input": 1200, "output": 34, "cache_read": 500}}
OneBench = Callable[[dict], tuple[Bench, FakeModel]]


@pytest.fixture
def bench(make_bench: MakeBench) -> OneBench:
    return partial(make_bench, OPENCODE)


def shell(command: str) -> dict:
    return {"call": {"name": "bash", "arguments": {"command": command, "description": "p"}}}


def write(path: str) -> dict:
    return {"call": {"name": "write", "arguments": {"filePath": path, "content": "x\n"}}}


def test_an_edit_is_made_and_task_and_prompt_reach_the_model(bench: OneBench, tmp_path: Path) -> None:
    b, model = bench(preset("edit"))
    (b.work / "AGENTS.md").write_text("WORDS-OF-THE-REPOSITORY")
    verdict = b.run(b.request(task="/help with $(id) and 'quotes' 😀"))
    assert (verdict.failure, verdict.answer) == (None, "Done: the work is finished."), verdict.reason
    assert (b.work / "notes.txt").read_text() == "alpha\nBETA\ngamma\n"
    assert verdict.tool_calls == {A.FILE_READ: 1, A.FILE_WRITE: 1}
    usage = verdict.usage
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (3600, 1500, 102)
    assert (usage.cost_usd, usage.cost_source) == (None, "unknown")
    assert verdict.session and verdict.model == OPENCODE.model
    bodies = [path.read_text() for path in sorted((tmp_path / "d").iterdir())]
    assert len(bodies) == 3, "it asks for nothing beside its work"
    first = json.loads(bodies[0])
    asked = json.dumps(first["messages"], ensure_ascii=False)
    assert "PROMPT-OF-THE-AGENT" in asked and "/help with $(id) and 'quotes' 😀" in asked.replace('\\"', '"')
    assert "WORDS-OF-THE-REPOSITORY" not in asked, "they come with the prompt, marked, or not at all"
    assert {tool["function"]["name"] for tool in first["tools"]} == {"read", "grep", "glob", "edit", "write"}
    assert not (b.home / ".npm").exists(), "it fetches nothing"
    assert {r["auth"] for r in model.requests if "wire" in r} == {"authorization"}


def test_read_only_stops_write_and_shell_and_the_claim_is_not_believed(bench: OneBench) -> None:
    b, _ = bench({"turns": [write("${cwd}/forbidden.txt"), shell("echo x > shell.txt"), DONE]})
    verdict = b.run(b.request(safety=Safety.FULL_AUTO, read_only=True))
    assert verdict.failure is F.TOOL_DENIED
    assert [d.tool for d in verdict.denials] == ["write", "bash"]
    assert names(b.work) == [".git", "notes.txt"]


def test_auto_edit_stays_in_the_workspace_and_out_of_its_repository(bench: OneBench) -> None:
    tries = [
        write("${cwd}/../outside/x"),
        write("${cwd}/.git/hooks/post-commit"),
        shell("echo x > shell.txt"),
    ]
    b, _ = bench({"turns": [*tries, DONE]})
    verdict = b.run(b.request())
    assert verdict.failure is F.TOOL_DENIED
    assert [d.tool for d in verdict.denials] == ["write", "write", "bash"]
    assert names(b.work) == [".git", "notes.txt"] and names(b.outside) == []
    assert not (b.work / ".git" / "hooks" / "post-commit").exists()


@pytest.mark.parametrize(
    ("name", "failure"),
    [
        ("401", F.MODEL_AUTH),
        ("429", F.MODEL_BUSY),
    ],
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
        os.killpg(process.pid, signal.SIGKILL)  # between two tries it does not always hear anything milder
        status = process.wait(15)
    assert b.verdict(request, status, EndedBy.IDLE).outcome is Outcome.STALLED
    assert b.verdict(request, status).outcome is not Outcome.DONE


def test_an_endless_run_of_broken_answers_is_the_model_servers_fault(bench: OneBench) -> None:
    b, _ = bench(preset("bad-json"))
    request = b.request()
    with b.started(request) as process:
        await_file(b.home / "out", 3_000)
        os.killpg(process.pid, signal.SIGKILL)  # it does not hear anything milder here
        status = process.wait(15)
    assert b.verdict(request, status, EndedBy.OUTPUT).failure is F.OUTPUT_LIMIT
    assert b.verdict(request, status).failure in (F.MODEL_FAILED, F.NO_ANSWER)


def test_ended_at_work_it_is_never_done_and_leaves_its_command_to_the_node(bench: OneBench) -> None:
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
    assert first.failure is None and len(first.answer) == 4000
    assert first.session and (b.home / "out").stat().st_size > 250_000
    model.set_script(preset("text"))
    second = b.run(b.request(task="second", resume=Resume(first.session, first.usage)))
    assert second.failure is None, second.reason
    assert (second.session, second.usage) == (first.session, first.usage), "it tells what this run used"
    assert "first words" in max((tmp_path / "d").iterdir()).read_text()


def test_the_probe_sees_version_and_login(tmp_path: Path) -> None:
    probed = partial(answers, PROBE, path_of("opencode"), tmp_path)
    said = probed()
    fact = PROBE.read(said)
    assert (fact.version, fact.state) == ("1.18.33", "not_logged_in")
    assert PROBE.read([said[0], (0, "")]).state == "ok"
