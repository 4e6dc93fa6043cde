"""What a step leaves behind is found and killed, whatever it did to get away."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.shim import process
from node_agent.shim.spool import PhaseEnd, Vanished
from tests.crowd import crowded
from tests.integration.shim_phases import PYTHON, Phases, phases_in, until, written

DAEMON = """
import os, signal, sys, time
if os.fork(): os._exit(0)
os.setsid()
middle = os.getpid()
if os.fork(): os._exit(0)
while os.path.exists(f"/proc/{{middle}}"): time.sleep(0.001)  # or it counts as left behind, too
{also}
with open("daemon.new", "w") as f: f.write(f"{{os.getpid()}}\\n")
os.rename("daemon.new", "daemon")
time.sleep(60)
"""
IGNORE = "for n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)"
# A new program without the marker in its environment; only the tree can betray it.
BARE = (
    "if len(sys.argv) < 2: os.execve(sys.executable, [sys.executable, '-I', '-S', 'daemon.py', 'again'], {})"
)


@pytest.fixture
def phases(tmp_path: Path) -> Iterator[Phases]:
    yield from phases_in(tmp_path)


def daemon(phases: Phases, also: str, wait: str = "while [ ! -e daemon ]; do sleep 0.01; done") -> Path:
    """A started phase whose program leaves a daemon behind, says so, and ends."""
    folder, plan = phases.plan(["sh", "-c", f"{PYTHON} -I -S daemon.py; {wait}"])
    (folder.parent / "daemon.py").write_text(DAEMON.format(also=also))
    phases.runner.start(folder, plan)
    return folder


@pytest.mark.parametrize("also", ["pass", IGNORE, BARE])
def test_daemon_does_not_outlive_its_step(phases: Phases, also: str) -> None:
    folder = daemon(phases, also)
    record = phases.finish(folder)
    pid = int((folder.parent / "daemon").read_text())
    assert record.ended is PhaseEnd.DONE
    assert (record.steps[0].exit_code, record.left) == (0, 0)
    assert record.steps[0].swept in (1, 2), "the daemon, and what it began as where that is not yet gone"
    assert process.read_stat(pid) is None


def test_background_children_do_not_outlive_their_step(phases: Phases) -> None:
    deaf = "for i in 1 2 3 4 5 6 7 8; do (trap '' TERM INT HUP; sleep 60) & done"
    script = f"{deaf}; setsid sleep 60 & nohup sleep 60 &"
    step, _ = phases.one("sh", "-c", script)
    assert step.exit_code == 0 and step.swept >= 10


def test_a_later_step_starts_without_the_earlier_ones_children(phases: Phases) -> None:
    first = "setsid sleep 60 & echo $! >pids; sleep 60 & echo $! >>pids"
    second = "for p in $(cat pids); do [ ! -d /proc/$p ] || echo alive; done"
    record, base = phases.run(["sh", "-c", first], ["sh", "-c", second])
    assert [step.swept for step in record.steps] == [2, 0]
    assert (base / "out1").read_text() == ""


def test_what_forks_faster_than_we_look(phases: Phases) -> None:
    """A chain that forks, changes its session and ends, over and over: each scan is late, not so the kill."""
    chain = (
        "import os,time\nif os.fork(): os._exit(0)\n"
        "end = time.monotonic() + 20\n"
        "while time.monotonic() < end:\n"
        "    if os.fork(): os._exit(0)\n"
        "    os.setsid(); time.sleep(0.002)\n"
    )
    step, _ = phases.one(PYTHON, "-I", "-S", "-c", chain)
    assert step.exit_code == 0 and step.swept >= 1
    assert step.ended_mono_ms - step.began_mono_ms < 10_000


def test_another_attempt_is_left_alone(phases: Phases) -> None:
    other = phases.start(["sleep", "60"])
    pid = phases.running(other).pid
    phases.one("sh", "-c", "setsid sleep 60 &")
    assert phases.runner.sweep("m-unknown") == 0
    assert process.read_stat(pid) is not None and phases.alive(other) == [pid]
    phases.runner.stop(other, "end")
    phases.finish(other)


def test_who_only_carries_the_marker_of_an_attempt_is_neither_ended_nor_counted(phases: Phases) -> None:
    """Another run may know the name of this one and set it in its own environment."""
    folder, plan = phases.plan(["sh", "-c", "setsid sleep 60 & until test -e go; do sleep 0.02; done"])
    phases.runner.start(folder, plan)
    phases.running(folder)
    with subprocess.Popen(["sleep", "60"], env={"PANCODE_ATTEMPT": plan.marker}) as stranger:
        (folder.parent / "go").touch()
        record = phases.finish(folder)
        assert stranger.poll() is None
        stranger.kill()
    assert (record.steps[0].swept, record.swept) == (1, 1)


def test_a_killed_shim_is_seen_and_its_tree_swept(phases: Phases) -> None:
    folder = daemon(phases, IGNORE, wait="sleep 60")
    until(written(folder.parent / "daemon"))
    shim = phases.running(folder).shim
    os.kill(shim, signal.SIGKILL)
    seen = phases.runner.wait(folder, 10 * crowded())
    assert seen == Vanished(
        f"the process that supervised it there (shim, pid {shim}) was killed or has crashed"
    )
    assert len(phases.alive(folder)) == 3  # the shell, its sleep, the daemon
    assert phases.runner.end_leftovers({"m-unknown", folder.parent.name}) == {folder.parent.name: 3}
    assert phases.alive(folder) == []
    assert phases.runner.sweep(folder.parent.name) == 0
    assert phases.runner.look(folder) == seen


def test_what_had_ended_is_known_of_a_vanished_shim(phases: Phases) -> None:
    folder = phases.start(["sh", "-c", "exit 6"], ["no-such"], ["sleep", "60"], go_on=True)
    shim = until(lambda: seen if (seen := phases.running(folder)).step == "s2" else None).shim
    os.kill(shim, signal.SIGKILL)
    seen = phases.runner.wait(folder, 10 * crowded())
    phases.runner.sweep(folder.parent.name)
    assert isinstance(seen, Vanished)
    assert [(step.name, step.exit_code, step.exec_error is None) for step in seen.steps] == [
        ("s0", 6, True),
        ("s1", None, False),
    ]


def test_the_marker_is_matched_whole(phases: Phases) -> None:
    """`r-1` must not find `r-11`, nor a value that only contains it."""
    lookalikes = [{"PANCODE_ATTEMPT": "zz-11"}, {"X": "PANCODE_ATTEMPT=zz-1"}, {"XPANCODE_ATTEMPT": "zz-1"}]
    wanted = subprocess.Popen(["sleep", "60"], env={"PANCODE_ATTEMPT": "zz-1"})
    others = [subprocess.Popen(["sleep", "60"], env=env) for env in lookalikes]
    try:
        assert [pid for pid, _ in process.find_members("zz-1")] == [wanted.pid]
        assert phases.runner.sweep("zz-1") == 1
        assert wanted.wait(5 * crowded()) == -signal.SIGKILL
        assert [other.poll() for other in others] == [None] * 3
    finally:
        for child in (wanted, *others):
            child.kill()
            child.wait()


def test_a_signal_reaches_no_later_owner_of_the_pid() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        found = process.read_stat(child.pid)
        assert found is not None
        assert not process.signal_exact((child.pid, found.start + 1), signal.SIGKILL)
        assert child.poll() is None
        assert process.signal_exact((child.pid, found.start), signal.SIGKILL)
        assert child.wait(5 * crowded()) == -signal.SIGKILL
        assert not process.signal_exact((child.pid, found.start), signal.SIGKILL)
    finally:
        child.kill()
        child.wait()


def test_a_name_cannot_confuse_the_process_table(tmp_path: Path) -> None:
    """The kernel prints the program's own name unescaped in the middle of the line."""
    tricky = tmp_path / "a) Z 1 1 ("
    tricky.symlink_to("/bin/sleep")
    child = subprocess.Popen([str(tricky), "60"])
    try:
        found = process.read_stat(child.pid)
        assert found is not None and (found.ppid, found.gone) == (os.getpid(), False)
        assert process.is_alive(process.boot_id(), child.pid, found.start)
        assert not process.is_alive("another-boot", child.pid, found.start)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not process.is_alive(process.boot_id(), child.pid, found.start)  # a zombie lives no more
    finally:
        child.kill()
        child.wait()
