"""`pancode-node` as a process on a real Valkey: killed at each mark, stopped, started twice, removed."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.cli.foreground import hold_home
from node_agent.machine.home import NodeHome
from node_agent.wire.failure import Outcome
from node_agent.wire.signing import PublicKey
from tests.integration.git.repos import tree_of
from tests.integration.node.node_world import processes_of, until
from tests.integration.node.process_world import PASSWORD, ProcessWorld, cli
from tests.unit.node_agent.stage import TAG

MARKS = "accepted prepared spawned exited committed gated pushed receipted".split()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ProcessWorld]:
    world = ProcessWorld(tmp_path)
    world.begin()
    yield world
    world.end()


@pytest.mark.slow
@pytest.mark.parametrize("mark", MARKS)
def test_killed_at_each_mark(world: ProcessWorld, mark: str) -> None:
    """kill -9 as soon as the journal has the mark; a new process brings it to the same end, once."""
    job = world.job("#!scripted\nappend count.txt x\nsleep 0.3\nanswer done", gates=())
    world.coordinator.push(job)
    world.reached(job.identity, mark)
    assert world.kill() == -signal.SIGKILL
    world.launch()
    claims = world.ended(job.identity)
    assert claims.outcome is Outcome.DONE, (claims.reason, world.output())
    assert len(world.coordinator.receipts[str(job.identity)]) == 1
    assert claims.commit is not None
    assert tree_of(world.depot, world.taken, claims.commit)["count.txt"][1] == b"x"  # it ran once
    assert processes_of(job.identity) == []


def test_stopped_cleanly_while_something_runs(world: ProcessWorld) -> None:
    job = world.job("#!scripted\nsay one\nsleep 1.5\nwrite a.txt x\nanswer done")
    world.coordinator.push(job)
    until(lambda: bool(processes_of(job.identity)), told=world.output)
    assert world.kill(signal.SIGTERM) == 0
    assert processes_of(job.identity)  # it belongs to its shim
    assert not world.home.pid.exists()
    world.launch()
    assert world.ended(job.identity).outcome is Outcome.DONE


@pytest.mark.slow
def test_a_second_one_is_turned_away(world: ProcessWorld) -> None:
    until(world.home.pid.exists)
    done = cli(world.home.root, "run")
    assert done.returncode == 73 and "already" in done.stderr
    assert cli(world.home.root, "remove").returncode == 73
    seen = json.loads(cli(world.home.root, "status", "--json").stdout)
    assert world.process is not None
    assert (seen["running"], seen["pid"], seen["linked"]) == (True, world.process.pid, True)


def test_looking_does_not_keep_it_from_starting(tmp_path: Path) -> None:
    """Whoever asks whether a home is held takes its lock for a moment, as `status` and the bring-up do."""
    home = NodeHome(tmp_path)
    (tmp_path / "run").mkdir()
    for tries in range(30):
        with home.lock.open("a") as looking:
            fcntl.flock(looking, fcntl.LOCK_SH)
            threading.Timer(0.02 * (tries % 4), looking.close).start()
            held = hold_home(home)
            os.close(held)


def test_redis_is_killed_and_comes_back(world: ProcessWorld) -> None:
    job = world.job("#!scripted\nsay one\nsleep 1\nwrite a.txt x\nanswer done")
    world.coordinator.push(job)
    until(lambda: bool(processes_of(job.identity)), told=world.output)
    world.valkey.stop()
    world.reached(job.identity, "exited")
    assert world.process is not None and world.process.poll() is None
    world.valkey.start()
    world.bus.admit_node(TAG, PASSWORD)  # as the coordinator does when it repairs its Redis
    assert world.ended(job.identity, 60).outcome is Outcome.DONE


@pytest.mark.slow
def test_remove_ends_everything(world: ProcessWorld) -> None:
    job = world.job("#!scripted\nignore INT TERM\nfork 60\nhang")
    world.coordinator.push(job)
    until(lambda: len(processes_of(job.identity)) >= 3, told=world.output)
    world.kill(signal.SIGTERM)
    done = cli(world.home.root, "remove")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"ended": [str(job.identity)], "left": []}
    assert processes_of(job.identity) == []
    again = json.loads(cli(world.home.root, "remove").stdout)
    assert again == {"ended": [], "left": []}


def test_key(tmp_path: Path) -> None:
    first, again = cli(tmp_path / "n", "key"), cli(tmp_path / "n", "key")
    assert first.returncode == 0 and first.stdout == again.stdout
    assert len(PublicKey.parse(first.stdout).tag) == 10
    path = tmp_path / "n" / "key" / "node.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    bad = cli(tmp_path / "n", "key")
    assert bad.returncode == 78 and "chmod 600" in bad.stderr


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (None, "node.json cannot be read"),
        ("{", "node.json"),
        ('{"fleet": "f-test"}', "name: Field required"),
        ('{"slots": "many"}', "slots"),
        ('{"slotz": 1}', "slotz: Extra inputs"),
    ],
)
def test_bad_settings_are_named(tmp_path: Path, settings: str | None, words: str) -> None:
    if settings is not None:
        good = {"fleet": "f-test", "name": "n", "tag": "0" * 10, "slots": 1}
        redis = {"user": "u", "password_file": "p"}
        tmp_path.joinpath("node.json").write_text(_merged(settings, {**good, "redis": redis}))
    done = cli(tmp_path, "run")
    assert done.returncode == 78 and words in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1


def _merged(text: str, good: dict[str, object]) -> str:
    try:
        changes = json.loads(text)
    except ValueError:
        return text
    return json.dumps(changes if "fleet" in changes else {**good, **changes})


def test_help_and_version() -> None:
    for words in (["--help"], ["run", "--help"], ["version"]):
        argv = [sys.executable, "-m", "node_agent", *words]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and done.stdout.strip() and not done.stderr
