"""What all real programs do alike, started as the node starts them, against the scripted model server.

About two minutes in all: each test starts a real program, most of them once. What only one of them does is in
its own file; what each may do is in test_matrix.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from node_agent.machine.programs import written_version
from node_agent.runtimes.base import EndedBy, Resume
from node_agent.runtimes.registry import RUNTIMES
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.failure import Outcome
from node_agent.wire.policy import Safety
from node_agent.workspace.folders import write_below
from node_agent.workspace.homes import files_below
from tests.clis.conftest import MakeBench, path_of
from tests.clis.hands import HANDS
from tests.clis.install import VERSIONS
from tests.clis.launched import EVERY, Cli, answers, await_end, await_file, first_request, runs
from tests.clis.quirks import QUIRKS
from tests.crowd import crowded
from tests.fakemodel import preset

pytestmark = pytest.mark.slow

DONE = {"text": "Done: the work is finished.", "usage": {"input": 1200, "output": 34, "cache_read": 500}}
CLIS = {cli.runtime: cli for cli in EVERY}
UNSURE = (F.NO_ANSWER, F.AGENT_FAILED)
"""Of one that was ended: it may still have written a last word, which says that it failed."""


@pytest.fixture(params=EVERY, ids=lambda cli: cli.runtime)
def cli(request: pytest.FixtureRequest) -> Cli:
    chosen: Cli = request.param
    return chosen


def test_an_edit_is_made_and_task_and_prompt_reach_the_model(
    make_bench: MakeBench, cli: Cli, tmp_path: Path
) -> None:
    own = QUIRKS[cli.runtime]
    task = "/help with $(id), 'quotes' 😀" + (" and @types/node" if own.mentions else "")
    b, model = make_bench(cli, preset("edit"))
    (b.work / "AGENTS.md").write_text("WORDS-OF-THE-REPOSITORY")
    verdict = b.run(b.request(task=task))
    assert verdict.failure is None, verdict.reason
    assert (b.work / "notes.txt").read_text() == "alpha\nBETA\ngamma\n"
    assert verdict.tool_calls == own.edits_by
    usage = verdict.usage
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (3600, 1500, 102)
    assert len([r for r in model.requests if "wire" in r]) == 3, "it asks for nothing beside its work"
    asked = json.dumps(first_request(tmp_path), ensure_ascii=False)
    assert "PROMPT-OF-THE-AGENT" in asked and task in asked
    assert "WORDS-OF-THE-REPOSITORY" not in asked, "they come with the prompt, marked, or not at all"
    assert own.offered in (None, _offered(first_request(tmp_path)))
    assert {r["auth"] for r in model.requests if "wire" in r} == {own.auth}
    assert not (b.home / ".npm").exists(), "it fetches nothing"


def _offered(request: dict[str, Any]) -> frozenset[str]:
    """By name, in the words of the two wires on which a program's offer is held against its quirks."""
    return frozenset(tool.get("function", tool).get("name", "") for tool in request["tools"])


FAILURES = ("401", "cut", "refuse", "stream-error")
"""Of one kind each; how the others are told is in the golden transcripts of these versions."""


@pytest.mark.parametrize(
    ("runtime", "name"),
    [(runtime, name) for runtime, own in QUIRKS.items() for name in own.failures if name in FAILURES],
)
def test_a_model_server_that_fails_is_told_apart(make_bench: MakeBench, runtime: str, name: str) -> None:
    b, _ = make_bench(CLIS[runtime], preset(name))
    verdict = b.run(b.request(safety=Safety.SUGGEST))
    assert verdict.failure is QUIRKS[runtime].failures[name], verdict.reason
    assert verdict.outcome is not Outcome.DONE


@pytest.mark.parametrize(
    ("runtime", "number"), [(runtime, number) for runtime, own in QUIRKS.items() for number in own.signals]
)
def test_a_stalled_run_ends_on_a_signal_and_is_never_done(
    make_bench: MakeBench, runtime: str, number: signal.Signals
) -> None:
    b, model = make_bench(CLIS[runtime], preset("stall"))
    request = b.request()
    with b.started(request) as process:
        assert model.wait_until_asked(60)  # and it will not be answered
        os.killpg(process.pid, number)
        status = process.wait(15 * crowded())
    assert QUIRKS[runtime].signals[number] in (None, status)
    assert b.verdict(request, status).outcome is not Outcome.DONE
    assert b.verdict(request, status, EndedBy.STOP).failure is F.STOPPED
    assert b.verdict(request, status, EndedBy.IDLE).outcome is Outcome.STALLED


@pytest.mark.parametrize(
    ("runtime", "name"), [(runtime, name) for runtime, own in QUIRKS.items() for name in own.hangs]
)
def test_what_it_waits_for_in_silence_ends_at_our_limit(
    make_bench: MakeBench, runtime: str, name: str
) -> None:
    b, model = make_bench(CLIS[runtime], preset(name))
    request = b.request()
    with b.started(request) as process:
        assert model.wait_for(2, 60), "it asks again and again, and says nothing"
        os.killpg(process.pid, signal.SIGKILL)
        status = process.wait(15 * crowded())
    assert b.verdict(request, status).outcome is not Outcome.DONE
    assert b.verdict(request, status, EndedBy.IDLE).outcome is Outcome.STALLED


def test_ended_at_work_it_is_never_done(make_bench: MakeBench, cli: Cli) -> None:
    b, model = make_bench(cli, preset("text"))
    long = f"sleep 300.{model.port}"
    shell = HANDS[cli.runtime].shell(f"echo x > begun; exec {long}")
    model.set_script({"turns": [shell, DONE]})
    request = b.request(safety=Safety.FULL_AUTO)
    try:
        with b.started(request) as process:
            await_file(b.work / "begun")
            os.killpg(process.pid, signal.SIGTERM)
            status = process.wait(15 * crowded())
        if QUIRKS[cli.runtime].takes_along:
            await_end(long)
        assert b.verdict(request, status).failure in UNSURE
        assert b.verdict(request, status, EndedBy.WALL).outcome is Outcome.TIMEOUT
    finally:
        for pid in runs(long):  # in a session of its own; the node sweeps by its mark
            with contextlib.suppress(ProcessLookupError):  # or ended meanwhile
                os.kill(pid, signal.SIGKILL)


def test_an_answer_is_done_with_its_usage_and_a_resumed_session_brings_a_flood(
    make_bench: MakeBench, cli: Cli, tmp_path: Path
) -> None:
    b, model = make_bench(cli, preset("text"))
    own, first = QUIRKS[cli.runtime], b.run(b.request(task="first words", safety=Safety.SUGGEST))
    assert (first.failure, first.answer) == (None, "Hello from the model."), first.reason
    usage = first.usage
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (1200, 500, 34)
    assert (usage.cost_usd, usage.cost_source) == (own.usd, "reported" if own.usd else "unknown")
    assert first.session and first.model == cli.model
    assert first.version == (VERSIONS[cli.runtime] if own.tells_version else None)
    model.set_script(preset("huge"))
    _keep_its_session_alone(b.home, RUNTIMES[cli.runtime].sessions)
    second = b.run(b.request(task="second", resume=Resume(first.session, usage)))
    assert second.failure is None and len(second.answer) > 250_000, second.reason
    assert second.session == first.session and (b.home / "out").stat().st_size > 250_000
    assert second.usage == usage, "it tells what this run used"
    last = max((tmp_path / "d").iterdir()).read_text()
    assert "first words" in last and "second" in last


def _keep_its_session_alone(home: Path, names: tuple[str, ...]) -> None:
    """As on a node: a home of its own, with what is kept of the one before."""
    kept = {name: (home / name).read_bytes() for name in files_below(home, names)}
    assert kept and sum(map(len, kept.values())) < 8 << 20
    shutil.rmtree(home)
    home.mkdir(mode=0o700)
    for name, data in kept.items():
        write_below(home, name, data)


def test_the_probe_sees_version_and_login(cli: Cli, tmp_path: Path) -> None:
    probe, own = RUNTIMES[cli.runtime].probe, QUIRKS[cli.runtime]
    program, path = RUNTIMES[cli.runtime].program, path_of(cli.runtime)
    written = written_version(program, path) if program is not None and program.environment else None
    fact = probe.read(answers(probe, path, tmp_path, written or ""))
    assert (fact.version, fact.state) == (VERSIONS[cli.runtime], "not_logged_in")
    assert probe.read(answers(probe, path, tmp_path, written or "", **{own.login: "k"})).state == "ok"
