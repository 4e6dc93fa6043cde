"""Crashes, a second shim, a restarted node, unreadable records, and a full disk."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from node_agent.runner.runner import spawned_in
from node_agent.shim import process, shim
from node_agent.shim.shim import SPAWNED
from node_agent.shim.spool import Ended, NotStarted, PhaseEnd, RunnerError, Running, Spawned, Vanished
from tests.crowd import crowded
from tests.integration.shim_phases import ENV, PYTHON, SHIM, Phases, new_runner, phases_in, until, written

ROOT = SHIM.parents[2]
STARTER = """
import sys, time
from pathlib import Path
from node_agent.runner.runner import Runner
from node_agent.shim.spool import PhasePlan
from node_agent.wire.clock import SystemClock
folder = Path(sys.argv[1])
plan = PhasePlan.from_json((folder.parent / "given.json").read_bytes())
Runner(sys.argv[2], Path(sys.argv[3]), SystemClock()).start(folder, plan)
print("started", flush=True)
time.sleep(60)
"""


@pytest.fixture
def phases(tmp_path: Path) -> Iterator[Phases]:
    yield from phases_in(tmp_path)


def second_shim(folder: Path) -> subprocess.CompletedProcess[str]:
    argv = [PYTHON, "-I", "-S", str(SHIM), str(folder)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=20 * crowded())


def test_shim_outlives_its_starter_and_is_adopted(phases: Phases) -> None:
    folder, plan = phases.plan(["sh", "-c", "echo ready; while [ ! -e go ]; do sleep 0.02; done; exit 5"])
    (folder.parent / "given.json").write_bytes(plan.to_json())
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(folder), PYTHON, str(SHIM)], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert starter.stdout is not None and starter.stdout.readline() == b"started\n"
    until(written(folder.parent / "out0"))
    starter.kill()
    starter.wait()
    starter.stdout.close()
    seen = phases.runner.look(folder)
    assert isinstance(seen, Running) and seen.step == "s0"
    assert isinstance(phases.runner.wait(folder, 0.2), Running)
    phases.runner.start(folder, plan)  # a restarted node agent may ask again
    (folder.parent / "go").touch()
    assert phases.finish(folder).steps[0].exit_code == 5
    assert (folder.parent / "out0").read_text() == "ready\n"


def test_a_second_shim_does_nothing(phases: Phases) -> None:
    folder = phases.start(["sh", "-c", "echo once >>count; sleep 0.5"])
    spawned = (folder / SPAWNED).read_bytes()
    second = second_shim(folder)
    assert (second.returncode, second.stdout) == (shim.TAKEN, "shim: another shim has this folder\n")
    assert phases.finish(folder).ended is PhaseEnd.DONE
    assert second_shim(folder).returncode == shim.TAKEN  # also after the end
    assert (folder / SPAWNED).read_bytes() == spawned
    assert (folder.parent / "count").read_text() == "once\n"


def test_of_many_shims_at_once_one_wins(phases: Phases) -> None:
    folder, plan = phases.plan(["sh", "-c", "echo once >>count"])
    phases.runner.prepare(folder, plan)
    with ThreadPoolExecutor(6) as pool:
        codes = sorted(done.returncode for done in pool.map(second_shim, [folder] * 6))
    assert codes == [shim.ENDED] + [shim.TAKEN] * 5
    assert (folder.parent / "count").read_text() == "once\n"
    assert [p.name for p in folder.iterdir() if p.name.endswith(".new")] == []


def test_many_threads_start_one_phase(phases: Phases) -> None:
    folder, plan = phases.plan(["sh", "-c", "echo once >>count"])
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: phases.runner.start(folder, plan), range(6)))
    assert phases.finish(folder).ended is PhaseEnd.DONE
    assert (folder.parent / "count").read_text() == "once\n"


def test_after_a_restart_of_the_node_the_shim_has_vanished(phases: Phases) -> None:
    """Its pid, even with its start time, may be another's now; that one must not be signalled."""
    folder, _ = phases.plan(["true"])
    folder.mkdir()
    stranger = subprocess.Popen(["sleep", "60"])  # SIGUSR1 would end it
    try:
        found = process.read_stat(stranger.pid)
        assert found is not None

        def recorded(boot: str, start: int) -> None:
            (folder / SPAWNED).write_bytes(Spawned(boot, stranger.pid, start).to_json())
            phases.runner.stop(folder, "must reach nobody")
            (folder / shim.STOP).unlink()

        recorded("former-boot", found.start)
        assert phases.runner.look(folder) == Vanished("the node was restarted", rebooted=True)
        recorded(process.boot_id(), found.start + 1)
        assert phases.runner.look(folder) == Vanished(
            f"the process that supervised it there (shim, pid {stranger.pid}) was killed or has crashed"
        )
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("delay_ms", range(0, 26, 2))
def test_a_shim_killed_at_any_moment_runs_nothing_twice(phases: Phases, delay_ms: int) -> None:
    """From its first instruction to its last: not started (then it can be), ended, or vanished."""
    folder, plan = phases.plan(["sh", "-c", "echo once >>count; setsid sleep 60 & sleep 0.005"])
    phases.runner.prepare(folder, plan)
    argv = [PYTHON, "-I", "-S", str(SHIM), str(folder)]
    victim = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(delay_ms / 1000)
    victim.kill()
    victim.wait()
    seen = phases.runner.look(folder)
    if isinstance(seen, NotStarted):
        assert not (folder.parent / "count").exists()
        phases.runner.start(folder, plan)
        assert phases.finish(folder).ended is PhaseEnd.DONE
    elif isinstance(seen, Vanished):
        phases.runner.sweep(folder.parent.name)
        phases.runner.start(folder, plan)
        assert phases.runner.look(folder) == seen
    else:
        assert isinstance(seen, Ended)
    assert phases.alive(folder) == []
    count = folder.parent / "count"
    assert not count.exists() or count.read_text() in ("", "once\n")


def test_a_torn_exit_record_is_none(phases: Phases) -> None:
    folder = phases.start(["true"])
    phases.finish(folder)
    data = (folder / shim.RECORDS).read_bytes()
    cut = shim.exit_offset(len(data)) + 60
    (folder / shim.RECORDS).write_bytes(data[:cut] + b"\0" * (len(data) - cut))
    another = new_runner()
    seen = until(lambda: look if not isinstance(look := another.look(folder), Running) else None)
    assert isinstance(seen, Vanished)


def test_records_of_another_version_are_an_error(phases: Phases) -> None:
    folder, _ = phases.plan(["true"])
    folder.mkdir()
    (folder / SPAWNED).write_bytes(b'{"boot":"x","pid":1,"start":2,"more":3}')
    with pytest.raises(RunnerError, match="Spawned"):
        phases.runner.look(folder)
    with pytest.raises(RunnerError, match="Spawned"):
        phases.runner.stop(folder, "end")
    (folder / SPAWNED).unlink()


def test_secrets_can_be_taken_from_the_disk(phases: Phases) -> None:
    """The environment may hold them: 0600 while a phase may still start, then no file has content."""
    secret = "hunter2" * 20_000
    folder, plan = phases.plan(["sh", "-c", "printf %s ${#TOKEN}"], env={**ENV, "TOKEN": secret[:120_000]})
    assert phases.runner.planned(folder) is None
    phases.runner.prepare(folder, plan)
    assert phases.runner.planned(folder) == plan
    assert (folder / shim.PLAN).stat().st_mode & 0o777 == 0o600
    phases.runner.start(folder, plan)
    phases.finish(folder)
    assert (folder.parent / "out0").read_text() == "120000"
    for _ in range(2):
        phases.runner.forget(folder)
        assert [file for file in folder.rglob("*") if file.stat().st_size] == []
    assert phases.runner.planned(folder) is None
    phases.runner.start(folder, plan)  # it was started: nothing to do
    assert isinstance(phases.runner.look(folder), Vanished)
    assert second_shim(folder).returncode != shim.ENDED


def test_a_plan_of_before_the_sandbox_is_run_and_its_secrets_are_forgotten(phases: Phases) -> None:
    """An upgrade while it waits: its form is older than the node agent and shim that find it."""
    folder, plan = phases.plan(["sh", "-c", "printf %s $TOKEN"], env={**ENV, "TOKEN": "hunter2"})
    phases.runner.prepare(folder, plan)
    former = json.loads((folder / shim.PLAN).read_bytes())
    for later in ("walled", "wall", "calls"):
        del former["steps"][0][later]
    for later in ("memory_bytes", "processes", "disk_bytes"):
        del former["limits"][later]
    (folder / shim.PLAN).write_text(json.dumps(former))
    phases.runner.start(folder, plan)
    assert phases.finish(folder).ended is PhaseEnd.DONE
    assert (folder.parent / "out0").read_text() == "hunter2"
    phases.runner.forget(folder)
    assert not (folder / shim.PLAN).exists()


@pytest.mark.parametrize("form", ['{"env":{"TOKEN":"hunter2"},"newer":1}', '["hunter2"]', '{"env":{"hunter2'])
def test_what_cannot_be_read_as_a_plan_is_forgotten_whole(phases: Phases, form: str) -> None:
    folder, _ = phases.plan(["true"])
    folder.mkdir()
    (folder / shim.PLAN).write_text(form)
    for _ in range(2):
        phases.runner.forget(folder)
        assert not (folder / shim.PLAN).exists()


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
def test_a_pipe_in_the_place_of_a_file_holds_nothing_up(phases: Phases, stream: str) -> None:
    """What ran before may have put it there; opening it would wait for whoever opens its other end."""
    folder, plan = phases.plan(["sh", "-c", "echo > ran"])
    os.mkfifo(pipe := folder.parent / "pipe")
    changed: dict[str, Any] = {stream: str(pipe)}
    plan = dataclasses.replace(plan, steps=(dataclasses.replace(plan.steps[0], **changed),))
    phases.runner.start(folder, plan)
    record = phases.finish(folder)
    error = record.steps[0].exec_error
    assert error is not None and (error.what, error.path) == (stream, str(pipe))
    assert not (folder.parent / "ran").exists()


def test_what_a_step_reads_blocks_as_a_file_does(phases: Phases) -> None:
    asks = "import fcntl, os; print(fcntl.fcntl(0, fcntl.F_GETFL) & os.O_NONBLOCK, os.read(0, 9))"
    folder, plan = phases.plan([PYTHON, "-c", asks])
    plan = dataclasses.replace(
        plan, steps=(dataclasses.replace(plan.steps[0], stdin=str(folder.parent / "task")),)
    )
    phases.runner.prepare(folder, plan, b"a task")
    phases.runner.start(folder, plan)
    assert phases.finish(folder).ended is PhaseEnd.DONE
    assert (folder.parent / "out0").read_text() == "0 b'a task'\n"
    assert (folder.parent / "task").stat().st_mode & 0o777 == 0o600


def test_nothing_starts_once_it_is_forgotten(phases: Phases, tmp_path: Path) -> None:
    folder, plan = phases.plan(["sh", "-c", "echo > ran"])
    phases.runner.prepare(folder, plan)
    (folder / shim.PLAN).rename(kept := tmp_path / "a slow shim has read it")
    phases.runner.forget(folder)
    kept.rename(folder / shim.PLAN)
    assert second_shim(folder).returncode == shim.TAKEN
    (folder / shim.PLAN).unlink()
    assert second_shim(folder).returncode == shim.BAD_PLAN
    phases.runner.start(folder, plan)
    assert isinstance(phases.runner.look(folder), Vanished)
    assert not (folder.parent / "ran").exists()


@pytest.mark.parametrize("plan", [b"", b"{", b"[]", b'{"id":"x"}', b"\xff"])
def test_an_unreadable_plan_is_refused_before_anything(phases: Phases, plan: bytes) -> None:
    folder, _ = phases.plan(["true"])
    folder.mkdir()
    (folder / shim.PLAN).write_bytes(plan)
    done = second_shim(folder)
    assert done.returncode == shim.BAD_PLAN and done.stdout.startswith("shim: plan:")
    assert phases.runner.look(folder) == NotStarted()


def test_a_fault_of_the_shims_own_still_ends_sweeps_and_tells(phases: Phases) -> None:
    """Its record's space is taken away under its feet: the step's record cannot be written."""
    folder, plan = phases.plan(
        ["sh", "-c", "setsid sleep 60 & rm -rf work/records"], ["sh", "-c", "echo > ran"]
    )
    phases.runner.start(folder, plan)
    record = phases.finish(folder)
    assert record.ended is PhaseEnd.ERROR and record.reason.startswith("FileNotFoundError")
    assert not (folder.parent / "ran").exists()


def test_the_shim_holds_no_lock_of_its_starter(phases: Phases, tmp_path: Path) -> None:
    """An inheritable lock in a runner must not survive it in a shim: the next node agent could not start."""
    held = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    os.set_inheritable(held, True)
    fcntl.flock(held, fcntl.LOCK_EX)
    folder = phases.start(["sleep", "60"])
    os.close(held)
    again = os.open(tmp_path / "lock", os.O_RDWR)
    try:
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(again)
    phases.runner.stop(folder, "end")
    phases.finish(folder)


def test_no_zombie_is_left_behind(phases: Phases) -> None:
    folders = [phases.start(["true"]) for _ in range(5)]
    for folder in folders:
        phases.finish(folder)
    pids = [seen.pid for folder in folders if (seen := spawned_in(folder))]
    assert len(pids) == 5

    def gone() -> bool:
        phases.runner.look(folders[0].with_name("another"))  # of one that has ended all is known
        return not any(process.read_stat(pid) for pid in pids)

    assert until(gone)


def test_waiting_takes_no_processor(phases: Phases) -> None:
    folder = phases.start(["sleep", "60"])
    shim_pid = phases.running(folder).shim
    before, began = time.thread_time(), _cpu_ticks(shim_pid)
    assert isinstance(phases.runner.wait(folder, 1.5), Running)
    assert time.thread_time() - before < 0.15
    assert _cpu_ticks(shim_pid) - began <= 5  # of 150
    phases.runner.stop(folder, "end")
    assert isinstance(new_runner().wait(folder, 20 * crowded()), Ended)


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


# Kernels, filters and interpreters that lack something: what the shim then does instead.
LACKS = {
    "no subreaper": "process.become_reaper = lambda: False",
    "no setsid in posix_spawn": "os.posix_spawn = lacking",
    "no pidfd": "del os.pidfd_open",
}
LACKING = """
import os, sys
sys.path.append(sys.argv[2])
from node_agent.shim import process, shim, step
def lacking(*_, **__): raise NotImplementedError
{lack}
sys.exit(shim.main(sys.argv))
"""


@pytest.mark.parametrize("lack", LACKS)
def test_a_poorer_machine_gives_the_same_results(phases: Phases, lack: str) -> None:
    leaver = "setsid sleep 60 & sleep 60 & exit 3"
    folder, plan = phases.plan(["sh", "-c", leaver], ["nope"], ["pwd"], go_on=True)
    phases.runner.prepare(folder, plan)
    argv = [PYTHON, "-I", "-S", "-c", LACKING.format(lack=LACKS[lack]), str(folder), str(ROOT)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20 * crowded())
    assert (done.returncode, done.stdout) == (0, "spawned\n"), done.stderr
    record = phases.finish(folder)
    assert record.reaper == (lack != "no subreaper")
    assert [(step.exit_code, step.swept) for step in record.steps] == [(3, 2), (None, 0), (0, 0)]
    error = record.steps[1].exec_error
    assert error is not None and (error.what, error.errno) == ("exec", "ENOENT")
    assert (folder.parent / "out2").read_text() == f"{folder.parent}\n"


def test_a_shim_that_says_nothing_is_put_down(phases: Phases, tmp_path: Path) -> None:
    """Once `start` has failed, that shim must not start the work after all."""
    silent = tmp_path / "silent.py"
    silent.write_text("import os,sys,time; os.close(0); os.close(1); time.sleep(60)\n")
    folder, plan = phases.plan(["true"])
    phases.runner = new_runner(silent)
    with pytest.raises(RunnerError, match="reported nothing"):
        phases.runner.start(folder, plan)
    assert phases.runner.look(folder) == NotStarted()
    found = subprocess.run(["pgrep", "-f", str(silent)], capture_output=True, text=True)
    assert found.stdout == ""
