"""A shim starts in a scope where `systemd-run` makes one, and without where it does not; groups count as kin.

Here `systemd-run` is a stand-in that makes no control group; the real one is in tests/e2e/test_systemd.py.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.runner import scopes
from node_agent.runner.runner import Runner
from node_agent.runner.scopes import RETRY_MS, Scopes
from node_agent.shim import process
from node_agent.shim.spool import PhaseEnd, PhaseLimits
from node_agent.wire.clock import SystemClock
from tests.fakes.node.clock import MemoryClock
from tests.integration.shim_phases import PYTHON, SHIM, Phases, phases_in

SIBLINGS = "/pancode-test.slice"
GOOD = f"""#!/bin/sh
echo "$*" >> "$0.calls"
for word; do shift; case $word in --unit=*) unit=${{word#*=}};; --) break;; esac; done
if [ "$1" = cat ]; then echo "0::{SIBLINGS}/$unit"; exit 0; fi
exec "$@"
"""
OLD = GOOD.replace(
    "for word", 'case $* in *OOMPolicy*) echo "Unknown assignment" >&2; exit 1;; esac\nfor word'
)
ELSEWHERE = GOOD.replace(f"0::{SIBLINGS}", "0::/another.slice")
SPEAKS = GOOD.replace('exec "$@"', "echo 'shim: folder: no'; exit 74")
REFUSES = "#!/bin/sh\necho Failed to connect to bus >&2\nexit 1\n"


class Stage:
    """A runner whose scopes come from a stand-in that can be exchanged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "systemd-run"
        self.clock = MemoryClock()
        self.says(GOOD)
        environ = {"XDG_RUNTIME_DIR": "/nowhere", "PATH": f"{folder}:/usr/bin:/bin"}
        self.scopes = Scopes("f-test", Path(f"/sys/fs/cgroup{SIBLINGS}"), environ, self.clock)

    def says(self, text: str) -> None:
        self.program.write_text(text)
        self.program.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        path = Path(f"{self.program}.calls")
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    (tmp_path / "bin").mkdir()
    return Stage(tmp_path / "bin")


@pytest.fixture
def phases(tmp_path: Path, stage: Stage) -> Iterator[Phases]:
    for phases in phases_in(tmp_path):
        phases.runner = Runner(PYTHON, SHIM, SystemClock(), stage.scopes)
        yield phases


def test_each_phase_asks_for_a_scope_of_its_name(phases: Phases, stage: Stage) -> None:
    record, base = phases.run(["sh", "-c", "env; cat /proc/$PPID/cmdline"])
    assert (record.ended, record.left) == (PhaseEnd.DONE, 0)
    seen = (base / "out0").read_text()
    assert "PANCODE_SCOPE" not in seen and "XDG_RUNTIME_DIR" not in seen, "no program sees it"
    trial, call = stage.calls
    assert f"--unit=pancode-f-test:{base.name}:work.scope --property=OOMPolicy=continue -- {PYTHON}" in call
    assert "--property=KillSignal=SIGKILL" in call
    assert " -- cat /proc/self/cgroup" in trial and stage.scopes.trouble == ""
    phases.run(["true"])
    assert len(stage.calls) == 3, "the trial is made once"


def test_a_scope_holds_what_a_phase_may_take(phases: Phases, stage: Stage) -> None:
    phases.run(["true"], limits=PhaseLimits(memory_bytes=1 << 30, processes=300))
    _, call = stage.calls
    assert "--property=MemoryMax=1073741824 --property=MemorySwapMax=0 --property=TasksMax=300 -- " in call


def test_a_systemd_that_knows_less_of_scopes_is_asked_for_less(phases: Phases, stage: Stage) -> None:
    stage.says(OLD)
    assert phases.run(["true"])[0].ended is PhaseEnd.DONE
    assert f"work.scope -- {PYTHON}" in stage.calls[-1] and stage.scopes.trouble == ""


@pytest.mark.parametrize("text", [REFUSES, ELSEWHERE, ""], ids=["refuses", "elsewhere", "no-program"])
def test_where_none_can_be_made_nothing_is_lost(phases: Phases, stage: Stage, text: str) -> None:
    stage.says(text)
    assert phases.run(["true"])[0].ended is PhaseEnd.DONE
    assert "could not make a scope" in stage.scopes.trouble


def test_a_failure_costs_no_run_is_told_and_is_over_when_it_is_over(phases: Phases, stage: Stage) -> None:
    phases.run(["true"])
    stage.says(REFUSES)
    assert phases.run(["true"])[0].ended is PhaseEnd.DONE
    assert "Failed to connect to bus" in stage.scopes.trouble
    stage.says(GOOD)
    before = len(stage.calls)
    phases.run(["true"])
    assert len(stage.calls) == before and stage.scopes.trouble, "not asked again at once"
    stage.clock.advance(RETRY_MS)
    phases.run(["true"])
    assert len(stage.calls) == before + 1 and stage.scopes.trouble == ""


def test_a_systemd_run_that_was_taken_away_costs_no_run(phases: Phases, stage: Stage) -> None:
    phases.run(["true"])
    stage.program.unlink()
    assert phases.run(["true"])[0].ended is PhaseEnd.DONE
    assert "systemd-run" in stage.scopes.trouble or "No such file" in stage.scopes.trouble


def test_what_the_shim_itself_refuses_is_not_blamed_on_systemd(phases: Phases, stage: Stage) -> None:
    phases.run(["true"])
    stage.says(SPEAKS)
    assert phases.run(["true"])[0].ended is PhaseEnd.DONE
    assert len(stage.calls) == 3 and stage.scopes.trouble == ""


def test_all_that_is_in_a_group_or_below_it_belongs(tmp_path: Path) -> None:
    """A control group looks like this folder to whoever reads it."""
    children = [subprocess.Popen(["sleep", "60"], env={}) for _ in range(3)]
    try:
        (tmp_path / "below").mkdir()
        (tmp_path / "cgroup.procs").write_text(f"{children[0].pid}\n{os.getpid()}\n")
        (tmp_path / "below" / "cgroup.procs").write_text(f"0\n{children[1].pid}\n")
        found = [pid for pid, _ in process.find_members("m-none", groups=[str(tmp_path)])]
        assert found == sorted(child.pid for child in children[:2])
        assert process.find_members("m-none", groups=[str(tmp_path / "gone")]) == []
    finally:
        for child in children:
            child.kill()
            child.wait()


def test_a_group_is_believed_to_be_ours_by_name_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert process.folder_of(b"1:name=systemd:/a\n0::/user.slice/x:y.scope\n") == (
        "/sys/fs/cgroup/user.slice/x:y.scope"
    )
    assert process.folder_of(b"1:name=systemd:/a\n") == ""
    monkeypatch.setenv(process.SCOPE, "pancode-f:x:work.scope")
    assert process.own_scope() == "", "named, but this process is in another group"


def test_outside_of_a_users_manager_there_are_no_scopes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = MemoryClock()
    manager = f"/sys/fs/cgroup/user.slice/user@{os.getuid()}.service/app.slice"
    monkeypatch.setattr(process, "control_group", lambda: "/sys/fs/cgroup/user.slice/session-1.scope")
    assert scopes.find("f", {"XDG_RUNTIME_DIR": "/r"}, clock) is None
    monkeypatch.setattr(process, "control_group", lambda: f"{manager}/pancode-node-f.service")
    assert scopes.find("f", {}, clock) is None
    assert scopes.find("f", {"XDG_RUNTIME_DIR": "/r"}, clock) is not None
