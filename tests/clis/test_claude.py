"""The real Claude Code, started as the node starts it, against the scripted model server.

What all programs do alike is in test_acts.py. Takes about 10 s in all.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial

import pytest

from node_agent.wire.failure import FailureKind as F
from node_agent.wire.policy import ActionClass as A
from node_agent.wire.policy import Safety
from tests.clis.conftest import MakeBench
from tests.clis.launched import CLAUDE, Bench
from tests.fakemodel import FakeModel

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


def test_the_runs_budget_ends_it(bench: OneBench) -> None:
    turn = {"tool": "read", "args": {"path": "${cwd}/notes.txt"}, "usage": {"input": 100_000, "output": 10}}
    b, _ = bench({"turns": [turn]})
    verdict = b.run(b.request(usd="0.50"))
    assert verdict.failure is F.USD_LIMIT
    assert verdict.usage.cost_usd == Decimal("0.6003")
