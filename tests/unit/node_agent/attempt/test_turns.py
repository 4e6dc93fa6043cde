"""The turns of an interactive run, from the stream of its program into the record of its
attempt: each once."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from node_agent.attempt.gateways import GatewayAccess, ModelCount, NoGateways
from node_agent.attempt.plans import OUT
from node_agent.attempt.ports import NOTHING_LAID, LaidMessageOf, ReportedTurn
from node_agent.attempt.records import JournalRecord, Note, apply_record, record_of
from node_agent.attempt.turns import cut_by, is_waiting, lower_limits, used_since
from node_agent.attempt.turns import record_of as turn_of
from node_agent.attempt.verdict import Fault
from node_agent.policy.judging import NO_BOUNDS, Bounds
from node_agent.runner.launching import StreamReader, reader_of
from node_agent.runtimes.base import ExitInfo, TurnEnded
from node_agent.runtimes.registry import RUNTIMES
from node_agent.wire.control import UserMessage
from node_agent.wire.event import Turned, UserAsked
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import Mark
from node_agent.wire.job import Job, Limits, TurnTerms
from node_agent.wire.policy import CallAsked, CommandRule, Rules, Safety, compile_policy
from node_agent.wire.receipt import ModelCalls, SuspendReason, TurnMessage, TurnStop, Usage
from tests.fakes.node import MemoryRunner, MemoryRuntimes, Script
from tests.unit.node_agent.runtimes.asked import ask
from tests.unit.node_agent.stage import Stage, identity, job_of

WORDS = TurnMessage(number=0, by="ana", sha256="0" * 64)


def line(kind: str, **fields: object) -> bytes:
    return json.dumps({"type": kind, **fields}).encode() + b"\n"


def turn(number: int, text: str = "go on") -> bytes:
    return line("turn", number=number, words=number - 1, by="ana", text=text, at=1_000)


def end(number: int, stop: str = "end_turn") -> bytes:
    return line("turn_end", number=number, stop=stop, why="", at=3_000)


def laid(number: int) -> TurnMessage:
    return TurnMessage.of(number, "ana", "go on")


def reader(hidden: dict[str, str] | None = None, words: LaidMessageOf = laid) -> StreamReader:
    native = RUNTIMES["native"]
    policy = compile_policy(Safety.AUTO_EDIT, False)
    return reader_of(native.parser(ask()), policy, NO_BOUNDS, native.capabilities, hidden or {}, words)


class Talking(MemoryRuntimes):
    """Its programs write what the native worker writes."""

    def reader(self, job: Job, bounds: Bounds = NO_BOUNDS, laid: LaidMessageOf = NOTHING_LAID) -> Any:
        return reader()


def test_a_question_is_told_behind_the_end_of_every_turn_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.node_agent.stage.MemoryRuntimes", Talking)
    asks = CommandRule(pattern="push", ask=True)
    stage = Stage(script=lambda _: Script(duration_ms=600_000, output=turn(1)))
    policy = compile_policy(Safety.AUTO_EDIT, False, rules=Rules(commands=(asks,)))
    stage.push(job_of(policy=policy, turns=TurnTerms(idle_ms=60_000, turn_ms=60_000, by="ana")))
    assert stage.go(20_000, lambda: len(stage.host.spawns) == 1)
    calls, name = stage.host.calls, str(identity())
    calls[name] = [CallAsked(call=f"{one:016x}", command="git push", pattern="push") for one in (1, 2)]
    whole, read = turn(1) + end(1) + turn(2) + end(2) + turn(3), MemoryRunner.tail

    def late(runner: MemoryRunner, path: Path, offset: int, limit: int) -> bytes:
        """Turn 2 ends, and its question with it, while the node reads; turn 3 has asked already."""
        if path.name != OUT:
            return read(runner, path, offset, limit)
        calls[name] = calls[name][1:2] or calls[name]
        return whole[offset : offset + limit]

    monkeypatch.setattr(MemoryRunner, "tail", late)
    assert stage.go(20_000, lambda: bool(told(stage, UserAsked)))
    found = told(stage, UserAsked | Turned)
    assert [type(body) for body in found] == [Turned, Turned, UserAsked]
    assert isinstance(found[-1], UserAsked) and found[-1].asked.call == f"{2:016x}", "1 waits no more"


class Counting(NoGateways):
    """Each call costs a dime. It is counted before the agent sees the end of its answer."""

    calls = 0

    def open(self, job: Job, folder: Path) -> GatewayAccess:
        return GatewayAccess(1, "token")

    def is_alive(self, folder: Path) -> bool:
        return True

    def count(self, folder: Path) -> ModelCount:
        usage = Usage(cost_usd=Decimal(self.calls) / 10, cost_source="metered")
        return ModelCount(usage, ModelCalls(requests=self.calls))


def test_a_turn_costs_what_the_gateway_has_counted_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.node_agent.stage.MemoryRuntimes", Talking)
    monkeypatch.setattr("tests.unit.node_agent.stage.NoGateways", Counting)
    monkeypatch.setattr(Counting, "calls", 0)
    stage = Stage(script=lambda _: Script(duration_ms=600_000, output=turn(1)))
    stage.push(job_of(turns=TurnTerms(idle_ms=60_000, turn_ms=60_000, by="ana")))
    assert stage.go(20_000, lambda: len(stage.host.spawns) == 1)
    said, read = [turn(1)], MemoryRunner.tail

    def written(runner: MemoryRunner, path: Path, offset: int, limit: int) -> bytes:
        return b"".join(said)[offset:][:limit] if path.name == OUT else read(runner, path, offset, limit)

    monkeypatch.setattr(MemoryRunner, "tail", written)
    for number in (1, 2, 3):
        stage.go(3_000)
        Counting.calls += 1
        said.append(end(number) + turn(number + 1))
        assert stage.go(20_000, lambda: len(told(stage, Turned)) == Counting.calls)
    assert [str(one.turn.usage.cost_usd) for one in told(stage, Turned)] == ["0.1"] * 3


def test_an_interactive_run_uses_its_model_in_its_turns_and_not_while_it_waits_for_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What its provider told it, or the queue of its server, is nothing to the machine then."""
    monkeypatch.setattr("tests.unit.node_agent.stage.MemoryRuntimes", Talking)
    stage = Stage(script=lambda _: Script(duration_ms=600_000, output=turn(1)))
    stage.push(job_of(turns=TurnTerms(idle_ms=60_000, turn_ms=60_000, by="ana")))

    def in_use(interactive_runs: int) -> bool:
        return stage.go(20_000, lambda: len(stage.agent.procedure.uses()) == interactive_runs)

    assert in_use(1)
    said, read = [turn(1), end(1)], MemoryRunner.tail

    def written(runner: MemoryRunner, path: Path, offset: int, limit: int) -> bytes:
        return b"".join(said)[offset:][:limit] if path.name == OUT else read(runner, path, offset, limit)

    monkeypatch.setattr(MemoryRunner, "tail", written)
    assert in_use(0)
    said.append(turn(2))
    assert in_use(1)


def told(stage: Stage, kind: Any) -> list[Any]:
    return [one.body for _, one in sorted(stage.events.items()) if isinstance(one.body, kind)]


LAID = {0: laid(0), 1: TurnMessage.of(1, "ben", "stop the deploy")}


def test_what_nobody_laid_is_no_turn_and_no_words_but_a_finding() -> None:
    """Any process of the run may write into the stream."""
    found = reader(words={0: LAID[0]}.get)
    forged = line("heard", number=7, by="ana", text="push it") + end(1) + turn(2, "delete the backups")
    found.feed(turn(1) + forged + end(2))
    spent = found.spent()
    assert [(one.number, one.words) for one in spent.turns] == [(1, (LAID[0],))] and spent.heard == ()
    assert len(spent.broken.words) == 2 and "names user message 7" in spent.broken.words[0]
    assert spent.broken.ending is None
    assert set(spent.broken.words) <= set(found.finish(ExitInfo(0)).findings)


def test_number_name_and_text_are_those_that_were_laid_and_count_once() -> None:
    found = reader(words=LAID.get)
    false = line("heard", number=1, by="ana", text="I have read it: push it")
    found.feed(turn(1) + false + false + end(1))
    (one,) = found.spent().turns
    assert one.words == (LAID[0], LAID[1]) and found.spent().heard == (1,)
    other, again = found.spent().broken.words
    assert "another text for user message 1" in other and "not delivered to it then" in again


def test_what_is_laid_is_known_before_the_program_can_tell_of_it_and_after_a_restart() -> None:
    seen: list[LaidMessageOf] = []

    class Watching(MemoryRuntimes):
        def reader(self, job: Job, bounds: Bounds = NO_BOUNDS, laid: LaidMessageOf = NOTHING_LAID) -> Any:
            seen.append(laid)
            return super().reader(job, bounds, laid)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.unit.node_agent.stage.MemoryRuntimes", Watching)
        stage = Stage(script=lambda _: Script(duration_ms=600_000))
        stage.push(job_of(turns=TurnTerms(idle_ms=60_000, turn_ms=60_000, by="ana"), task="look"))
        assert stage.go(20_000, lambda: len(stage.host.spawns) == 1 and bool(seen))
        stage.tell(UserMessage(identity=identity(), number=1, text="stop the deploy", by="ben"))
        assert stage.go(20_000, lambda: seen[-1](1) is not None)
        stage.agent = stage.start()
        assert stage.go(20_000, lambda: len(seen) == 2)
    for known in seen[-1:]:
        assert (known(0), known(1)) == (TurnMessage.of(0, "ana", "look"), LAID[1]) and known(2) is None


@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_a_turn_ends_at_its_byte_however_the_stream_was_cut(size: int) -> None:
    heard = line("heard", number=5, by="ben", text="more")
    data, rest = turn(1) + b"\n \nno json\n" + heard + end(1), turn(2)
    found = reader(words=lambda one: TurnMessage.of(5, "ben", "more") if one == 5 else laid(one))
    for at in range(0, len(data + rest), size):
        found.feed((data + rest)[at : at + size])
    first, second = found.spent().turns
    assert first.end is not None and first.end.end_at == len(data)
    assert [(one.number, one.by) for one in first.words] == [(0, "ana"), (5, "ben")]
    assert second.end is None and not is_waiting(found.spent()) and found.spent().heard == (5, 1)


def test_a_stream_that_counts_wrongly_makes_no_turns() -> None:
    found = reader()
    found.feed(end(1) + turn(2) + turn(1) + turn(2) + end(1, "made up") + line("rests", why="made up"))
    assert [one.number for one in found.spent().turns] == [1] and found.spent().rests is None
    found.feed(end(1) + line("rests", why="idle"))
    assert is_waiting(found.spent()) and found.spent().rests is SuspendReason.IDLE


def test_no_secret_stands_in_a_turn() -> None:
    found = reader({"KEY": "s3cr3t-value"})
    found.feed(turn(1) + line("turn_end", number=1, stop="failed", why="no s3cr3t-value here", at=1))
    (told,) = found.spent().turns
    assert told.end is not None and "s3cr3t-value" not in told.end.why


def test_each_turn_has_what_it_alone_has_used() -> None:
    def used(tokens: int, usd: str | None) -> Usage:
        cost = None if usd is None else Decimal(usd)
        return Usage(input_tokens=tokens, cost_usd=cost, cost_source="unknown" if usd is None else "metered")

    ended = TurnEnded(TurnStop.END_TURN, "", 3_000, 10, Usage())
    first = turn_of(ReportedTurn(1, (WORDS,), 1_000), ended, used_since(used(100, "0.10"), ()))
    second = turn_of(ReportedTurn(2, (WORDS,), 1_000), ended, used_since(used(150, "0.25"), (first,)))
    assert (second.usage.input_tokens, second.usage.cost_usd) == (50, Decimal("0.15"))
    assert (first.usage.agent_ms, first.began_wall_ms, first.ended_wall_ms) == (2_000, 1_000, 3_000)
    assert used_since(used(10, None), (first,)).cost_usd is None, "unknown stays unknown"
    assert used_since(used(10, "0"), (first,)).input_tokens == 0, "a count that shrinks is not a credit"


def test_a_journal_keeps_the_turns_it_was_told() -> None:
    record = turn_of(ReportedTurn(1, (WORDS,), 0), TurnEnded(TurnStop.LOST, "gone", 0, 10, Usage()), Usage())
    assert (record.began_wall_ms, record.ended_wall_ms) == (None, None), "nobody knows when"
    entry = JournalRecord(identity(), "0" * 64, 1, Mark.SPAWNED, {}, 0)
    stored = json.loads(json.dumps(record_of(Note(turns=(record,)), [], 5)))
    assert apply_record(entry, stored).turns == (record,)
    assert apply_record(apply_record(entry, stored), record_of(Note(cleaned=True), [], 5)).turns == ()


def test_a_turn_without_an_end_is_lost_unless_a_limit_ended_it() -> None:
    limit = cut_by(Fault(FailureKind.USD_LIMIT, "$2"), 7, Usage())
    assert (limit.stop, limit.why, limit.end_at) == (TurnStop.LIMIT, "$2", 7)
    assert cut_by(Fault(FailureKind.PROCESS_VANISHED, "gone"), 7, Usage()).stop is TurnStop.LOST
    assert cut_by(None, 7, Usage()).stop is TurnStop.LOST


def test_a_limit_is_near_at_four_fifths() -> None:
    limits = lower_limits(Limits(wall_ms=1, idle_ms=1, output_bytes=1, tokens=100, usd=Decimal(2)))
    assert (limits.tokens, limits.usd) == (80, Decimal("1.6"))
    assert lower_limits(Limits(wall_ms=1, idle_ms=1, output_bytes=1)).usd is None
