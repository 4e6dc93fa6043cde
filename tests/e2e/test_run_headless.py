"""`pancode run --headless` on a bare machine: the status, the artifacts, and nothing that stays behind."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from pancode.kernel.errors import ExitCode
from tests.crowd import crowded
from tests.e2e.kept import keep_bundles, lay_out_bundles
from tests.e2e.owner import Owner, until

pytestmark = pytest.mark.slow


@pytest.fixture
def machine(time_factor: float) -> Iterator[Owner]:
    """A user without a fleet."""
    root = Path(tempfile.mkdtemp(prefix="ph-"))
    owner = Owner(root, time_factor)
    owner.fleet_home.mkdir(mode=0o700)
    lay_out_bundles(owner.fleet_home / "bundles")
    try:
        yield owner
    finally:
        keep_bundles(owner.fleet_home / "bundles")
        owner.run("fleet", "down", "--now")
        shutil.rmtree(root, ignore_errors=True)


def _alive(owner: Owner) -> list[str]:
    """Processes of the fleet, by the folder that is in their arguments or environment."""
    mark, found = str(owner.home.parent).encode(), []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                told = (place / "cmdline").read_bytes() + (place / "environ").read_bytes()
            except OSError:
                continue
            found += [place.name] if mark in told else []
    return found


def test_it_leaves_a_status_artifacts_and_nothing_else(machine: Owner, tmp_path: Path) -> None:
    project = machine.home / "app"
    project.mkdir()
    for argv in (
        ["init", "-q"],
        ["-c", "user.email=a@b", "-c", "user.name=a", "commit", "-qm", "1", "--allow-empty"],
    ):
        subprocess.run(["git", *argv], cwd=project, check=True, env=machine.env)
    words = ("run", "--headless", "--runtime", "shell", "--artifacts")
    good = machine.run(
        *words, str(tmp_path / "good"), "--verify", "test -f new", "echo said; touch new", cwd=project
    )
    assert good.code == ExitCode.DONE, good.err
    assert {"run.json", "junit.xml", "receipt.json", "change.diff", "out.log"} <= {
        path.name for path in (tmp_path / "good").iterdir()
    }
    assert (tmp_path / "good/out.log").read_text() == "said\n"
    assert "new file" in (tmp_path / "good/change.diff").read_text()
    assert not _alive(machine)
    bad = machine.run(
        *words, str(tmp_path / "bad"), "--verify", "false", "--attempts", "1", "touch new", cwd=project
    )
    assert bad.code == ExitCode.VERIFY_FAILED, bad.err
    suite = Xml.parse(tmp_path / "bad/junit.xml").getroot()[0]
    assert [case.get("name") for case in suite if case.find("failure") is not None] == ["false"]
    assert not _alive(machine)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_cancelled_leaves_nothing_behind(machine: Owner, tmp_path: Path, number: int) -> None:
    words = ("--runtime", "shell", "--workspace", "none", "--artifacts", str(tmp_path / "out"), "sleep 633")
    process = machine.begin("run", "--headless", *words)
    until(lambda: _sleeps(machine), "the script runs", 60)
    process.send_signal(number)
    _, told = process.communicate(timeout=120 * crowded())
    assert process.returncode == ExitCode.DETACHED, told
    assert not _alive(machine), told
    shown = json.loads((tmp_path / "out/run.json").read_text())
    assert shown["outcome"] == "interrupted"


def _sleeps(owner: Owner) -> bool:
    return any(b"sleep\x00633" in _read(Path("/proc", pid, "cmdline")) for pid in _alive(owner))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_fleet_that_runs_stays_up(machine: Owner) -> None:
    machine.run("fleet", "up").ok()
    machine.run("run", "--headless", "--runtime", "shell", "--workspace", "none", "true").ok()
    until(lambda: {n["state"] for n in machine.nodes().values()} == {"online"}, "online", told=machine.nodes)
