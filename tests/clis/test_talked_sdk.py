"""Interactive runs on the vendors' SDKs, as the node starts them, with users who speak as it lets them.

What they have in common with every program that takes turns is in test_talked.py. Half a minute for each SDK.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node_agent.runtimes.base import Resume
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.fleet import FleetTerms, LaidFleetAnswer, fleet_answer_file
from node_agent.wire.identity import MESSAGES_KEY, messages_in, seal_text, turn_control_file
from node_agent.wire.job import TurnTerms
from node_agent.wire.policy import Safety
from node_agent.wire.receipt import Usage
from node_agent.workspace.folders import write_below
from node_agent.workspace.homes import write_file
from tests.clis.conftest import MakeBench
from tests.clis.hands import HANDS
from tests.clis.launched import CLAUDE_SDK, ENDS_S, OPENAI_AGENTS, Bench, Cli, await_end, await_file, runs
from tests.clis.test_fleet_tools import TERMS as FLEET
from tests.clis.test_hooks import walled
from tests.clis.test_talked import CANCELS_S, interactive_run, was_told
from tests.crowd import crowded
from tests.integration.node.node_world import until
from tests.unit.node_agent.native.test_words import SECRET, laid

pytestmark = pytest.mark.slow
SDKS = (CLAUDE_SDK, OPENAI_AGENTS)
CALLED = {"claude-sdk": "mcp__pancode__dispatch", "openai-agents": "dispatch"}
TERMS = TurnTerms(idle_ms=600_000, turn_ms=600_000)
Make = Callable[..., "Sat"]


@pytest.fixture(params=SDKS, ids=lambda cli: cli.runtime)
def cli(request: pytest.FixtureRequest) -> Cli:
    chosen: Cli = request.param
    return chosen


class Sat:
    """One interactive run at work. `first`: the words with which it begins."""

    def __init__(self, bench: Bench, first: str, session: str = "", fleet: FleetTerms | None = None) -> None:
        self.bench, resume = bench, Resume(session, Usage()) if session else None
        self.request = replace(interactive_run(walled(bench), first, resume=resume), interactive_run=TERMS)
        self.request = replace(self.request, safety=Safety.FULL_AUTO, fleet=fleet)
        for path in bench.home.glob(f"{messages_in('')}/*"):  # each attempt has a folder of its own
            path.unlink()
        write_below(bench.home, MESSAGES_KEY, SECRET.encode())
        self.process = bench.start(self.request)

    def says(self, number: int, text: str) -> None:
        write_file(self.bench.home, messages_in(""), str(number), laid(number, text))

    def wants(self, what: str, turn: int) -> None:
        data = seal_text(SECRET, turn, what).encode()
        write_file(self.bench.home, messages_in(""), turn_control_file(what, turn), data)

    def told(self, kind: str) -> list[dict[str, Any]]:
        whole = (self.bench.home / "out").read_text().rpartition("\n")[0]
        return [event for event in map(json.loads, whole.splitlines()) if event["type"] == kind]

    def ended(self, turn: int) -> dict[str, Any]:
        """How that turn ended."""
        until(lambda: len(self.told("turn_end")) >= turn, f"turn {turn} ends", 60, self.seen)
        return self.told("turn_end")[turn - 1]

    def seen(self) -> str:
        return (self.bench.home / "out").read_text()[-2000:] + (self.bench.home / "err").read_text()[-2000:]

    def rests(self) -> str:
        """Its session, when it is over."""
        self.wants("rest", 1)
        verdict = self.bench.verdict(self.request, self.process.wait(ENDS_S * crowded()))
        assert verdict.failure is None and verdict.session, verdict.reason
        return verdict.session

    def below(self, name: str) -> int:
        """The process below ours whose command line has this name."""
        found = [pid for pid in descendants(self.process.pid) if name in command_of(pid)]
        return found[0] if found else 0


def descendants(pid: int) -> list[int]:
    said = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout
    below = list(map(int, said.split()))
    return [*below, *(one for each in below for one in descendants(each))]


def command_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""


@pytest.fixture
def sat() -> Iterator[Make]:
    every: list[Sat] = []

    def make(*given: Any) -> Sat:
        every.append(Sat(*given))
        return every[-1]

    yield make
    for one in every:
        if one.process.poll() is None:
            os.killpg(one.process.pid, signal.SIGTERM)
            one.process.wait(10)


def test_words_in_the_middle_come_with_a_tools_answer_and_a_cancel_ends_model_and_command(
    make_bench: MakeBench, cli: Cli, sat: Make, tmp_path: Path
) -> None:
    shell = HANDS[cli.runtime].shell
    b, model = make_bench(cli, {"turns": [shell("touch up; until [ -e go ]; do sleep 0.1; done"), *TEXT]})
    talk = sat(b, "first words")
    await_file(b.work / "up", 0)
    talk.says(1, "in the middle")
    (b.work / "go").touch()
    assert talk.ended(1)["stop"] == "end_turn"
    assert [one["number"] for one in talk.told("heard")] == [1]
    assert was_told(tmp_path, "first words", "Ana adds, while you work: in the middle")

    model.set_script({"turns": [{"fault": {"hang": 600}}]})
    talk.says(2, "second words")
    until(lambda: bool(model.state.fault_hits), "the model is asked")
    assert cancelled(talk, 2) < CANCELS_S * crowded()

    works = f"sleep 613.{model.port}"
    model.set_script({"turns": [*TEXT, shell(f"trap '' TERM; {works}"), *TEXT]})  # behind one result
    talk.says(3, "third words")
    until(lambda: bool(runs(works)), "the command runs", 10, talk.seen)
    assert cancelled(talk, 3) < CANCELS_S * crowded()
    await_end(works)
    model.set_script({"turns": TEXT})
    talk.says(4, "fourth words")
    assert talk.ended(4)["stop"] == "end_turn"
    assert was_told(tmp_path, "second words", "third words", "fourth words")
    assert len(talk.told("session")) == 1, "one program for all turns"
    usage = talk.told("usage")
    assert usage and all(
        before["turns"] < after["turns"] for before, after in zip(usage, usage[1:], strict=False)
    )
    session = talk.rests()

    later = sat(b, "fifth words", session)
    assert later.ended(1)["stop"] == "end_turn" and later.rests() == session
    assert was_told(tmp_path, "in the middle", "third words", "fifth words")


def test_an_answer_grows_as_it_comes_and_is_told_once(make_bench: MakeBench, cli: Cli, sat: Make) -> None:
    slow = {"text": "one, two, three, four", "chunk_chars": 5, "chunk_delay": 0.5, "usage": TEXT[0]["usage"]}
    b, _ = make_bench(cli, {"turns": [slow]})
    talk = sat(b, "count")
    until(lambda: bool(talk.told("said")), "its first piece", 60, talk.seen)
    assert talk.told("turn_end") == [] and talk.ended(1)["stop"] == "end_turn"
    pieces = [one["text"] for one in talk.told("said")]
    assert len(pieces) > 2 and "".join(pieces) == "one, two, three, four"
    talk.rests()


TEXT = [{"text": "One.", "usage": {"input": 1200, "output": 34, "cache_read": 500}}]


def cancelled(talk: Sat, turn: int) -> float:
    """The seconds from a user's cancel to the end of the turn."""
    began = time.monotonic()
    talk.wants("cancel", turn)
    assert talk.ended(turn)["stop"] == "cancelled"
    return time.monotonic() - began


VICTIMS = [
    (CLAUDE_SDK, "claude_sdk.py"),
    (CLAUDE_SDK, "_bundled/claude"),
    (OPENAI_AGENTS, "openai_agents.py"),
]


@pytest.mark.parametrize(("which", "victim"), VICTIMS, ids=lambda one: getattr(one, "runtime", one))
def test_a_killed_driver_or_program_costs_its_turn_and_is_started_again_with_its_session(
    make_bench: MakeBench, which: Cli, victim: str, sat: Make, tmp_path: Path
) -> None:
    b, model = make_bench(which, {"turns": TEXT})
    talk = sat(b, "first words")
    assert talk.ended(1)["stop"] == "end_turn"
    model.set_script({"turns": [{"fault": {"hang": 600}}]})
    talk.says(1, "second words")
    until(lambda: bool(model.state.fault_hits), "the model is asked")
    os.kill(talk.below(victim), signal.SIGKILL)
    assert talk.ended(2)["stop"] == "failed"
    model.set_script({"turns": TEXT})
    talk.says(2, "third words")
    assert talk.ended(3)["stop"] == "end_turn" and was_told(tmp_path, "first words", "third words")

    driver = f"{which.runtime.replace('-', '_')}.py"
    heard = talk.below(driver)
    os.kill(talk.below(victim), signal.SIGKILL)
    until(lambda: talk.below(driver) != heard, "its driver has seen it, and ends too")
    talk.says(3, "fourth words")
    assert talk.ended(4)["stop"] == "end_turn", "killed between two turns it costs nothing"
    assert was_told(tmp_path, "third words", "fourth words")
    assert len({one["session"] for one in talk.told("session")}) == 1
    talk.rests()


def test_nothing_outlives_our_program_and_the_session_goes_on(
    make_bench: MakeBench, cli: Cli, sat: Make, tmp_path: Path
) -> None:
    b, model = make_bench(cli, {"turns": TEXT})
    talk = sat(b, "first words")
    assert talk.ended(1)["stop"] == "end_turn"
    session, below = talk.told("session")[0]["session"], descendants(talk.process.pid)
    model.set_script({"turns": [{"fault": {"hang": 600}}]})
    talk.says(1, "second words")
    until(lambda: bool(model.state.fault_hits), "the model is asked")
    os.kill(talk.process.pid, signal.SIGKILL)
    talk.process.wait(10)
    until(lambda: not any(map(command_of, below)), "all are gone", 30, lambda: list(map(command_of, below)))
    model.set_script({"turns": TEXT})
    later = sat(b, "third words", session)
    assert later.ended(1)["stop"] == "end_turn" and later.rests() == session
    assert was_told(tmp_path, "first words", "third words")


def test_its_model_is_offered_the_fleets_tools_asks_and_is_answered(
    make_bench: MakeBench, cli: Cli, sat: Make, tmp_path: Path
) -> None:
    call = {"call": {"name": CALLED[cli.runtime], "arguments": {"task": "build it"}}}
    b, _ = make_bench(cli, {"turns": [call, *TEXT]})
    talk = sat(b, "have it built", "", FLEET)
    until(lambda: bool(talk.told("asks_fleet")), "it asks", 60, talk.seen)
    (told,) = talk.told("asks_fleet")
    assert (told["number"], told["tool"], told["arguments"]) == (1, "dispatch", {"task": "build it"})
    data = seal_text(SECRET, -1, LaidFleetAnswer(ok=True, text="r-CHILD works").model_dump_json())
    write_file(b.home, messages_in(""), fleet_answer_file(1), data.encode())
    assert talk.ended(1)["stop"] == "end_turn" and not talk.told("denied")
    assert was_told(tmp_path, "HAND-OVER") and was_told(tmp_path, "r-CHILD works")
    talk.rests()


def test_a_memory_that_is_not_there_is_begun_anew(make_bench: MakeBench, cli: Cli, sat: Make) -> None:
    b, _ = make_bench(cli, {"turns": TEXT})
    talk = sat(b, "first words", "0b1d7a52-0000-4000-8000-000000000000")
    assert talk.ended(1)["stop"] == "end_turn"
    assert talk.rests() != "0b1d7a52-0000-4000-8000-000000000000"


def test_an_environment_that_is_missing_loses_no_words(make_bench: MakeBench, cli: Cli) -> None:
    b, _ = make_bench(cli, {"turns": TEXT})
    b.path = os.defpath
    verdict = b.run(interactive_run(b, "first words"))
    assert verdict.failure is F.RUNTIME_MISSING and '"turn"' not in (b.home / "out").read_text()


@pytest.mark.parametrize("talks", [True, False], ids=["interactive", "headless"])
def test_words_are_words_for_claude_whatever_they_begin_with(
    make_bench: MakeBench, talks: bool, sat: Make, tmp_path: Path
) -> None:
    """Its program would read the file that words name, judged by nobody, and forget all by a command."""
    b, _ = make_bench(CLAUDE_SDK, {"turns": TEXT})
    (b.outside / "theirs.txt").write_text("WORDS-OF-A-FILE")
    words = f"look at @{b.outside}/theirs.txt"
    if not talks:
        assert b.run(b.request(words)).failure is None
    else:
        talk = sat(b, words)
        for number, text in enumerate(("/clear", words), 1):
            talk.says(number, text)
            assert talk.ended(number + 1)["stop"] == "end_turn"
        talk.rests()
        assert was_told(tmp_path, words, "/clear"), "it has forgotten nothing"
    assert was_told(tmp_path, words) and not was_told(tmp_path, "WORDS-OF-A-FILE")
