"""The real Codex CLI, started as the node starts it, against the scripted model server.

Takes about 20 s in all: each test starts the real program, most of them once.
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
from node_agent.runtimes.codex.command import PROBE
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.failure import Outcome
from node_agent.wire.policy import ActionClass as A
from node_agent.wire.policy import Safety
from tests.clis.conftest import MakeBench, path_of
from tests.clis.launched import CODEX, Bench, answers, await_file, names, runs
from tests.fakemodel import FakeModel, preset

pytestmark = pytest.mark.slow

DONE = {"text": "Done: the work is finished.", "usage": {"input": 1200, "output": 34, "cache_read": 500}}
WRITE = {"tool": "write", "args": {"path": "${cwd}/patched.txt", "content": "x\n"}}
OneBench = Callable[[dict], tuple[Bench, FakeModel]]


@pytest.fixture
def bench(make_bench: MakeBench) -> OneBench:
    return partial(make_bench, CODEX)


def shell(command: str) -> dict:
    return {"call": {"name": "exec_command", "arguments": {"cmd": command, "yield_time_ms": 5000}}}


def test_a_text_answer_is_done_with_its_usage(bench: OneBench) -> None:
    b, _ = bench(preset("text"))
    verdict = b.run(b.request(safety=Safety.SUGGEST))
    assert (verdict.failure, verdict.answer) == (None, "Hello from the model.")
    usage = verdict.usage
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (1200, 500, 34)
    assert (usage.cost_usd, usage.cost_source) == (None, "unknown")
    assert verdict.session and verdict.model == CODEX.model


def test_an_edit_is_made_and_task_and_prompt_reach_the_model(bench: OneBench, tmp_path: Path) -> None:
    b, model = bench(preset("edit"))
    (b.work / "AGENTS.md").write_text("WORDS-OF-THE-REPOSITORY")
    verdict = b.run(b.request(task="/help with $(id) and 'quotes' 😀"))
    assert verdict.failure is None, verdict.reason
    assert (b.work / "notes.txt").read_text() == "alpha\nBETA\ngamma\n"
    assert verdict.tool_calls == {A.SHELL: 1, A.FILE_WRITE: 1}
    first = json.loads(min((tmp_path / "d").iterdir()).read_text())
    asked = json.dumps(first, ensure_ascii=False)
    assert "PROMPT-OF-THE-AGENT" in asked and "/help with $(id) and 'quotes' 😀" in asked
    assert "WORDS-OF-THE-REPOSITORY" not in asked, "they come with the prompt, marked, or not at all"
    assert {r["auth"] for r in model.requests if "wire" in r} == {"authorization"}


@pytest.mark.parametrize(("safety", "read_only"), [(Safety.FULL_AUTO, True), (Safety.SUGGEST, False)])
def test_read_only_stops_every_write(bench: OneBench, safety: Safety, read_only: bool) -> None:
    b, _ = bench({"turns": [WRITE, shell("echo x > in.txt; echo x > ../outside/x; echo x > .git/x"), DONE]})
    verdict = b.run(b.request(safety=safety, read_only=read_only))
    assert verdict.failure is None, verdict.reason  # its stream does not tell that anything was stopped
    assert names(b.work) == [".git", "notes.txt"] and names(b.outside) == []
    assert not (b.work / ".git" / "x").exists()


@pytest.mark.parametrize("safety", [Safety.AUTO_EDIT, Safety.FULL_AUTO])
def test_its_shell_stays_in_the_workspace_and_does_not_see_the_key(bench: OneBench, safety: Safety) -> None:
    b, model = bench(preset("text"))
    fetch = f"import urllib.request as u; u.urlopen('{model.url}/__fake/requests'); open('net', 'w')"
    tries = f'env > env; echo x > ../outside/x; echo x > .git/x; python3 -c "{fetch}"'
    model.set_script({"turns": [shell(tries), DONE], "cwd": str(b.work)})
    verdict = b.run(b.request(safety=safety))
    assert verdict.failure is None, verdict.reason
    network = ["net"] if safety is Safety.FULL_AUTO else []
    assert names(b.work) == [".git", "env", *network, "notes.txt"] and names(b.outside) == []
    assert not (b.work / ".git" / "x").exists()
    assert "k-of-the-owner" not in (b.work / "env").read_text()


@pytest.mark.parametrize(
    ("name", "failure"),
    [
        ("401", F.MODEL_AUTH),
        ("429", F.MODEL_BUSY),
        ("500", F.MODEL_FAILED),
        ("bad-json", F.MODEL_FAILED),
        ("cut", F.MODEL_FAILED),
        ("refuse", F.AGENT_FAILED),
    ],
)
def test_a_model_server_that_fails_is_told_apart(bench: OneBench, name: str, failure: F) -> None:
    b, _ = bench(preset(name))
    verdict = b.run(b.request(safety=Safety.SUGGEST))
    assert verdict.failure is failure, verdict.reason
    assert verdict.outcome is not Outcome.DONE


def test_a_server_that_is_busy_once_is_asked_again(bench: OneBench) -> None:
    b, _ = bench(preset("429-once"))
    assert b.run(b.request()).failure is None


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, -15), (signal.SIGINT, 1)])
def test_a_stalled_run_ends_on_a_signal_and_is_never_done(
    bench: OneBench, number: signal.Signals, status: int
) -> None:
    b, model = bench(preset("stall"))
    request = b.request()
    with b.started(request) as process:
        assert model.wait_until_asked(30)  # and it will not be answered
        os.killpg(process.pid, number)
        assert process.wait(15) == status
    assert b.verdict(request, status).failure is F.NO_ANSWER
    assert b.verdict(request, status, EndedBy.STOP).failure is F.STOPPED
    assert b.verdict(request, status, EndedBy.IDLE).outcome is Outcome.STALLED


def test_ended_at_work_it_leaves_no_child_and_is_never_done(bench: OneBench) -> None:
    b, model = bench(preset("text"))
    long = f"sleep 300.{model.port}"
    model.set_script({"turns": [shell(f"echo x > begun; exec {long}"), DONE]})
    request = b.request()
    with b.started(request) as process:
        await_file(b.work / "begun")
        await_file(b.home / "out", holds=b"item.started")
        assert runs(long)
        os.killpg(process.pid, signal.SIGTERM)
        status = process.wait(15)
    assert not runs(long)
    assert b.verdict(request, status).failure is F.NO_ANSWER
    assert b.verdict(request, status, EndedBy.WALL).outcome is Outcome.TIMEOUT
    assert b.verdict(request, status).tool_calls == {A.SHELL: 1}


def test_a_flood_arrives_whole_and_an_endless_one_ends_at_our_limit(bench: OneBench) -> None:
    b, model = bench(preset("huge"))
    verdict = b.run(b.request())
    assert verdict.failure is None and len(verdict.answer) == 4000
    model.set_script({**preset("loop"), "cwd": str(b.work)})
    request = b.request()
    with b.started(request) as process:
        await_file(b.home / "out", 5_000)
        os.killpg(process.pid, signal.SIGTERM)
        status = process.wait(15)
    told = b.verdict(request, status, EndedBy.OUTPUT)
    assert told.failure is F.OUTPUT_LIMIT and told.tool_calls[A.SHELL] > 1


def test_a_resumed_session_goes_on_and_uses_only_what_it_adds(bench: OneBench, tmp_path: Path) -> None:
    b, _ = bench(preset("text"))
    first = b.run(b.request(task="first words"))
    assert first.session
    second = b.run(b.request(task="second", resume=Resume(first.session, first.usage)))
    assert second.failure is None, second.reason
    assert (second.session, second.usage) == (first.session, first.usage)
    last = max((tmp_path / "d").iterdir()).read_text()
    assert "first words" in last and "second" in last


def test_the_probe_sees_version_and_login(tmp_path: Path) -> None:
    probed = partial(answers, PROBE, path_of("codex"), tmp_path)
    fact = PROBE.read(probed())
    assert (fact.version, fact.state) == ("0.169.0", "not_logged_in")
    assert PROBE.read(probed(OPENAI_API_KEY="k")).state == "ok"
    assert PROBE.read(probed(OPENAI_BASE_URL="http://127.0.0.1:1/v1")).state == "ok"
