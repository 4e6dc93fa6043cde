"""The warm way of starting shims: it comes and goes by itself, and its end touches no shim."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from node_agent.runner.looking import spawned_in
from node_agent.shim import process, template
from node_agent.shim.spool import Ended, PhaseEnd, RunnerError
from node_agent.shim.template import Template
from tests.integration.shim_phases import PATIENCE_S, PYTHON, SHIM, Phases, new_runner, phases_in, until

PROGRAM = template.__file__
OWNER = """
import os, sys, time
from node_agent.shim.template import Template
owned = Template(sys.argv[1], print)
null = os.open(os.devnull, os.O_RDWR)
try:
    owned.fork("/nonexistent", (null, null, null))
finally:
    sys.stdout.flush()
    time.sleep(60)
"""


@pytest.fixture
def phases(tmp_path: Path) -> Iterator[Phases]:
    yield from phases_in(tmp_path, warm=True)


def templates() -> list[int]:
    """Living template processes that this test process started."""
    mine = []
    for name in os.listdir("/proc"):
        found = process.stat(int(name)) if name.isdigit() else None
        if found is not None and found.ppid == os.getpid() and not found.gone:
            argv = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            mine += [found.pid] if PROGRAM.encode() in argv else []
    return mine


def standing_by(template: int) -> list[int]:
    """Who waits below a template to be a shim."""
    stats = [process.stat(int(name)) for name in os.listdir("/proc") if name.isdigit()]
    mine = [each.pid for each in stats if each is not None and each.ppid == template and not each.gone]
    return [pid for pid in mine if Path(f"/proc/{pid}/fd/0").readlink().name.startswith("socket:")]


def two_standing_by(template: int) -> list[int]:
    """After a first short phase: who came back from it, and who was forked meanwhile."""
    return until(lambda: waiting if len(waiting := standing_by(template)) == 2 else None)


def gone(pid: int) -> bool:
    found = process.stat(pid)
    return found is None or found.gone


def test_one_template_serves_many(phases: Phases) -> None:
    with ThreadPoolExecutor(6) as pool:
        codes = list(pool.map(lambda n: phases.one("sh", "-c", f"exit {n}")[0].exit_code, range(24)))
    assert codes == list(range(24))
    assert len(templates()) == 1


def test_shims_outlive_their_template(phases: Phases) -> None:
    folder = phases.start(["sh", "-c", "while [ ! -e go ]; do sleep 0.02; done; exit 4"])
    (first,) = templates()
    os.kill(first, signal.SIGKILL)
    assert until(lambda: gone(first))
    assert phases.running(folder).step == "s0"
    assert phases.one("true")[0].ok  # the cold way, at once
    assert phases.one("true")[0].ok
    assert len(templates()) == 1 and templates() != [first]
    phases.runner.close()
    assert until(lambda: not templates())
    (folder.parent / "go").touch()
    assert phases.finish(folder).steps[0].exit_code == 4


def test_who_stands_by_ends_with_the_template(phases: Phases) -> None:
    phases.one("true")
    (alone,) = templates()
    waiting = two_standing_by(alone)
    os.kill(alone, signal.SIGKILL)
    assert until(lambda: all(map(gone, waiting)))


def test_a_template_ends_with_who_stands_by(phases: Phases) -> None:
    """It is not forked again and again where something kills it."""
    phases.one("true")
    (alone,) = templates()
    waiting, other = two_standing_by(alone)
    os.kill(waiting, signal.SIGKILL)
    assert until(lambda: gone(other))
    assert until(lambda: gone(alone))
    assert phases.one("true")[0].ok and phases.one("true")[0].ok


def test_a_frozen_template_is_no_wall(phases: Phases, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets its time, then the cold way is taken; what it does when it thaws can start nothing twice."""
    monkeypatch.setattr(template, "REPLY_S", 0.5)
    phases.one("true")
    (frozen,) = templates()
    all_of_them = (frozen, *two_standing_by(frozen))
    for pid in all_of_them:
        os.kill(pid, signal.SIGSTOP)
    folder = phases.start(["sh", "-c", "echo once >>count; sleep 0.3"])
    for pid in all_of_them:
        os.kill(pid, signal.SIGCONT)
    assert phases.finish(folder).ended is PhaseEnd.DONE
    assert until(lambda: gone(frozen))  # its socket is closed
    assert (folder.parent / "count").read_text() == "once\n"
    assert "Broken pipe" in (folder / "shim.log").read_text()  # nobody hears its answer: it begins nothing


def test_an_idle_template_retires_and_comes_back(tmp_path: Path) -> None:
    pids: list[int] = []
    owned = Template(PYTHON, pids.append, idle_s=1)
    null = os.open(os.devnull, os.O_RDWR)
    try:
        assert owned.fork(str(tmp_path), (null, null, null))[0] > 0
        assert os.waitpid(pids[0], 0)[1] == 0
        with pytest.raises(OSError):
            owned.fork(str(tmp_path), (null, null, null))
        assert owned.fork(str(tmp_path), (null, null, null))[0] > 0
        owned.close()
        assert os.waitpid(pids[1], 0)[1] == 0
    finally:
        os.close(null)


def test_a_template_that_has_ended_is_no_zombie_until_the_next_run(phases: Phases) -> None:
    """On a node where nothing is started it would stay one for hours."""
    phases.one("true")
    (pid,) = templates()
    os.kill(pid, signal.SIGKILL)
    until(lambda: (seen := process.stat(pid)) is not None and seen.gone)
    phases.runner.reap()
    assert process.stat(pid) is None


def test_the_template_ends_with_its_owner() -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, PYTHON], cwd=SHIM.parents[2], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    assert not gone(pid)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert until(lambda: gone(pid))


def test_a_shim_serves_again_after_a_short_phase(phases: Phases) -> None:
    """One after the other, none of the first one's words or signals are heard in the second."""
    took = []
    for n in range(6):
        folder = phases.start(["sh", "-c", f"exit {n}"])
        took.append(spawned_in(folder))
        assert phases.finish(folder).steps[0].exit_code == n
        phases.runner.stop(folder, "too late")
    assert len(set(took)) < len(took)
    assert len(templates()) == 1


def test_what_was_meant_for_one_phase_ends_no_other(phases: Phases) -> None:
    folders = [phases.start(["true"]) for _ in range(4)]
    assert [phases.finish(folder).ended for folder in folders] == [PhaseEnd.DONE] * 4
    pids = {found.pid for folder in folders if (found := spawned_in(folder))}
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        for pid in pids:
            os.kill(pid, number)
    assert [phases.one("sh", "-c", "exit 3")[0].exit_code for _ in range(6)] == [3] * 6


def test_a_shim_that_a_gateway_watches_serves_once(phases: Phases) -> None:
    """The gateway ends with the process that it was told of."""
    phases.one("true")
    folder, plan = phases.plan(["true"])
    phases.runner.prepare(folder, plan)
    (folder / "gateway").mkdir()
    phases.runner.start(folder, plan)
    taken = spawned_in(folder)
    assert taken is not None and phases.finish(folder).ended is PhaseEnd.DONE
    assert until(lambda: gone(taken.pid))


def test_another_runner_hears_of_the_end_in_time(phases: Phases) -> None:
    """It has no pipe: it sees the record when its time is over, and a shim without a template is gone."""
    folder = phases.start(["sleep", "0.2"])
    other = new_runner()
    phases.runner.close()
    assert isinstance(other.wait(folder, PATIENCE_S), Ended)


def test_an_end_that_was_seen_holds_no_file(phases: Phases) -> None:
    """A receipt may wait for a coordinator for days, and its attempt with it; files are few."""
    folders = [phases.start(["true"]) for _ in range(8)]
    held = len(os.listdir("/proc/self/fd"))
    assert until(lambda: all(isinstance(phases.runner.look(folder), Ended) for folder in folders))
    assert len(os.listdir("/proc/self/fd")) <= held - 8
    assert all(isinstance(phases.runner.wait(folder, PATIENCE_S), Ended) for folder in folders)


def test_a_refusal_is_told_as_in_the_cold_way(phases: Phases) -> None:
    folder, plan = phases.plan(["true"])
    phases.runner.prepare(folder, plan)
    (folder / "plan.json").write_bytes((folder / "plan.json").read_bytes().replace(b'"phase"', b'"stage"'))
    with pytest.raises(RunnerError, match="the shim did not start in .*: plan: not the fields of a plan"):
        phases.runner.start(folder, plan)
    with pytest.raises(RunnerError, match="another plan"):
        new_runner().start(folder, plan)


def test_without_an_interpreter_there_is_no_template_either(phases: Phases, tmp_path: Path) -> None:
    phases.runner._template = Template(str(tmp_path / "absent"), print)
    assert phases.one("true")[0].ok
    assert templates() == []
