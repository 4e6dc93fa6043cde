"""From inside a real run: it may look and dispatch its children, whatever it wipes or claims."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from tests.integration.faces.conftest import ROOT, Shell, until
from tests.integration.faces.test_this_machine import LONG_S, fleet

__all__ = ["fleet"]

PLAIN = ("--runtime", "shell", "--workspace", "none")


def _command(fleet: Shell, folder: Path) -> Path:
    """The command line as a run could have it: with the home of its owner's fleet."""
    path = folder / "pc"
    words = f"PANCODE_HOME={fleet.home} PYTHONPATH={ROOT} exec {sys.executable} -m pancode"
    path.write_text(f'#!/bin/sh\nexec >>{folder}/said 2>&1\n{words} "$@"\n')
    path.chmod(0o755)
    return path


def _script(folder: Path, tries: dict[str, str]) -> str:
    """Each of them, its status into a file of its name; to the end whatever they answer."""
    lines = [f"{words} && s=0 || s=$?; echo $s > {folder}/{name}" for name, words in tries.items()]
    return "\n".join([*lines, f"while [ ! -s {folder}/orphan ]; do sleep 0.1; done"])


@pytest.mark.slow
def test_a_run_raises_no_limit_and_leaves_neither_its_parent_nor_its_depth(
    fleet: Shell, tmp_path: Path
) -> None:
    """Over 30 s on a loaded machine: it brings a node up, and a dozen commands run inside a run."""
    there = tmp_path / "inside"
    there.mkdir()
    pc = shlex.quote(str(_command(fleet, there)))
    node = fleet("node", "ls", "--json").data["nodes"][0]
    free = fleet("dispatch", *PLAIN, "--json", "true", timeout_s=LONG_S).data["run"]
    child = " ".join((pc, "dispatch", *PLAIN, "--detach", "true"))
    orphan = f"env -i {pc} budget set 1001; echo $? > {there}/orphan"
    tries = {
        "ceiling": f"{pc} budget set 1000",
        "slots": f"{pc} node set {node['name']} --slots 9",
        "down": f"{pc} fleet down --now",
        "wiped": f"env -i {pc} budget set 1000",
        "forged": f"env PANCODE_ATTEMPT={free}.1.1 PANCODE_RUN={free} {pc} budget set 1000",
        "left": f"setsid -f sh -c {shlex.quote(orphan)}",
        "reads": f"{pc} budget show",
        "child": f"env -u PANCODE_RUN -u PANCODE_DEPTH -u PANCODE_ATTEMPT {child}",
        "lands": f"{child} --land",
    }
    said = fleet("dispatch", *PLAIN, "--json", _script(there, tries), timeout_s=LONG_S)
    told = (there / "said").read_text()
    assert said.status == 0, said.err + told
    statuses = {name: int((there / name).read_text()) for name in (*tries, "orphan")}
    refused = dict.fromkeys(("ceiling", "slots", "down", "wiped", "forged", "orphan", "lands"), 5)
    assert statuses == {**refused, "left": 0, "reads": 0, "child": 0}, told
    run = said.data["run"]
    assert f"is not allowed from inside run {run}" in told
    assert "budget set" not in told.replace(str(there), "")
    (born,) = [r for r in fleet("runs", "--json").data["runs"] if r["parent"] is not None]
    assert born["parent"] == run
    assert fleet("runs", "show", born["run"], "--json").data["created_by"] == run
    assert fleet("budget", "--json").data["scopes"][0]["ceiling_usd"] == "10"
    assert fleet("node", "ls", "--json").data["nodes"][0]["slots"]["total"] == node["slots"]["total"]
    audit = fleet("audit", f"run:{run}", "--json").data["audit"]
    asked = [a["detail"]["asked"] for a in audit if a["what"] == "refused from inside a run"]
    assert len(asked) == len(refused) and "POST /v1/budget/ceiling" in asked


@pytest.mark.slow
def test_a_run_starts_no_coordinator_of_its_own_fleet(fleet: Shell, tmp_path: Path) -> None:
    """It would be part of the run, and end with it. Over 30 s: it brings a node up twice."""
    there = tmp_path / "inside"
    there.mkdir()
    pc = shlex.quote(str(_command(fleet, there)))
    wait = f"while [ ! -e {there}/go ]; do sleep 0.1; done"
    script = f"{wait}; {pc} fleet up && s=0 || s=$?; echo $s > {there}/status"
    run = fleet("dispatch", *PLAIN, "--detach", "--json", script).data["run"]
    until(lambda: fleet("runs", "show", run, "--json").data["state"] == "running", "it runs")
    assert fleet("fleet", "down", "--now").status == 0
    (there / "go").touch()
    until(lambda: (there / "status").exists() and (there / "status").read_text() != "", "it was answered")
    told = (there / "said").read_text()
    assert (there / "status").read_text() == "5\n", told
    assert f"starting the coordinator is not allowed from inside run {run}" in told
    assert fleet("runs").status == 6, "it is down, as its owner said"
    assert fleet("fleet", "up", timeout_s=LONG_S).status == 0
    until(lambda: fleet("runs", "show", run, "--json").data["outcome"] == "done", "the run is delivered")
