"""`dispatch --land` on a real fleet: landed although nobody waits, and over a killed coordinator."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from pancode.offline.sole import holder_of
from tests.crowd import crowded
from tests.integration.faces.conftest import ROOT, Shell, until
from tests.integration.faces.test_this_machine import LONG_S, _repository, fleet

__all__ = ["fleet"]

LANDS = ("dispatch", "--land", "--runtime", "shell")


HELD = "while [ ! -e .go ]; do sleep 0.05; done; rm .go"
"""A run that works until `_let_go`: behind its wall it sees no other folder of ours than its checkout."""


def _let_go() -> None:
    trees = list(Path(os.environ["HOME"]).glob(".pancode-node/*/work/*/tree"))
    assert len(trees) == 1, trees
    (trees[0] / ".go").touch()


def _landing(fleet: Shell, run: str = "last") -> dict[str, object]:
    return dict(fleet("runs", "show", run, "--json").data["landing"])


def _state(fleet: Shell) -> str:
    return str((fleet("runs", "1", "--json").data["runs"] or [{"state": ""}])[0]["state"])


@pytest.mark.slow
def test_it_lands_although_nobody_waits_any_more(fleet: Shell, tmp_path: Path) -> None:
    """The gate passes on the node at once, here when it is let; what works may see none of our files."""
    _repository(fleet.cwd)
    run = fleet(*LANDS, "--detach", "--json", "echo two >> a.txt").data["run"]
    until(lambda: _landing(fleet, run)["status"] == "landed", "it is landed")
    assert (fleet.cwd / "a.txt").read_text() == "one\ntwo\n"
    assert "  landing    landed in" in fleet("runs", "show", run).out

    here, go = tmp_path / "here", tmp_path / "go"
    (fleet.cwd / "gate.sh").write_text(
        f"[ -z $PANCODE_ATTEMPT ] || exit 0\necho $$ > {here}\nwhile [ ! -e {go} ]; do sleep 0.1; done\n"
    )
    waiting = fleet.begin(
        *LANDS,
        "--verify",
        "sh gate.sh",
        f"{HELD}; echo three >> a.txt",
    )
    until(lambda: _state(fleet) == "running", "it runs")
    waiting.send_signal(signal.SIGHUP)
    waiting.communicate(timeout=30 * crowded())
    _let_go()
    until(lambda: here.exists() and here.read_text().strip() != "", "the landing's gate runs")
    assert "landing" in fleet("runs", "show", "last", "--json").data["notes"]
    first = holder_of(fleet.home)
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: not first.alive(), "the coordinator is gone")
    here.unlink()
    assert fleet("serve", "--background").status == 0
    until(lambda: here.exists() and here.read_text().strip() != "", "the next one lands")
    assert (fleet.cwd / "a.txt").read_text() == "one\ntwo\n"
    go.touch()
    until(lambda: _landing(fleet)["status"] == "landed", "it is landed")
    assert (fleet.cwd / "a.txt").read_text() == "one\ntwo\nthree\n"


@pytest.mark.slow
def test_a_conflict_leaves_the_files_and_is_said(fleet: Shell, tmp_path: Path) -> None:
    """Over 30 s on a loaded machine: it brings a node up."""
    _repository(fleet.cwd)
    waiting = fleet.begin(*LANDS, f"{HELD}; echo two > a.txt")
    until(lambda: _state(fleet) == "running", "it runs")
    (fleet.cwd / "a.txt").write_text("mine\n")
    _let_go()
    out, err = waiting.communicate(timeout=LONG_S * crowded())
    assert waiting.returncode == 7 and b"done" in out
    assert "not landed: conflict" in err.decode() and "a.txt" in err.decode() and "runs diff" in err.decode()
    assert (fleet.cwd / "a.txt").read_text() == "mine\n"
    assert _landing(fleet)["status"] == "conflict"
    assert "not landed: conflict" in fleet("runs").out and "+two" in fleet("runs", "diff", "last").out
    assert any(a["domain"] == "land" for a in fleet("audit", "warning", "--json").data["audit"])


@pytest.mark.slow
def test_a_stop_calls_the_landing_off_and_its_gate_raises_nothing(fleet: Shell, tmp_path: Path) -> None:
    """Over 30 s on a loaded machine: it brings a node up. On the node the gate passes at once."""
    _repository(fleet.cwd)
    here, go = tmp_path / "here", tmp_path / "go"
    words = f"env -i PANCODE_HOME={fleet.home} PYTHONPATH={ROOT} {sys.executable} -m pancode"
    (fleet.cwd / "gate.sh").write_text(
        f"[ -z $PANCODE_ATTEMPT ] || exit 0\n{words} budget set 1000 >{tmp_path}/said 2>&1\n"
        f"echo $? > {here}\nwhile [ ! -e {go} ]; do sleep 0.1; done\n"
    )
    run = fleet(*LANDS, "--detach", "--json", "--verify", "sh gate.sh", "echo two >> a.txt").data["run"]
    until(lambda: here.exists() and here.read_text().strip() != "", "the landing's gate runs")
    assert (
        here.read_text().strip() == "5"
        and "coordinator itself has started" in (tmp_path / "said").read_text()
    )
    assert any(a["what"] == "refused from inside a gate" for a in fleet("audit", "--json").data["audit"])
    assert fleet("runs", "stop", run).status == 0
    assert _landing(fleet, run)["status"] == "called off"
    go.touch()
    assert (fleet.cwd / "a.txt").read_text() == "one\n"
    assert fleet("runs", "land", run).status == 0 and (fleet.cwd / "a.txt").read_text() == "one\ntwo\n"
