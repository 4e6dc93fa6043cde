"""The real Codex CLI, started as the node starts it, against the scripted model server.

What all programs do alike is in test_acts.py and test_talked.py. Takes about 20 s in all.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from node_agent.runtimes.base import EndedBy
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.policy import ActionClass as A
from node_agent.wire.policy import Safety
from tests.clis.conftest import MakeBench
from tests.clis.hands import HANDS
from tests.clis.launched import CODEX, Bench, await_file, names
from tests.clis.test_hooks import asked, walled
from tests.clis.test_talked import interactive_run
from tests.crowd import crowded
from tests.fakemodel import FakeModel, preset

pytestmark = pytest.mark.slow

DONE = {"text": "Done: the work is finished.", "usage": {"input": 1200, "output": 34, "cache_read": 500}}
WRITE = {"tool": "write", "args": {"path": "${cwd}/patched.txt", "content": "x\n"}}
shell = HANDS["codex"].shell
OneBench = Callable[[dict], tuple[Bench, FakeModel]]


@pytest.fixture
def bench(make_bench: MakeBench) -> OneBench:
    return partial(make_bench, CODEX)


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
    (b.work / "fetch.py").write_text(fetch)  # what stands in a file, no hook looks into
    tries = ("env > env", "echo x > ../outside/x", "echo x > .git/x", "python3 fetch.py")
    model.set_script({"turns": [*map(shell, tries), DONE], "cwd": str(b.work)})
    verdict = b.run(b.request(safety=safety))
    assert verdict.failure is None, verdict.reason
    network = ["net"] if safety is Safety.FULL_AUTO else []
    assert names(b.work) == [".git", "env", "fetch.py", *network, "notes.txt"] and names(b.outside) == []
    assert not (b.work / ".git" / "x").exists()
    assert "k-of-the-owner" not in (b.work / "env").read_text()


def test_a_server_that_is_busy_once_is_asked_again(bench: OneBench) -> None:
    b, _ = bench(preset("429-once"))
    assert b.run(b.request()).failure is None


def test_an_endless_run_ends_at_our_limit(bench: OneBench) -> None:
    b, _ = bench(preset("loop"))
    request = b.request()
    with b.started(request) as process:
        await_file(b.home / "out", 5_000)
        os.killpg(process.pid, signal.SIGTERM)
        status = process.wait(15 * crowded())
    told = b.verdict(request, status, EndedBy.OUTPUT)
    assert told.failure is F.OUTPUT_LIMIT and told.tool_calls[A.SHELL] > 1


def test_in_a_chat_a_repository_neither_starts_hooks_nor_takes_ours_away(
    bench: OneBench, tmp_path: Path
) -> None:
    """Its adapter calls the folder trusted, and PanCode has hooks run that nobody was asked about."""
    b, _ = bench({"turns": [shell("printf ruled-x > ruled.txt"), DONE]})
    hook = {"matcher": "", "hooks": [{"type": "command", "command": f"touch {b.outside}/THEIRS"}]}
    events = ("SessionStart", "UserPromptSubmit", "PreToolUse")
    (b.work / ".codex/rules").mkdir(parents=True)
    (b.work / ".codex/hooks.json").write_text(json.dumps({"hooks": dict.fromkeys(events, [hook])}))
    (b.work / ".codex/config.toml").write_text("allow_managed_hooks_only = true\n[features]\nhooks = false\n")
    (b.work / ".codex/rules/a.rules").write_text('prefix_rule(pattern=["printf"], decision="allow")\n')
    verdict = walled(b).run(interactive_run(b, "go"))
    assert verdict.failure is None, verdict.reason
    assert names(b.work) == [".codex", ".git", "notes.txt"] and names(b.outside) == []
    assert "the owner said so" in asked(tmp_path)
