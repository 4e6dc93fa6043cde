"""What takes too much memory, or too many processes, is ended for that; its shim and its neighbours live."""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.shim import limits, memory_files
from node_agent.shim.limits import MEMORY, PROCESSES, Consumption
from node_agent.shim.process import Proc
from node_agent.shim.spool import PhaseEnd, PhaseLimits, StepEndedBy
from tests.integration.shim_phases import Phases, phases_in, until

HOG = """
import time
kept = []
for _ in range(200):
    kept.append(bytearray(4 << 20))
    time.sleep(0.005)
time.sleep(60)
"""
SHARED = """
import os, time
kept = bytearray(60 << 20)
for _ in range(5):
    if os.fork() == 0:
        time.sleep(3)
        os._exit(0)
time.sleep(3)
"""
THREADS = """
import threading, time
for _ in range(80):
    threading.Thread(target=time.sleep, args=(60,)).start()
"""
NAMELESS = """
import os, time
kept = os.memfd_create("kept")
for _ in range(40):
    os.write(kept, bytes(4 << 20))
if os.fork() == 0:
    time.sleep(60)
time.sleep(60)
"""
"""160 MB in a file that no process has mapped, and that two hold open."""
CROWD = "n=0; while [ $n -lt 150 ]; do sleep 60 & n=$((n+1)); done; wait"
"""Never an unbounded bomb: without a sandbox only a look ends it, and until then it has the whole machine."""
SMALL = 100 << 20


@pytest.fixture
def phases(tmp_path: Path) -> Iterator[Phases]:
    yield from phases_in(tmp_path)


def test_a_hog_of_memory_is_ended(phases: Phases) -> None:
    done, _ = phases.one(sys.executable, "-c", HOG, limits=PhaseLimits(memory_bytes=SMALL))
    assert (done.ended_by, done.signal) == (StepEndedBy.MEMORY, signal.SIGKILL)
    assert done.max_rss_kb < 10 * SMALL / 1024, "long before the machine feels it"


@pytest.mark.slow
def test_a_file_without_a_name_counts_as_memory_and_once(phases: Phases) -> None:
    done, _ = phases.one(sys.executable, "-c", NAMELESS, limits=PhaseLimits(memory_bytes=SMALL))
    assert (done.ended_by, done.signal) == (StepEndedBy.MEMORY, signal.SIGKILL)
    brief = NAMELESS.replace("sleep(60)", "sleep(3)")
    done, _ = phases.one(sys.executable, "-c", brief, limits=PhaseLimits(memory_bytes=260 << 20))
    assert (done.ended_by, done.exit_code) == (StepEndedBy.NONE, 0)


def test_what_is_mapped_of_a_file_in_memory_is_not_counted_twice() -> None:
    size = 128 << 20
    kept = os.memfd_create("kept")
    try:
        os.ftruncate(kept, size)
        with mmap.mmap(kept, size) as shared:
            for at in range(0, size, mmap.PAGESIZE):
                shared[at] = 1
            mine = [os.getpid()]
            assert memory_files.measure_nameless(mine) == size
            assert limits._measure_shared(mine, size) == pytest.approx(
                limits._measure_shared(mine, 0), rel=0.1
            )
    finally:
        os.close(kept)
    assert memory_files.measure_nameless(mine) == 0 and memory_files.in_folders(mine) == 0, (
        "the machine's own are nobody's"
    )


FILLED = "head -c 20000000 /dev/zero > /tmp/kept-by-a-test; echo full; exec sleep 60"


@pytest.mark.parametrize(("own", "most"), [((), 0), (("--tmpfs", "/tmp"), 30_000_000)])
def test_of_a_programs_own_sandbox_only_what_it_has_of_its_own(own: tuple[str, ...], most: int) -> None:
    """Codex shows what it starts the machine's own /tmp, which holds what others put there."""
    inside = FILLED if own else "echo full; exec sleep 60"
    argv = ["bwrap", "--dev-bind", "/", "/", *own, "--unshare-pid", "--die-with-parent", "sh", "-c", inside]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as started:
        try:
            assert started.stdout is not None and started.stdout.readline() == "full\n"
            below = [pid for pid, parent in _parents().items() if _is_below(pid, started.pid)]
            held = memory_files.in_folders(below)
        finally:
            started.kill()
    assert (20_000_000 <= held <= most) if own else held == most


def _parents() -> dict[int, int]:
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            found[int(name)] = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
    return found


def _is_below(pid: int, above: int) -> bool:
    parents = _parents()
    while pid and pid != above:
        pid = parents.get(pid, 0)
    return pid == above


def test_what_is_taken_together_counts_together(phases: Phases) -> None:
    one = f"{sys.executable} -c 'import time; kept = b\"x\" * (40 << 20); time.sleep(60)'"
    all_four = f"{one} & {one} & {one} & {one} & wait"
    done, _ = phases.one("sh", "-c", all_four, limits=PhaseLimits(memory_bytes=SMALL))
    assert done.ended_by is StepEndedBy.MEMORY


def test_what_processes_share_counts_once(phases: Phases) -> None:
    """Six that share 60 MB: 360 MB by the first sum, which is why there is a second one."""
    done, _ = phases.one(sys.executable, "-c", SHARED, limits=PhaseLimits(memory_bytes=2 * SMALL))
    assert (done.ended_by, done.exit_code) == (StepEndedBy.NONE, 0)


def test_a_crowd_is_ended_and_its_neighbour_is_not(phases: Phases) -> None:
    beside, quiet = phases.plan(["sh", "-c", "sleep 3; echo done"])
    phases.runner.start(beside, quiet)
    done, _ = phases.one("sh", "-c", CROWD, limits=PhaseLimits(processes=60))
    assert (done.ended_by, done.signal) == (StepEndedBy.PROCESSES, signal.SIGKILL)
    assert phases.finish(beside).ended is PhaseEnd.DONE


def test_threads_count_as_well(phases: Phases) -> None:
    done, _ = phases.one(sys.executable, "-c", THREADS, limits=PhaseLimits(processes=60))
    assert done.ended_by is StepEndedBy.PROCESSES


def test_what_stays_within_its_limits_is_let_be(phases: Phases) -> None:
    limits = PhaseLimits(memory_bytes=1 << 30, processes=200)
    done, _ = phases.one("sh", "-c", "for n in 1 2 3 4 5; do sleep 1.3 & done; wait", limits=limits)
    assert (done.ended_by, done.exit_code) == (StepEndedBy.NONE, 0)


def test_when_memory_runs_out_attempts_end_before_those_who_watch_them(phases: Phases) -> None:
    folder, plan = phases.plan(["sh", "-c", "sleep 60 & cat /proc/$!/oom_score_adj; echo; wait"])
    phases.runner.start(folder, plan)
    seen = phases.running(folder)
    until(lambda: (folder.parent / "out0").read_text().strip() or None)
    assert int((folder.parent / "out0").read_text()) == limits.FAIR_GAME
    assert int(Path(f"/proc/{seen.shim}/oom_score_adj").read_text()) < limits.FAIR_GAME
    phases.runner.stop(folder, "enough")
    phases.finish(folder)


def nobody() -> list[Proc]:
    return []


def scope(folder: Path, oom: int, refused: int, *, own_oom: int | None = None, peak: int = 20) -> str:
    """As the kernel's files of a control group look."""
    for name, text in (
        ("memory.max", "1000\n"),
        ("memory.events", f"low 0\nmax 7\noom {oom if own_oom is None else own_oom}\noom_kill {oom}\n"),
        ("pids.max", "20\n"),
        ("pids.events", f"max {refused}\n"),
        ("pids.peak", f"{peak}\n"),
    ):
        (folder / name).write_text(text)
    return str(folder)


def test_where_the_kernel_holds_the_limit_its_word_counts(tmp_path: Path) -> None:
    held = Consumption({"memory_bytes": 1, "processes": 1}, nobody, scope(tmp_path, 2, 3))
    held.start(0)
    assert held.over(10_000) == "" == held.refused()
    scope(tmp_path, 2, 4)
    assert held.over(10_001) == held.refused() == PROCESSES
    held = Consumption({"memory_bytes": 1, "processes": 1}, nobody, scope(tmp_path, 2, 4))
    scope(tmp_path, 3, 4)
    held.start(20_000)  # it had met its limit before anybody watched
    assert held.over(20_001) == MEMORY
    (tmp_path / "pids.events").unlink()
    (tmp_path / "memory.events").unlink()
    assert held.over(30_000) == "", "its group is gone, and so is it"


def test_what_met_the_limit_of_another_group_or_the_machine_is_not_blamed(tmp_path: Path) -> None:
    held = Consumption({"memory_bytes": 1, "processes": 1}, nobody, scope(tmp_path, 2, 3, own_oom=1))
    held.start(0)
    scope(tmp_path, 3, 3, own_oom=1)
    assert held.refused() == "", "the machine had no memory left: this group was below its limit"
    scope(tmp_path, 3, 4, own_oom=1, peak=19)
    assert held.refused() == "", "a group above refused the process"
    (tmp_path / "pids.peak").unlink()
    (tmp_path / "pids.current").write_text("20\n")
    assert held.refused() == PROCESSES, "an older kernel"
    scope(tmp_path, 4, 4, own_oom=2, peak=19)
    assert held.refused() == MEMORY


def test_a_group_in_which_nothing_is_set_holds_nothing(tmp_path: Path) -> None:
    """As under a user manager that was not given the controllers: then the processes are looked at."""
    folder = scope(tmp_path, 0, 0)
    for name in ("memory.max", "pids.max"):
        (tmp_path / name).write_text("max\n")
    looked = Consumption({"memory_bytes": 1, "processes": 1 << 20}, lambda: [(os.getpid(), 0)], folder)
    looked.start(0)
    assert looked.over(50) == "" and looked.over(200) == MEMORY


def test_a_process_that_lets_nobody_look_closely_is_counted_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it could share with its children all that it takes, and have taken nothing."""
    whole = limits._read
    monkeypatch.setattr(limits, "_read", lambda path: b"" if "smaps" in path else whole(path))
    size = 256 << 20
    with mmap.mmap(-1, size) as shared:
        for at in range(0, size, mmap.PAGESIZE):
            shared[at] = 1
        looked = Consumption({"memory_bytes": size}, lambda: [(os.getpid(), 0)], "")
        looked.start(0)
        assert looked.over(10_000) == MEMORY
