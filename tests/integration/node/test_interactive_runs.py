"""A real node agent with the real native worker: turns, a cancel, a rest, a killed program, kept memory."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node_agent.native.interactive_run import FORGOT
from node_agent.runner.runner import spawned_in
from node_agent.shim import process
from node_agent.shim.spool import Running
from node_agent.wire.control import TurnControl, UserMessage
from node_agent.wire.event import MessagesHeard, Turned
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import Job, Limits, Resumed, TurnTerms
from node_agent.wire.receipt import Claims, SuspendReason, TurnStop
from node_agent.wiring import Parts
from tests.fakemodel import FakeModel
from tests.integration.node.gateway_world import KEY, GatewayWorld
from tests.integration.node.node_world import until

USAGE = {"input": 100, "output": 10}
SCRIPT: dict[str, Any] = {
    "api_key": KEY,
    "count": "assistant",
    "rules": [
        {"if": {"prompt": "linger"}, "turns": [{"fault": {"hang": 600}}]},
        {"if": {"prompt": "sleep"}, "turns": [{"tool": "shell", "args": {"command": "sleep 600"}}]},
    ],
    "turns": [
        {"text": "plum", "usage": USAGE},
        {"text": "pear", "usage": USAGE},
        {"text": "fig", "usage": USAGE},
    ],
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GatewayWorld]:
    with FakeModel(SCRIPT) as model:
        one = GatewayWorld(tmp_path, model, "native", os.defpath)
        one.begin()
        yield one
        one.end()


def interactive_run(world: GatewayWorld, run: str, task: str = "begin", **more: Any) -> Job:
    terms = TurnTerms(
        idle_ms=more.pop("idle_ms", 600_000), turn_ms=600_000, by="ana", story=more.pop("story", "")
    )
    limits = Limits(wall_ms=600_000, idle_ms=more.pop("silence_ms", 60_000), output_bytes=1 << 20)
    base = {"runtime": "native", "model": "fake-coder", "turns": terms, "limits": limits}
    return world.job(task, run=run, **{**base, **more})


class Person:
    """Who talks in one interactive run."""

    def __init__(self, world: GatewayWorld, job: Job) -> None:
        self.world, self.identity = world, job.identity
        world.coordinator.push(job)

    def says(self, number: int, text: str) -> None:
        self.world.coordinator.tell(UserMessage(identity=self.identity, number=number, text=text, by="ben"))

    def wants(self, what: Any, number: int) -> None:
        self.world.coordinator.tell(TurnControl(identity=self.identity, number=number, what=what))

    def told(self) -> list[Turned]:
        bodies = self.world.coordinator.bodies(self.identity)
        return [body for body in bodies if isinstance(body, Turned)]

    def waits(self, holds: Callable[[], bool]) -> None:
        until(holds, "the interactive run's next step", 30, lambda: self.world.story(self.identity))

    def turned(self, count: int) -> Turned:
        self.waits(lambda: len(self.told()) >= count)
        return self.told()[count - 1]

    def begun(self, count: int) -> None:
        self.waits(lambda: self.stream("turn", count) is not None)

    def stream(self, kind: str, number: int) -> dict[str, Any] | None:
        raw = self.raw()
        events = [json.loads(line) for line in raw[: raw.rfind(b"\n") + 1].splitlines()]
        return next((one for one in events if (one["type"], one.get("number")) == (kind, number)), None)

    def raw(self) -> bytes:
        assert self.world.parts is not None
        if self.world.parts.world.journal.get(self.identity) is None:
            return b""
        try:
            return (self.world.parts.world.journal.folder(self.identity) / "out").read_bytes()
        except FileNotFoundError:
            return b""

    def ended(self) -> Claims:
        return self.world.ended(self.identity)


def test_turns_are_told_and_the_next_interactive_run_remembers(world: GatewayWorld) -> None:
    person = Person(world, interactive_run(world, "r-first"))
    first = person.turned(1)
    assert (first.turn.stop, first.turn.words[0].by, first.turn.words[0].number) == ("end_turn", "ana", 0)
    assert person.raw()[: first.bytes].endswith(b"\n") and b"turn_end" in person.raw()[: first.bytes]
    person.says(1, "and then?")
    assert [one.number for one in person.turned(2).turn.words] == [1]
    person.wants("rest", 2)
    claims = person.ended()
    assert (claims.outcome, claims.rests, claims.answer) == (Outcome.DONE, SuspendReason.ASKED, "pear"), (
        claims.reason
    )
    assert claims.turns == tuple(one.turn for one in person.told()) and len(claims.turns) == 2
    assert sum(one.usage.input_tokens for one in claims.turns) == claims.usage.input_tokens
    heard = [one for one in world.coordinator.bodies(person.identity) if isinstance(one, MessagesHeard)]
    assert [one.numbers for one in heard] == [(1,)]
    resume = Resumed(run="r-first", session=str(claims.session))
    again = Person(world, interactive_run(world, "r-second", "go on", resume=resume, idle_ms=50))
    second = again.ended()
    assert (second.answer, second.rests) == ("fig", SuspendReason.IDLE), f"it knew both: {second}"
    assert [one.number for one in second.turns] == [1]


def test_turns_are_told_when_they_are_written(world: GatewayWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node's looks are ten minutes apart here."""
    built = world.built

    def with_rare_looks() -> Parts:
        parts = built()
        intervals = replace(parts.world.intervals, look_ms=600_000)
        return replace(parts, world=replace(parts.world, intervals=intervals))

    world.leave()
    monkeypatch.setattr(world, "built", with_rare_looks)
    world.start()
    person = Person(world, interactive_run(world, "r-woken"))
    person.turned(1)
    person.says(1, "and then?")
    person.turned(2)
    person.wants("rest", 2)
    assert person.ended().rests is SuspendReason.ASKED


@pytest.mark.parametrize("word", ["linger", "sleep"])
def test_a_cancelled_turn_ends_at_once_and_the_interactive_run_hears_the_next_words(
    world: GatewayWorld, word: str
) -> None:
    person = Person(world, interactive_run(world, "r-cancel", word))
    person.begun(1)
    person.wants("cancel", 1)
    assert person.turned(1).turn.stop is TurnStop.CANCELLED
    assert person.stream("turn_end", 1) is not None
    person.wants("rest", 1)
    claims = person.ended()
    assert (claims.outcome, claims.rests) == (Outcome.DONE, SuspendReason.ASKED), claims.reason


def test_a_killed_program_loses_its_turn_and_keeps_its_memory(world: GatewayWorld) -> None:
    person = Person(world, interactive_run(world, "r-killed"))
    person.turned(1)
    person.says(1, "linger")
    person.begun(2)
    assert world.parts is not None
    seen = world.parts.runner.look(world.parts.world.journal.folder(person.identity))
    assert isinstance(seen, Running)
    for pid in _programs(str(person.identity)):
        os.kill(pid, signal.SIGKILL)
    claims = person.ended()
    assert [one.stop for one in claims.turns] == [TurnStop.END_TURN, TurnStop.LOST]
    assert claims.outcome is not Outcome.DONE and claims.rests is None
    assert [one.turn.stop for one in person.told()] == [TurnStop.END_TURN, TurnStop.LOST]
    resume = Resumed(run="r-killed", session=str(claims.session))
    again = Person(world, interactive_run(world, "r-after", "go on", resume=resume, idle_ms=50))
    after = again.ended()
    assert after.answer == "pear", f"its model knew the first answer: {after}"


def test_a_restart_of_the_machine_loses_the_turn_at_work_and_no_memory(
    world: GatewayWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = Person(world, interactive_run(world, "r-power"))
    person.turned(1)
    person.says(1, "linger")
    person.begun(2)
    world.leave()
    assert world.parts is not None
    shim = spawned_in(world.parts.world.journal.folder(person.identity))
    assert shim is not None
    os.kill(shim.pid, signal.SIGKILL)  # before it can see the others end
    world.parts.runner.sweep(str(person.identity))
    with monkeypatch.context() as booted:
        booted.setattr(process, "_boot", "of-another-boot")
        world.start()
        claims = person.ended()
        world.leave()
    world.start()
    assert claims.failure is FailureKind.NODE_REBOOTED
    assert [one.stop for one in claims.turns] == [TurnStop.END_TURN, TurnStop.LOST]
    resume = Resumed(run="r-power", session=str(claims.session))
    after = Person(
        world, interactive_run(world, "r-booted", "go on", resume=resume, idle_ms=50, story="x")
    ).ended()
    assert after.answer == "pear", f"its model knew the first answer: {after}"


def test_without_its_memory_an_interactive_run_begins_with_the_story_and_says_so(world: GatewayWorld) -> None:
    resume = Resumed(run="r-elsewhere", session="s-1")
    person = Person(
        world, interactive_run(world, "r-anew", "and now?", resume=resume, idle_ms=50, story="Of old.")
    )
    claims = person.ended()
    assert (claims.outcome, claims.answer) == (Outcome.DONE, "plum"), claims.reason
    lines = [json.loads(line) for line in world.log(person.identity).splitlines()]
    kinds = [one["type"] for one in lines]
    assert lines[kinds.index("noted")]["text"] == FORGOT and kinds.index("noted") < kinds.index("turn")
    assert "Of old." in world.model.requests[-1]["prompt_tail"]


@pytest.mark.slow
def test_the_silence_of_an_interactive_run_that_waits_ends_nothing(world: GatewayWorld) -> None:
    person = Person(world, interactive_run(world, "r-silent", idle_ms=9_000, silence_ms=4_000))
    claims = person.ended()
    assert (claims.outcome, claims.rests) == (Outcome.DONE, SuspendReason.IDLE), claims


def test_a_program_that_takes_no_turns_is_not_started(world: GatewayWorld) -> None:
    claims = Person(world, interactive_run(world, "r-shell", runtime="shell", model=None)).ended()
    assert claims.failure is FailureKind.CANNOT_START and "does not support interactive runs" in claims.reason


def _programs(attempt: str) -> list[int]:
    """The worker of this attempt, by its argument list and its variable."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            argv = Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        ours = any(one.endswith(b"native/program.py") for one in argv[:8])
        if ours and any(attempt.encode() in one for one in argv):
            found.append(int(pid))
    return found
