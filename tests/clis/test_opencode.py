"""The real OpenCode, started as the node starts it, against the scripted model server.

What all programs do alike is in test_acts.py. Takes about 15 s in all.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from node_agent.runtimes.base import EndedBy
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.identity import TurnTerms
from node_agent.wire.policy import Safety
from tests.clis.conftest import MakeBench
from tests.clis.hands import HANDS
from tests.clis.launched import OPENCODE, Bench, await_file, names
from tests.crowd import crowded
from tests.fakemodel import FakeModel, preset

pytestmark = pytest.mark.slow

DONE = {"text": "Done: the work is finished.", "usage": {"input": 1200, "output": 34, "cache_read": 500}}
shell = HANDS["opencode"].shell
OneBench = Callable[[dict], tuple[Bench, FakeModel]]


@pytest.fixture
def bench(make_bench: MakeBench) -> OneBench:
    return partial(make_bench, OPENCODE)


def write(path: str) -> dict:
    return HANDS["opencode"].write(path, "x\n")


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


def test_it_starts_what_we_say_that_it_starts_of_a_repository_and_nothing_more(bench: OneBench) -> None:
    """Without a sandbox such a checkout is refused: node_agent/runner/launching.py."""
    b, _ = bench({"turns": [{"text": "Done."}]})
    words = "require('fs').writeFileSync(%r, ''); module.exports = {}"
    own = b.work / ".opencode"
    for name in ("plugin/a.js", "plugins/b.ts", "named/c.js", "command/d.js", "../top/e.js"):
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_text(words % str(b.outside / Path(name).stem))
    (own / "opencode.json").write_text(json.dumps({"plugins": ["./named/c.js"]}))
    (b.work / "opencode.json").write_text(json.dumps({"plugins": ["./top/e.js"]}))
    assert b.run(b.request(read_only=True)).failure is None
    assert names(b.outside) == ["a", "b", "c", "e"]


def test_a_users_words_are_no_command_of_its_own_that_runs_a_shell(bench: OneBench, tmp_path: Path) -> None:
    """Its commands run what stands in `!`, and neither a hook nor a permission is asked."""
    b, _ = bench({"turns": [DONE]})
    words = f"\ufeff /init !`touch {b.outside}/x {b.work}/x`"
    terms = TurnTerms(idle_ms=1, turn_ms=60_000)
    verdict = b.run(replace(b.request(words, read_only=True), interactive_run=terms))
    assert verdict.failure is None, verdict.reason
    assert names(b.outside) == [] and names(b.work) == [".git", "notes.txt"]
    assert "/init !`touch" in "".join(path.read_text() for path in (tmp_path / "d").iterdir())


def test_an_endless_run_of_broken_answers_is_the_model_servers_fault(bench: OneBench) -> None:
    b, _ = bench(preset("bad-json"))
    request = b.request()
    with b.started(request) as process:
        await_file(b.home / "out", 3_000)
        os.killpg(process.pid, signal.SIGKILL)  # it does not hear anything milder here
        status = process.wait(15 * crowded())
    assert b.verdict(request, status, EndedBy.OUTPUT).failure is F.OUTPUT_LIMIT
    assert b.verdict(request, status).failure in (F.MODEL_FAILED, F.NO_ANSWER)
