"""What processes have used, and which file was changed last: read of /proc and of the files themselves."""

from __future__ import annotations

import os
from pathlib import Path

from node_agent.runner.runner import changed_ms, cpu_ms


def test_the_newest_change_counts_wherever_it_is_but_not_below_what_is_skipped(tmp_path: Path) -> None:
    for name in ("a/b/deep.txt", ".git/index", "node_modules/x/y.js"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    for number, path in enumerate(sorted(tmp_path.rglob("*"), key=lambda one: -len(one.parts))):
        os.utime(path, (1_000 + number, 1_000 + number))
    before = changed_ms(str(tmp_path))
    os.utime(tmp_path / ".git/index", (9_000, 9_000))
    os.utime(tmp_path / "node_modules/x/y.js", (9_000, 9_000))
    assert changed_ms(str(tmp_path)) == before
    os.utime(tmp_path / "a/b/deep.txt", (5_000, 5_000))
    assert changed_ms(str(tmp_path)) == 5_000_000
    assert changed_ms(str(tmp_path / "none")) == 0


def test_cpu_time_only_grows_and_what_has_ended_counts_nothing() -> None:
    before = cpu_ms([os.getpid()])
    while cpu_ms([os.getpid()]) == before:
        sum(range(10_000))
    assert cpu_ms([os.getpid(), 2**22 + 1]) > before
