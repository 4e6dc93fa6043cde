"""The programs of interactive runs: the worker's own turns over a model that only counts, on a machine in
memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random  # noqa: TID251 - seeded, which is the point
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]

from node_agent.attempt.gateways import GatewayAccess
from node_agent.attempt.plans import GATES, OUT, SETUP
from node_agent.attempt.ports import NOTHING_LAID, LaidMessageOf, Launch
from node_agent.chat.client import HEARTBEAT_S
from node_agent.chat.limits import ChatLimits
from node_agent.native.equipment import WorkerHeartbeat, tell_end
from node_agent.native.interactive_run import InteractiveRun
from node_agent.native.loop import CapReached
from node_agent.native.voice import UserMessages, Voice
from node_agent.policy.judging import NO_BOUNDS, Bounds
from node_agent.runner.launching import StreamReader, reader_of
from node_agent.runtimes.jobs import request_of
from node_agent.runtimes.registry import RUNTIMES
from node_agent.wire.clock import Clock
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import LaidMessage, messages_in, turn_control_file, unseal_text
from node_agent.wire.job import Job
from tests.fakes.node import MemoryRunner, MemoryRuntimes, Script
from tests.simulation.kinds import ENDLESS

if TYPE_CHECKING:
    from tests.simulation.machines import Machine

CALL_TOKENS, TOKEN_USD = 1_000, Decimal("0.0002")
"""Each call of the model costs 20 cents: an interactive run of two dollars is at its cap after ten."""


class Models:
    """The model servers of all machines. `asked`: by call, who asked, in which turn, with which new words."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, str]] = []
        self.wrong: list[str] = []


class MemoryVoice(Voice):
    """The stream as a file in memory. `synced`: bytes of it that a power cut leaves."""

    out, synced = b"", 0

    def sync(self) -> None:
        self.synced = len(self.out)

    def _write(self, event: dict[str, object]) -> None:
        data = json.dumps(event).encode() + b"\n"
        self.written += len(data)
        self.out += data


class MemoryMessages(UserMessages):
    """Messages of users as the node has laid and sealed them on a MemoryHost."""

    def __init__(self, machine: Machine, name: str, voice: Voice) -> None:
        super().__init__("/", name, machine.key.secret(messages_in(name)), voice)
        self._laid: dict[str, Any] = machine.host.words.setdefault(name, {})

    def wants(self, what: str, turns: range) -> bool:
        laid = {one: self._laid.get(turn_control_file(what, one), "") for one in turns}
        return any(
            unseal_text(self._secret, one, text.encode()) == what for one, text in laid.items() if text
        )

    def _found(self) -> list[tuple[int, LaidMessage]]:
        numbers = sorted({int(name) for name in self._laid if name.isdecimal()} - self._seen)
        read = [(one, unseal_text(self._secret, one, self._laid[str(one)].encode())) for one in numbers]
        return [(number, LaidMessage.model_validate_json(text)) for number, text in read if text]


class Talker:
    """Asks its model some times in each turn, with what it was told, and answers."""

    remembers = False

    def __init__(self, program: Program, heartbeat: WorkerHeartbeat) -> None:
        self._program, self._heartbeat = program, heartbeat
        self.voice: Voice = program.voice
        self.clock: Clock = program.machine.clock
        limits = program.job.limits
        self.limits = ChatLimits(ENDLESS, 200, 1_000, limits.tokens, limits.output_bytes)
        self.deeds: Any = SimpleNamespace(
            calls=0,
            denied=0,
            box=SimpleNamespace(changed=(), commands=0, judge=SimpleNamespace(get_ready=lambda: None)),
        )
        self.turns, self.used = 0, {"input": 0, "output": 0}
        self._number = 0
        self._more: Callable[[], str] = str

    def hear(self, words: Callable[[], str]) -> None:
        self._more = words

    def run(self, task: str) -> str:
        self._number += 1
        random, said = self._program.random, self._program.without_story(task)
        for call in range(random.choice((1, 1, 2, 4))):
            self._ask(f"{said}\n{self._more()}", call)
            said = ""
            until = self.clock.mono_ms() + random.choice((0, 500, 3_000, 20_000))
            while self.clock.mono_ms() < until:
                self._heartbeat.wait(HEARTBEAT_S)
        return "an answer"

    def close(self, why: str) -> None:
        """It keeps nothing."""

    def _ask(self, said: str, call: int) -> None:
        """One call of the model, as its gateway lets it through."""
        program, tokens = self._program, self.used["input"] + CALL_TOKENS
        usd = program.job.limits.usd
        if usd is not None and tokens * TOKEN_USD > usd:
            raise CapReached(FailureKind.USD_LIMIT, "the cap of the run")
        self.limits.check(self.clock.mono_ms(), self.turns, 0, self.used, self.voice.written)
        if call and program.words.wants("cancel", range(self._number, self._number + 1)):
            program.models.wrong.append(f"{program.name} turn {self._number} is cancelled and calls on")
        program.models.asked.append((program.name, self._number, said))
        self.turns, self.used["input"] = self.turns + 1, tokens
        self.voice.tell("usage", input=tokens, output=0, cached=0, turns=self.turns, told=True)


class Program:
    """The program of one interactive run. It continues when time has passed, up to its next wait."""

    def __init__(self, machine: Machine, job: Job) -> None:
        self.machine, self.job, self.name = machine, job, str(job.identity)
        self.models, self.random = machine.models, Random(f"{machine.name} {job.identity}")
        self.voice = MemoryVoice(machine.clock)
        self.words = MemoryMessages(machine, self.name, self.voice)
        self.code: int | None = None
        self._flow = greenlet(self._run)

    def without_story(self, task: str) -> str:
        """The words themselves: the story of before says older words again."""
        assert self.job.turns is not None
        return task.removeprefix(f"{self.job.turns.story}\n\n")

    def go(self) -> None:
        """Up to its next wait, or its end."""
        if not self._flow.dead:
            done = self._flow.switch()
            self.code = done if self._flow.dead else None

    def kill(self) -> None:
        if self.begun and not self._flow.dead:
            self._flow.throw()

    def lose_power(self) -> None:
        """What was not synced is lost."""
        self.kill()
        self.voice.out = self.voice.out[: self.voice.synced]

    @property
    def begun(self) -> bool:
        return bool(self._flow) or self._flow.dead

    @property
    def script(self) -> Script:
        """What its shim sees of it."""
        over = self._flow.dead
        signal = 9 if over and self.code is None else None
        return Script(0 if over else ENDLESS, self.code, signal, self.voice.out, "none", stop_ms=1_000)

    def _run(self) -> int:
        heartbeat = WorkerHeartbeat(lambda seconds: getcurrent().parent.switch())
        loop = Talker(self, heartbeat)
        assert self.job.turns is not None
        interactive_run = InteractiveRun(loop, self.words, self.job.turns, heartbeat)
        over = interactive_run.run(self.job.task)
        spec: Any = SimpleNamespace(folder="", writes=False)
        return tell_end(loop.voice, spec, loop.deeds, loop.turns, interactive_run.answer, over)


class Programs:
    """The interactive runs of one disk of a machine, by attempt."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.jobs: dict[str, Job] = {}
        self.all: dict[str, Program] = {}

    def of(self, name: str) -> Program | None:
        """None for what is no interactive run."""
        if name not in self.all and name in self.jobs:
            self.all[name] = Program(self._machine, self.jobs[name])
        return self.all.get(name)

    @property
    def alive(self) -> list[str]:
        if not self.jobs:
            return []
        found = [str(who) for who, phase in self._machine.alive() if phase not in (SETUP, GATES)]
        return [name for name in found if name in self.jobs]

    def go(self) -> None:
        """Time has passed. What its shim has left is swept."""
        alive = self.alive
        for name in alive:
            program = self.of(name)
            assert program is not None
            program.go()
        for name, program in self.all.items():
            if name not in alive:
                program.kill()

    def kill(self) -> None:
        for program in self.all.values():
            program.kill()

    def lose_power(self) -> None:
        for program in self.all.values():
            program.lose_power()


class InteractiveRunRunner(MemoryRunner):
    """The output of an interactive run is what its program has written, also after a power cut."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine.host)
        self._programs = machine.programs

    def tail(self, path: Path, offset: int, limit: int) -> bytes:
        program = self._programs.all.get(path.parent.name)
        if program is None or path.name != OUT:
            return super().tail(path, offset, limit)
        out = program.voice.out
        begin = offset if offset >= 0 else max(0, len(out) + offset)
        return out[begin : begin + limit]


class InteractiveRunRuntimes(MemoryRuntimes):
    """Interactive runs are read as the worker's stream is; their gateway would tell what a call costs."""

    def __init__(self, programs: Programs) -> None:
        super().__init__()
        self._programs = programs

    def launch(
        self, job: Job, work: Path, home: Path, guide: str = "", listener: GatewayAccess | None = None
    ) -> Launch:
        if job.turns is not None:
            self._programs.jobs[str(job.identity)] = job
        return super().launch(job, work, home, guide, listener)

    def reader(self, job: Job, bounds: Bounds = NO_BOUNDS, laid: LaidMessageOf = NOTHING_LAID) -> Any:
        if job.turns is None:
            return super().reader(job, bounds, laid)
        native = RUNTIMES["native"]
        parser = native.parser(request_of(job, "/", "/"))
        return Priced(reader_of(parser, job.policy, NO_BOUNDS, native.capabilities, {}, laid))


class Priced:
    """The reader of an interactive run, with the price of its tokens."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader, self.feed = reader, reader.feed

    def spent(self) -> Any:
        return _priced(self._reader.spent())

    def finish(self, end: Any) -> Any:
        told = self._reader.finish(end)
        return replace(told, spent=_priced(told.spent))


def _priced(spent: Any) -> Any:
    cost = {"cost_usd": spent.usage.input_tokens * TOKEN_USD, "cost_source": "reported"}
    return replace(spent, usage=spent.usage.model_copy(update=cost))
