"""A laptop whose coordinator is elsewhere: its own files travel there, and a result lands in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT
from tests.e2e.owner import Owner, Said
from tests.integration.faces.sshd import own_sshd, program

pytestmark = pytest.mark.slow  # a real sshd, and runs on two real hosts
SHELL = ("--runtime", "shell")
MAC = ROOT / "tests/e2e/mac"
"""A folder for PYTHONPATH, whose `sitecustomize.py` takes from Python what only Linux has."""


class Laptop:
    """A user with a HOME and a repository, and nothing of the fleet but PANCODE_COORDINATOR."""

    def __init__(self, home: Path, fleet: Owner) -> None:
        self.home, self.project = home, home / "app"
        self.env = {
            "HOME": str(home),
            "PATH": f"{home}/bin:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "PANCODE_COORDINATOR": f"ssh://desk{fleet.fleet_home}",
            "GIT_CONFIG_NOSYSTEM": "1",
        }

    def run(self, *words: str) -> Said:
        done = subprocess.run(
            [sys.executable, "-m", "pancode", *words],
            cwd=self.project,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=180,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def python(self, program: str) -> str:
        argv = [sys.executable, "-c", program]
        return subprocess.run(argv, env=self.env, check=True, capture_output=True, text=True).stdout.strip()

    def git(self, *words: str) -> str:
        who = ("-c", "user.name=Ana", "-c", "user.email=ana@example.test")
        done = subprocess.run(
            ["git", *who, *words], cwd=self.project, env=self.env, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()


@pytest.fixture
def laptop(fleet: Owner) -> Iterator[Laptop]:
    home = Path(tempfile.mkdtemp(prefix="pl-"))
    laptop = Laptop(home, fleet)
    laptop.project.mkdir()
    laptop.git("init", "-qb", "main")
    (laptop.project / "a.txt").write_text("one\n")
    laptop.git("add", "-A")
    laptop.git("commit", "-qm", "first")
    program(home / "bin/pancode", f'#!/bin/sh\nexec {sys.executable} -m pancode "$@"\n')
    given = {"PYTHONPATH": str(ROOT), "PANCODE_TIME_FACTOR": fleet.env["PANCODE_TIME_FACTOR"]}
    try:
        with own_sshd(home, given):
            yield laptop
    finally:
        shutil.rmtree(home, ignore_errors=True)


def test_work_begins_from_the_files_of_the_laptop_and_lands_in_them(laptop: Laptop) -> None:
    mine = laptop.project
    (mine / "a.txt").write_text("one\nedited\n")
    (mine / "new.txt").write_text("new\n")
    task = "grep -q edited a.txt && grep -q new new.txt && echo done >> made.txt"
    run = laptop.run("dispatch", *SHELL, "--node", "node2", "--verify", "test -s made.txt", "--json", task)
    made = run.ok().json()
    assert made["outcome"] == "done" and not (mine / "made.txt").exists()
    (mine / "new.txt").write_text("mine, later\n")
    landed = laptop.run("land", made["run"]).ok()
    assert "landed on desk, now also here: 1 file: made.txt" in landed.err
    assert (mine / "made.txt").read_text() == "done\n" and (mine / "new.txt").read_text() == "mine, later\n"
    assert laptop.git("status", "--porcelain") == "M a.txt\n?? made.txt\n?? new.txt"
    assert "PASS" in laptop.run("receipt", "verify", made["run"]).ok().out


def test_what_landed_by_itself_comes_with_the_next_command_and_a_branch_with_its_own(laptop: Laptop) -> None:
    mine = laptop.project
    laptop.run("dispatch", *SHELL, "--land", "--verify", "true", "echo two >> a.txt").ok()
    assert (mine / "a.txt").read_text() == "one\n"
    later = laptop.run("dispatch", *SHELL, "--verify", "true", "--json", "echo b > b.txt").ok()
    assert (mine / "a.txt").read_text() == "one\ntwo\n" and "now also here: 1 file: a.txt" in later.err
    laptop.run("land", later.json()["run"], "--branch", "agent/b").ok()
    assert laptop.git("show", "agent/b:b.txt") == "b" and not (mine / "b.txt").exists()


def test_a_change_that_conflicts_leaves_the_files_of_the_laptop(laptop: Laptop) -> None:
    mine = laptop.project
    run = (
        laptop.run("dispatch", *SHELL, "--verify", "true", "--json", "echo theirs > a.txt").ok().json()["run"]
    )
    (mine / "a.txt").write_text("mine\n")
    refused = laptop.run("land", run)
    assert refused.code != 0 and "a.txt" in refused.err and (mine / "a.txt").read_text() == "mine\n"


def test_a_client_on_a_mac_dispatches_looks_and_lands(laptop: Laptop) -> None:
    laptop.env["PYTHONPATH"] = f"{MAC}:{ROOT}"
    assert laptop.python("import os, sys; print(sys.platform, hasattr(os, 'pidfd_open'))") == "darwin False"
    made = laptop.run("dispatch", *SHELL, "--verify", "true", "--json", "echo said; echo b > b.txt").ok()
    run = made.json()["run"]
    shown = {
        ("runs",): run,
        ("runs", "show", run): "b.txt",
        ("runs", "logs", run): "said",
        ("runs", "diff", run): "+b",
        ("inbox",): "",
        ("fleet", "status"): "node2",
    }
    for words, answer in shown.items():
        assert answer in laptop.run(*words).ok().out, words
    laptop.run("land", run).ok()
    assert (laptop.project / "b.txt").read_text() == "b\n"
