"""How a phase is ended from outside: a stop at any moment, the escalation, and the three limits."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.shim.spool import Ended, Grace, NotStarted, PhaseEnd, PhaseLimits, StepEndedBy, StepKind
from tests.crowd import crowded
from tests.integration.shim_phases import PYTHON, Phases, phases_in, until, written

DEAF = "trap '' INT TERM; echo ready; while :; do sleep 0.05; done"
POLITE = "trap 'echo saved; exit 0' INT; echo ready; while :; do sleep 0.05; done"
LATE = "trap '' INT; trap 'echo term; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
READY = "ready\n"


@pytest.fixture
def phases(tmp_path: Path) -> Iterator[Phases]:
    yield from phases_in(tmp_path)


def started(phases: Phases, script: str, **given: object) -> Path:
    """The folder of a phase whose program has said that it is ready."""
    folder = phases.start(["sh", "-c", script], ["true"], **given)
    assert until(written(folder.parent / "out0")) == READY
    return folder


def test_polite_program_ends_at_sigint(phases: Phases) -> None:
    folder = started(phases, POLITE, grace=Grace(20_000, 20_000))
    phases.runner.stop(folder, "a user")
    record = phases.finish(folder)
    assert (record.ended, record.reason) == (PhaseEnd.STOPPED, "in step s0")
    assert [(s.exit_code, s.ended_by) for s in record.steps] == [(0, StepEndedBy.STOP)]
    assert not record.steps[0].ok
    assert (folder.parent / "out0").read_text() == READY + "saved\n"


def test_sigterm_follows_its_grace(phases: Phases) -> None:
    folder = started(phases, LATE, grace=Grace(400, 20_000))
    before = time.monotonic()
    phases.runner.stop(folder, "a user")
    step = phases.finish(folder).steps[0]
    assert (step.exit_code, step.ended_by) == (7, StepEndedBy.STOP)
    assert time.monotonic() - before >= 0.4


def test_deaf_program_is_killed_after_both_graces(phases: Phases) -> None:
    folder = started(phases, DEAF, grace=Grace(300, 300))
    before = time.monotonic()
    phases.runner.stop(folder, "a user")
    step = phases.finish(folder).steps[0]
    assert (step.exit_code, step.signal, step.ended_by) == (None, signal.SIGKILL, StepEndedBy.STOP)
    assert time.monotonic() - before >= 0.6


def test_a_program_that_stands_still_hears_the_stop(phases: Phases) -> None:
    folder = started(phases, POLITE, grace=Grace(20_000, 20_000))
    os.killpg(phases.running(folder).pid, signal.SIGSTOP)
    phases.runner.stop(folder, "a user")
    assert phases.finish(folder).steps[0].exit_code == 0


def test_who_left_the_group_hears_the_stop_too(phases: Phases) -> None:
    """The launcher dies at once; its detached child still gets its grace to save what it has."""
    child = f"{PYTHON} -I -S -c \"import time,signal; signal.signal(2, lambda *_: (time.sleep(0.3), print('saved', flush=True), exit(0))); print('ready', flush=True); time.sleep(60)\""  # noqa: E501
    folder = started(phases, f"setsid {child} & sleep 60", grace=Grace(20_000, 20_000))
    phases.runner.stop(folder, "a user")
    assert phases.finish(folder).swept == 0
    assert (folder.parent / "out0").read_text() == READY + "saved\n"


def test_sigterm_to_the_shim_is_a_request_to_stop(phases: Phases) -> None:
    folder = started(phases, POLITE, grace=Grace(20_000, 20_000))
    os.kill(phases.running(folder).shim, signal.SIGTERM)
    assert phases.finish(folder).ended is PhaseEnd.STOPPED


def test_hangup_and_interrupt_do_not_touch_the_shim(phases: Phases) -> None:
    folder = phases.start(["sh", "-c", "echo ready; sleep 0.5"])
    shim = phases.running(folder).shim
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGPIPE):
        os.kill(shim, number)
    assert phases.finish(folder).ended is PhaseEnd.DONE


def test_stop_without_a_hint_is_seen_by_polling(phases: Phases) -> None:
    folder = started(phases, POLITE, grace=Grace(20_000, 20_000))
    (folder / "stop").write_text("{}")
    before = time.monotonic()
    assert phases.finish(folder).ended is PhaseEnd.STOPPED
    assert time.monotonic() - before < 10 * crowded()


def test_stop_before_the_start_executes_nothing(phases: Phases) -> None:
    folder, plan = phases.plan(["sh", "-c", "echo ran >>ran"])
    phases.runner.stop(folder, "first")
    phases.runner.stop(folder, "second")
    assert phases.runner.look(folder) == NotStarted()
    assert b"first" in (folder / "stop").read_bytes()
    phases.runner.start(folder, plan)
    record = phases.finish(folder)
    assert (record.ended, record.reason, record.steps) == (PhaseEnd.STOPPED, "before step s0", ())
    assert not (folder.parent / "ran").exists()


@pytest.mark.parametrize("delay_ms", [0, 1, 3, 6, 9, 12, 15, 20, 30])
def test_stop_racing_the_start(phases: Phases, delay_ms: int) -> None:
    """Whichever wins: one terminal record, nothing alive, and a stop that is told."""
    import threading

    folder, plan = phases.plan(["sh", "-c", "echo began >>began; sleep 60"])

    def stop() -> None:
        time.sleep(delay_ms / 1000)
        phases.runner.stop(folder, "race")

    other = threading.Thread(target=stop)
    other.start()
    phases.runner.start(folder, plan)
    other.join()
    record = phases.finish(folder)
    assert record.ended is PhaseEnd.STOPPED
    assert all(step.ended_by is StepEndedBy.STOP for step in record.steps)
    assert not (folder.parent / "began").exists() or len(record.steps) == 1


def test_stop_between_two_steps_is_told_as_such(phases: Phases) -> None:
    folder, plan = phases.plan(["sh", "-c", "echo {} > work/stop"], ["sh", "-c", "echo ran >>ran"])
    phases.runner.start(folder, plan)
    record = phases.finish(folder)
    assert record.ended is PhaseEnd.STOPPED
    assert not (folder.parent / "ran").exists()


def test_stop_after_the_end_changes_nothing(phases: Phases) -> None:
    folder = phases.start(["true"])
    before = phases.finish(folder)
    phases.runner.stop(folder, "too late")
    assert phases.runner.look(folder) == Ended(before)


def test_wall_limit_counts_for_the_phase(phases: Phases) -> None:
    record, _ = phases.run(
        ["sleep", "0.3"],
        ["sleep", "60"],
        ["true"],
        kind=StepKind.GATE,
        go_on=True,
        limits=PhaseLimits(wall_ms=1500),
    )
    assert [s.ended_by for s in record.steps] == [StepEndedBy.NONE, StepEndedBy.WALL]
    assert 1500 <= record.ended_mono_ms - record.began_mono_ms < 10_000
    assert (record.ended, record.reason) == (PhaseEnd.FAILED, "step s1")


def test_idle_limit_counts_from_the_last_output(phases: Phases) -> None:
    chatty = "for i in 1 2 3 4 5; do echo $i; sleep 0.2; done; echo end >&2; sleep 60"
    step, base = phases.one("sh", "-c", chatty, limits=PhaseLimits(idle_ms=1500))
    assert step.ended_by is StepEndedBy.IDLE
    assert (base / "err0").read_text() == "end\n"
    assert step.ended_mono_ms - step.began_mono_ms >= 2400


def test_output_limit_is_over_both_files(phases: Phases) -> None:
    flood = "yes >&2 & yes"
    step, base = phases.one("sh", "-c", flood, limits=PhaseLimits(output_bytes=2_000_000))
    (base / "out0").unlink()
    (base / "err0").unlink()
    assert step.ended_by is StepEndedBy.OUTPUT
    assert step.out_bytes + step.err_bytes > 2_000_000
    at_once = "head -c 5000000 /dev/zero"  # over before anybody looks
    record, _ = phases.one("sh", "-c", at_once, limits=PhaseLimits(output_bytes=1_024))
    assert record.ended_by is StepEndedBy.OUTPUT
    quiet, _ = phases.one("sh", "-c", "printf 12345; printf 12345 >&2", limits=PhaseLimits(output_bytes=10))
    assert quiet.ok


def test_limits_spare_what_ends_in_time(phases: Phases) -> None:
    record, _ = phases.run(
        ["sleep", "0.2"], limits=PhaseLimits(wall_ms=20_000, idle_ms=20_000, output_bytes=1)
    )
    assert record.ended is PhaseEnd.DONE


def test_a_broken_gate_limit_goes_on_to_the_next_gate(phases: Phases) -> None:
    record, _ = phases.run(
        ["sleep", "60"], ["true"], kind=StepKind.GATE, go_on=True, limits=PhaseLimits(idle_ms=1000)
    )
    assert [(s.ended_by, s.ok) for s in record.steps] == [(StepEndedBy.IDLE, False), (StepEndedBy.NONE, True)]
