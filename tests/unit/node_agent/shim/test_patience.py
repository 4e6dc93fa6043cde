"""The idle limit waits for a user, and for nothing else; no other limit does."""

from __future__ import annotations

from pathlib import Path

from node_agent.shim.limits import LOOK_MS, NEAR_MS, StepLimits

PLAN = {"idle_ms": 10_000, "output_bytes": 100}


def test_silence_counts_anew_after_a_user_was_asked(tmp_path: Path) -> None:
    file = tmp_path / "patience"
    limits = StepLimits(PLAN, 60_000, str(file))
    limits.start(0)
    assert limits.broken(9_000, 0) == ""
    file.touch()
    assert [limits.broken(ms, 0) for ms in range(10_000, 40_000, 1_000)] == [""] * 30
    file.unlink()
    assert limits.broken(48_000, 0) == "" and limits.broken(49_000, 0) == "idle"


def test_time_and_output_do_not_wait(tmp_path: Path) -> None:
    file = tmp_path / "patience"
    file.touch()
    limits = StepLimits(PLAN, 60_000, str(file))
    limits.start(0)
    assert limits.broken(60_000, 0) == "wall" and limits.broken(1_000, 101) == "output"


def test_without_such_a_file_it_is_as_before() -> None:
    limits = StepLimits(PLAN, None)
    limits.start(0)
    assert limits.broken(9_999, 0) == "" and limits.broken(10_000, 0) == "idle"


def test_a_step_that_waits_for_a_user_is_looked_at_each_second(tmp_path: Path) -> None:
    file = tmp_path / "patience"
    limits = StepLimits({"idle_ms": 60_000, "output_bytes": None}, None, str(file))
    limits.start(0)
    limits.broken(0, 10)
    file.touch()
    assert limits.wait_ms(500) == NEAR_MS, "output has just grown"
    for now in range(1_000, 200_000, LOOK_MS):
        assert limits.broken(now, 10) == "" and limits.wait_ms(now) == LOOK_MS
    file.unlink()
    assert limits.broken(259_000, 10) == "idle", "which counts from the end of the wait"
