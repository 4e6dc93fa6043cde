"""The real Claude Code, started as the node starts it, against the scripted model server.

Takes about 15 s in all: each test starts the real program, most of them once.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from node_agent.runtimes.base import EndedBy, Resume
from node_agent.runtimes.claude.command import PROBE
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.failure import Outcome
from node_agent.wire.policy import ActionClass as A
from node_agent.wire.policy import Safety
from tests.clis.conftest import MakeBench
from tests.clis.launched import CLAUDE, Bench, answers
from tests.fakemodel import FakeModel, preset

pytestmark = pytest.mark.slow

DONE = {"text": "Done: the work is finished.", "usage": {"input": 1200, "output": 34, "cache_read": 500}}
WRITES = [
    {"call": {"name": "Write", "arguments": {"file_path": "${cwd}/forbidden.txt", "content": "x\n"}}},
    {"call": {"name": "Bash", "arguments": {"command": "echo x > shell.txt", "description": "p"}}},
]

OneBench = Callable[[dict], tuple[Bench, FakeModel]]


@pytest.fixture
def bench(make_bench: MakeBench) -> OneBench:
    return partial(make_bench, CLAUDE)


def test_a_text_answer_is_done_with_its_usage_and_cost(bench: OneBench) -> None:
    b, _ = bench(preset("text"))
    verdict = b.run(b.request(safety=Safety.SUGGEST))
    assert (verdict.failure, verdict.answer) == (None, "Hello from the model.")
    usage = verdict.usage
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (1200, 500, 34)
    assert (usage.cost_usd, usage.cost_source) == (Decimal("0.00426"), "reported")
    assert verdict.session and verdict.version == "2.1.328"


def test_an_edit_is_made_and_task_and_prompt_reach_the_model(bench: OneBench, tmp_path: Path) -> None:
    b, model = bench(preset("edit"))
    verdict = b.run(b.request(task="/help with $(id) and 'quotes' 😀"))
    assert verdict.failure is None, verdict.reason
    assert (b.work / "notes.txt").read_text() == "alpha\nBETA\ngamma\n"
    assert verdict.tool_calls == {A.FILE_READ: 1, A.FILE_WRITE: 1}
    assert verdict.usage.cost_usd == Decimal("0.01278")
    bodies = [json.loads(p.read_text()) for p in sorted((tmp_path / "d").iterdir())]
    asked = [x for x in bodies if x.get("tools")]
    assert "PROMPT-OF-THE-AGENT" in json.dumps(asked[0]["system"])
    assert "/help with $(id) and 'quotes' 😀" in json.dumps(asked[0]["messages"], ensure_ascii=False)
    assert {t["name"] for t in asked[0]["tools"]} == {"Read", "Grep", "Glob", "Edit", "Write"}
    assert {r["auth"] for r in model.requests if "wire" in r} == {"x-api-key"}


@pytest.mark.parametrize(("safety", "read_only"), [(Safety.AUTO_EDIT, True), (Safety.SUGGEST, False)])
def test_read_only_stops_write_and_shell_and_the_claim_is_not_believed(
    bench: OneBench, safety: Safety, read_only: bool
) -> None:
    b, _ = bench({"turns": [*WRITES, DONE]})
    verdict = b.run(b.request(safety=safety, read_only=read_only))
    assert verdict.failure is F.TOOL_DENIED
    assert [d.tool for d in verdict.denials] == ["Write", "Bash"]
    assert sorted(p.name for p in b.work.iterdir()) == [".git", "notes.txt"]


@pytest.mark.parametrize("where", ["outside", ".git"])
def test_auto_edit_stays_in_the_workspace_and_out_of_its_repository(bench: OneBench, where: str) -> None:
    target = "${cwd}/.git/hooks/post-commit" if where == ".git" else "${cwd}/../outside/x"
    call = {"name": "Write", "arguments": {"file_path": target, "content": "x"}}
    b, _ = bench({"turns": [{"call": call}, DONE]})
    verdict = b.run(b.request())
    assert verdict.failure is F.TOOL_DENIED
    assert verdict.denials[0].action is A.FILE_WRITE
    assert list(b.outside.iterdir()) == []
    assert not (b.work / ".git/hooks/post-commit").exists()


def test_a_denied_tool_is_forgiven_when_the_work_goes_on(bench: OneBench) -> None:
    read = {"tool": "read", "args": {"path": "${cwd}/notes.txt"}}
    b, _ = bench({"turns": [WRITES[1], read, DONE]})
    verdict = b.run(b.request())
    assert verdict.failure is None
    assert [d.tool for d in verdict.denials] == ["Bash"]


def test_full_auto_runs_a_shell_command_also_as_root(bench: OneBench) -> None:
    b, _ = bench({"turns": [WRITES[1], DONE]})
    verdict = b.run(b.request(safety=Safety.FULL_AUTO))
    assert verdict.failure is None, verdict.reason
    assert (b.work / "shell.txt").exists()


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


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 0)])
def test_a_stalled_run_ends_on_a_signal_and_is_never_done(
    bench: OneBench, number: signal.Signals, status: int
) -> None:
    b, model = bench(preset("stall"))
    request = b.request()
    with b.started(request) as process:
        assert model.wait_until_asked(30)  # and it will not be answered
        os.killpg(process.pid, number)
        assert process.wait(15) == status
    # On an early SIGINT it may still write a result, which says error; on a later one it writes none.
    assert b.verdict(request, status).failure in (F.NO_ANSWER, F.AGENT_FAILED)
    assert b.verdict(request, status, EndedBy.STOP).failure is F.STOPPED
    assert b.verdict(request, status, EndedBy.IDLE).outcome is Outcome.STALLED


def test_the_runs_budget_ends_it(bench: OneBench) -> None:
    turn = {"tool": "read", "args": {"path": "${cwd}/notes.txt"}, "usage": {"input": 100_000, "output": 10}}
    b, _ = bench({"turns": [turn]})
    verdict = b.run(b.request(usd="0.50"))
    assert verdict.failure is F.USD_LIMIT
    assert verdict.usage.cost_usd == Decimal("0.6003")


def test_a_resumed_session_goes_on_and_costs_only_what_it_adds(bench: OneBench) -> None:
    b, model = bench(preset("text"))
    first = b.run(b.request(task="first words"))
    assert first.session and first.usage.cost_usd
    second = b.run(b.request(task="second", resume=Resume(first.session, first.usage)))
    assert second.failure is None, second.reason
    assert second.session == first.session
    assert second.usage.cost_usd == first.usage.cost_usd
    asked = [r for r in model.requests if "wire" in r]
    assert "first words" in asked[-1]["prompt_tail"]


def test_the_probe_sees_version_and_login(claude_path: str, tmp_path: Path) -> None:
    probed = partial(answers, PROBE, claude_path, tmp_path)
    fact = PROBE.read(probed())
    assert (fact.version, fact.state) == ("2.1.328", "not_logged_in")
    assert PROBE.read(probed(ANTHROPIC_API_KEY="k")).state == "ok"
