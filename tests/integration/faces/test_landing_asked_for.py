"""`dispatch --land` on a real fleet: landed although nobody waits, and over a killed coordinator."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pancode.kernel.host.single_instance import holder_of
from tests.crowd import crowded
from tests.integration.faces.conftest import Shell, until
from tests.integration.faces.test_this_machine import LONG_S, _repository, fleet

__all__ = ["fleet"]

LANDS = ("dispatch", "--land", "--runtime", "shell")


HELD = "while [ ! -e .go ]; do sleep 0.05; done; rm .go"
"""A run that works until `_let_go`: in its sandbox it sees no other folder of ours than its checkout."""


GATE = "[ -e mine.txt ] || exit 0\nwhile [ ! -e .go ]; do sleep 0.1; done\n"
"""Passes at once on what was dispatched; with a later edit of the user's it waits until it is let go."""


def _judged() -> list[Path]:
    return [path.parent for path in Path(os.environ["HOME"]).glob(".pancode-node/*/work/*/tree/mine.txt")]


def _let_go() -> None:
    """Let the only run at work continue; a check of its gates ends by itself."""
    top = Path(os.environ["HOME"])
    until(lambda: len(list(top.glob(".pancode-node/*/work/*/tree"))) == 1, "only the run works")
    (tree,) = top.glob(".pancode-node/*/work/*/tree")
    (tree / ".go").touch()


def _landing(fleet: Shell, run: str = "last") -> dict[str, object]:
    return dict(fleet("runs", "show", run, "--json").data["landing"])


def _state(fleet: Shell) -> str:
    return str((fleet("runs", "1", "--json").data["runs"] or [{"state": ""}])[0]["state"])


@pytest.mark.slow
def test_it_lands_although_nobody_waits_any_more(fleet: Shell) -> None:
    """Nor over a killed coordinator: the next one takes the run that judges the merged tree as its own."""
    _repository(fleet.cwd)
    run = fleet(*LANDS, "--detach", "--json", "echo two >> a.txt").data["run"]
    until(lambda: _landing(fleet, run)["status"] == "landed", "it is landed")
    assert (fleet.cwd / "a.txt").read_text() == "one\ntwo\n"
    assert "  landing    landed in" in fleet("runs", "show", run).out

    (fleet.cwd / "gate.sh").write_text(GATE)
    waiting = fleet.begin(*LANDS, "--verify", "sh gate.sh", f"{HELD}; echo three >> a.txt")
    until(lambda: _state(fleet) == "running", "it runs")
    (fleet.cwd / "mine.txt").write_text("mine\n")
    waiting.send_signal(signal.SIGHUP)
    waiting.communicate(timeout=30 * crowded())
    _let_go()
    until(lambda: _judged() != [], "a node judges the merged tree")
    run = fleet("runs", "1", "--json").data["runs"][0]["run"]
    assert "landing" in fleet("runs", "show", run, "--json").data["notes"]
    first = holder_of(fleet.home)
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: not first.alive(), "the coordinator is gone")
    assert fleet("serve", "--background").status == 0
    assert (fleet.cwd / "a.txt").read_text() == "one\ntwo\n"
    _judged()[0].joinpath(".go").touch()
    until(lambda: _landing(fleet, run)["status"] == "landed", "it is landed")
    assert (fleet.cwd / "a.txt").read_text() == "one\ntwo\nthree\n"
    checks = fleet("runs", "show", run, "--json").data["checks"]
    (judging,) = [one for one in checks if one["task"].startswith("gates of the landing")]
    assert judging["outcome"] == "done" and len(fleet("runs", "--json").data["runs"]) == 2
    (told,) = [one for one in fleet("why", run, "--json").data["decisions"] if one["verdict"] == "landed"]
    assert judging["run"] in told["detail"]


@pytest.mark.slow
def test_a_conflict_leaves_the_files_and_is_said(fleet: Shell) -> None:
    """Over 30 s on a loaded machine: it brings a node up."""
    _repository(fleet.cwd)
    waiting = fleet.begin(*LANDS, f"{HELD}; echo two > a.txt")
    until(lambda: _state(fleet) == "running", "it runs")
    (fleet.cwd / "a.txt").write_text("mine\n")
    _let_go()
    out, err = waiting.communicate(timeout=LONG_S * crowded())
    assert waiting.returncode == 7 and b"done" in out
    told = err.decode()
    assert "not landed: conflict" in told and "a.txt" in told and "pancode diff" in told
    assert (fleet.cwd / "a.txt").read_text() == "mine\n"
    assert _landing(fleet)["status"] == "conflict"
    assert "not landed: conflict" in fleet("runs").out and "+two" in fleet("runs", "diff", "last").out
    assert any(a["domain"] == "land" for a in fleet("audit", "warning", "--json").data["audit"])


@pytest.mark.slow
def test_what_decides_what_runs_next_waits_for_a_user(fleet: Shell) -> None:
    """Over 30 s on a loaded machine: it brings a node up. The agent's script never runs here."""
    _repository(fleet.cwd)
    (fleet.cwd / "test.sh").write_text("exit 0\n")
    stolen = fleet.home / "stolen"
    script = f"cp {fleet.home}/key/coordinator.key {stolen}"
    held = fleet(*LANDS, "--verify", "sh test.sh", f"echo '{script}; exit 0' > test.sh", timeout_s=LONG_S)
    assert held.status == 7 and "not landed: held" in held.err and "test.sh" in held.err
    assert "pancode land --with-commands" in held.err
    assert (fleet.cwd / "test.sh").read_text() == "exit 0\n"
    (fleet.cwd / "mine.txt").write_text("mine\n")  # so that its gates have to run once more
    said = fleet("runs", "land", "--with-commands", fleet("runs", "1", "--json").data["runs"][0]["run"])
    assert said.status == 0, said.err
    assert script in (fleet.cwd / "test.sh").read_text()
    assert not stolen.exists(), "its gates were in the sandbox of a node"
    (entry,) = [one for one in fleet("audit", "--json").data["audit"] if one["what"] == "landed"]
    assert entry["detail"]["yes"] == ["with_commands"] and entry["detail"]["by"]
    _a_workflow_of_the_project_waits_too(fleet)
    _a_gate_that_fails_names_its_way_out(fleet)


def _a_workflow_of_the_project_waits_too(fleet: Shell) -> None:
    """A later `chain review-loop` would run it: neither --land nor --all-green writes it
    without an approval."""
    script = "mkdir -p .pancode/workflows && echo 'steps: []' > .pancode/workflows/review-loop.yaml"
    held = fleet(*LANDS, "--verify", "true", script, timeout_s=LONG_S)
    assert held.status == 7 and ".pancode/workflows/review-loop.yaml" in held.err
    green = fleet("land", "--all-green", "--yes")
    assert green.status != 0 and "held: " in green.out and "--with-commands" in green.out
    assert not (fleet.cwd / ".pancode").exists()


def _a_gate_that_fails_names_its_way_out(fleet: Shell) -> None:
    """By hand, on a tree that is another one meanwhile: what failed is in `why` and `audit`."""
    dispatched = fleet(
        "dispatch",
        "--runtime",
        "shell",
        "--verify",
        "grep -q one a.txt",
        "echo two > b.txt",
        timeout_s=LONG_S,
    )
    run = fleet("runs", "1", "--json").data["runs"][0]["run"]
    assert dispatched.status == 0, dispatched.err
    (fleet.cwd / "a.txt").write_text("other\n")
    refused = fleet("runs", "land", run, timeout_s=LONG_S)
    assert refused.status == 7 and "gate failed" in refused.err, refused.err
    assert f"pancode land --no-gates {run}" in refused.err
    assert not (fleet.cwd / "b.txt").exists()
    (told,) = [one for one in fleet("audit", "land", "--json").data["audit"] if one["run"] == run]
    assert told["what"] == "not landed: gate failed" and told["detail"]["by"] and told["detail"]["why"]
    assert "gate failed" in fleet("why", run).out
    assert fleet("runs", "land", "--no-gates", run).status == 0
    assert (fleet.cwd / "b.txt").read_text() == "two\n"


@pytest.mark.slow
def test_a_stop_calls_the_landing_off(fleet: Shell) -> None:
    """Over 30 s on a loaded machine: it brings a node up."""
    _repository(fleet.cwd)
    (fleet.cwd / "gate.sh").write_text(GATE)
    waiting = fleet.begin(*LANDS, "--verify", "sh gate.sh", f"{HELD}; echo two >> a.txt")
    until(lambda: _state(fleet) == "running", "it runs")
    run = fleet("runs", "1", "--json").data["runs"][0]["run"]
    (fleet.cwd / "mine.txt").write_text("mine\n")
    waiting.send_signal(signal.SIGHUP)
    waiting.communicate(timeout=30 * crowded())
    _let_go()
    until(lambda: _judged() != [], "a node judges the merged tree")
    assert fleet("runs", "stop", run).status == 0
    assert _landing(fleet, run)["status"] == "called off"
    (judging,) = fleet("runs", "show", run, "--json").data["checks"][-1:]
    until(
        lambda: fleet("runs", "show", judging["run"], "--json").data["outcome"] == "interrupted",
        "so is the run that judged it",
    )
    assert (fleet.cwd / "a.txt").read_text() == "one\n"
    (fleet.cwd / "mine.txt").unlink()
    said = fleet("runs", "land", run)
    assert said.status == 0 and (fleet.cwd / "a.txt").read_text() == "one\ntwo\n"
    assert "which signed that for the very same tree" in said.out
