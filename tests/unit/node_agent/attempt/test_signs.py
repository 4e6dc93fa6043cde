"""What a look at an agent at work says of it: which signs of life, and how old they are."""

from __future__ import annotations

from node_agent.attempt.gateways import ModelCount
from node_agent.attempt.ports import Activity
from node_agent.attempt.watch import SignsOfLife
from node_agent.wire.identity import AttemptId
from node_agent.wire.node import Signs
from node_agent.wire.receipt import ModelCalls, Usage

WHO = AttemptId(run="r-0001", attempt=1, lease=1)
WALL = 1_000_000
BEGUN = Activity(cpu_ms=700, wrote_ms=WALL - 4_000, changed_ms=WALL - 9_000)


def count(**more: object) -> ModelCount:
    calls = {name: more.pop(name) for name in ("received_bytes", "retry_ms") if name in more}
    return ModelCount(Usage(), ModelCalls(requests=1, failed=0, refused=0, unread=0, **calls), **more)  # type: ignore[arg-type]


def ages(signs: SignsOfLife, mono_ms: int) -> Signs:
    (found,) = signs.ages(WHO, mono_ms)
    return found


def test_the_first_look_knows_the_newest_output_alone() -> None:
    signs = SignsOfLife()
    assert not list(signs.ages(WHO, 5)) and signs.is_due(5, 30_000)
    signs.look(BEGUN, None, 10_000, WALL)
    assert not signs.is_due(39_999, 30_000) and signs.is_due(40_000, 30_000)
    assert ages(signs, 11_000) == Signs(identity=WHO, output_ms=5_000)


def test_a_tenth_of_a_core_is_work_and_less_is_a_program_that_waits() -> None:
    signs = SignsOfLife()
    signs.look(BEGUN, None, 0, WALL)
    signs.look(Activity(700 + 2_999, BEGUN.wrote_ms, BEGUN.changed_ms), None, 30_000, WALL)
    assert ages(signs, 30_000).cpu_ms is None
    signs.look(Activity(700 + 2_999 + 3_000, BEGUN.wrote_ms, BEGUN.changed_ms), None, 60_000, WALL)
    assert ages(signs, 61_000).cpu_ms == 1_000


def test_output_and_files_are_seen_as_they_change() -> None:
    signs = SignsOfLife()
    signs.look(BEGUN, None, 0, WALL)
    signs.look(Activity(700, WALL, BEGUN.changed_ms), None, 30_000, WALL)
    assert (ages(signs, 31_000).output_ms, ages(signs, 31_000).files_ms) == (1_000, None)
    signs.look(Activity(700, WALL, WALL + 1), None, 60_000, WALL)
    assert (ages(signs, 60_000).output_ms, ages(signs, 60_000).files_ms) == (30_000, 0)


def test_a_model_is_at_work_while_a_call_is_open_or_bytes_move() -> None:
    signs = SignsOfLife()
    signs.look(BEGUN, count(waiting=1), 0, WALL)
    signs.look(BEGUN, count(), 30_000, WALL)
    assert ages(signs, 30_000).model_ms == 30_000
    signs.look(BEGUN, count(received_bytes=9), 60_000, WALL)
    signs.look(BEGUN, count(received_bytes=9), 90_000, WALL)
    assert ages(signs, 90_000).model_ms == 30_000


def test_a_pause_counts_while_the_server_fails() -> None:
    signs = SignsOfLife()
    signs.look(BEGUN, count(failing=1, retry_ms=20_000), 0, WALL)
    assert (ages(signs, 5_000).pause_ms, ages(signs, 25_000).pause_ms) == (15_000, 0)
    signs.look(BEGUN, count(failing=0, retry_ms=20_000), 5_000, WALL)
    assert ages(signs, 5_000).pause_ms == 0
