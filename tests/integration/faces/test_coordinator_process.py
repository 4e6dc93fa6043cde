"""The coordinator's process with a real Valkey and ledger: one per home, killed, stopped, repaired."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pancode.kernel.host.single_instance import holder_of
from pancode.kernel.processes import ProcessId
from tests.crowd import crowded
from tests.integration.faces.conftest import PATIENCE_S, Shell, take_away, until

pytestmark = pytest.mark.slow


@pytest.fixture
def coordinator(pancode: Shell) -> Iterator[Shell]:
    """A command line on a home of its own; what it started is ended."""
    yield pancode
    pancode("fleet", "down", "--now")
    assert holder_of(pancode.home) is None
    assert not _processes(str(pancode.home)), "something of this home still runs"


def _processes(word: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if word in command:
            found.append(int(folder.name))
    return found


def _holder(coordinator: Shell) -> ProcessId:
    holder = holder_of(coordinator.home)
    assert holder is not None
    return holder


def test_two_commands_at_once_start_one_coordinator(coordinator: Shell) -> None:
    """Each has pipes as its output, which reach their end: the coordinator holds none of them."""
    both = [coordinator.begin("fleet", "status", "--json") for _ in range(4)]
    told = [json.loads(process.communicate(timeout=3 * PATIENCE_S * crowded())[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0, 0, 0]
    assert (
        len({t["coordinator"]["pid"] for t in told}) == 1
        and len({t["coordinator"]["epoch"] for t in told}) == 1
    )
    assert told[0]["coordinator"]["pid"] == _holder(coordinator).pid
    assert stat.S_IMODE(coordinator.home.stat().st_mode) == 0o700
    for private in ("api.sock", "key/coordinator.key", "run/coordinator.log"):
        assert stat.S_IMODE((coordinator.home / private).stat().st_mode) == 0o600


def test_a_second_start_says_so(coordinator: Shell) -> None:
    first = coordinator("serve", "--background")
    assert first.status == 0 and first.out == f"running, pid {_holder(coordinator).pid}\n"
    again = coordinator("serve", "--background")
    assert again.status == 0 and again.out == f"already running, pid {_holder(coordinator).pid}\n"
    foreground = coordinator("serve")
    assert (
        foreground.status == 6
        and f"pid {_holder(coordinator).pid}" in foreground.err
        and "fix:" in foreground.err
    )


def test_a_killed_coordinator_is_followed_by_the_next_command(coordinator: Shell) -> None:
    coordinator("budget", "set", "7")
    first = _holder(coordinator)
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: not first.alive(), "it is gone")
    assert (coordinator.home / "api.sock").exists() and (coordinator.home / "run/coordinator.pid").exists()
    after = coordinator("budget", "--json")
    assert after.status == 0 and after.data["scopes"][0]["ceiling_usd"] == "7"
    assert _holder(coordinator).pid != first.pid
    assert coordinator("fleet", "status", "--json").data["coordinator"]["epoch"] == 2


@pytest.fixture
def waiting(coordinator: Shell) -> Iterator[Shell]:
    """Each run waits: a dispatch brings up a node that it could use, and a file is in the place of the only
    node's home."""
    place = Path(os.environ["HOME"]) / ".pancode-node"
    place.write_text("")
    assert coordinator("node", "add", "here", "--local").status == 0
    yield coordinator
    coordinator("fleet", "down", "--now")  # or the node is brought up as soon as there is room for its home
    place.unlink()


def test_who_waits_outlives_a_killed_coordinator(waiting: Shell) -> None:
    """The one who waits says that the coordinator is away, starts it again, and continues waiting."""
    coordinator = waiting
    begun = coordinator.begin("dispatch", "--runtime", "shell", "--workspace", "none", "--json", "true")
    until(lambda: bool(coordinator("runs", "--json").data["runs"]), "the run waits")
    first = _holder(coordinator)
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: _another(coordinator, first), "the next coordinator")
    assert coordinator("stop", "last", "--reason", "enough").status == 0
    out, err = begun.communicate(timeout=2 * PATIENCE_S * crowded())
    assert (begun.returncode, json.loads(out)["outcome"]) == (19, "interrupted"), err


def _another(coordinator: Shell, first: ProcessId) -> bool:
    now = holder_of(coordinator.home)
    return now is not None and now.pid != first.pid


def test_a_clean_stop_leaves_nothing_running(coordinator: Shell) -> None:
    assert coordinator("serve", "--background").status == 0
    assert _processes(str(coordinator.home / "valkey"))
    holder = _holder(coordinator)
    os.kill(holder.pid, signal.SIGTERM)
    until(lambda: not holder.alive(), "it ends")
    assert (
        not (coordinator.home / "api.sock").exists()
        and not (coordinator.home / "run/coordinator.pid").exists()
    )
    assert not _processes(str(coordinator.home / "valkey"))
    assert "Traceback" not in (coordinator.home / "run/coordinator.log").read_text()


def test_it_ends_when_its_home_is_taken_away(coordinator: Shell) -> None:
    coordinator("fleet", "status")
    pid = _holder(coordinator).pid
    take_away(coordinator.home)
    until(lambda: not Path(f"/proc/{pid}").exists(), "the coordinator has ended")
    until(lambda: not _processes(str(coordinator.home)), "its Redis has ended too")
    coordinator.home.mkdir(mode=0o700)


def test_its_own_redis_is_started_again_when_it_dies(coordinator: Shell) -> None:
    assert coordinator("serve", "--background").status == 0
    (server,) = _processes(str(coordinator.home / "valkey"))
    os.kill(server, signal.SIGKILL)
    until(lambda: _processes(str(coordinator.home / "valkey")) not in ([], [server]), "Valkey is back")
    assert coordinator("fleet", "status").status == 0
    log = (coordinator.home / "run/coordinator.log").read_text()
    assert "was restarted" in log and "Traceback" not in log


def test_what_keeps_it_from_starting_is_told_by_the_command(coordinator: Shell) -> None:
    (coordinator.home / "pancode.yaml").write_text("budget:\n  cieling: 3\n")
    said = coordinator("runs", "--json")
    assert said.status == 3 and said.out == ""
    assert "pancode.yaml:2" in said.error["message"] + said.error["why"]
    assert "ceiling" in said.error["why"] + said.error["fix"] + said.error["message"]
    assert coordinator("config", "show").status == 3
    doctor = coordinator("doctor", "--json")
    assert doctor.status == 6
    assert [c["what"] for c in doctor.data["checks"] if c["level"] == "error"] == ["settings"]
    (coordinator.home / "pancode.yaml").unlink()
    assert coordinator("runs").status == 0


def test_a_start_that_a_damaged_key_prevents_leaves_no_process(coordinator: Shell) -> None:
    coordinator("runs")
    coordinator("fleet", "down", "--now")
    key = coordinator.home / "key/coordinator.key"
    good = key.read_text()
    key.write_text("rubbish")
    assert coordinator("serve", "--background").status == 3
    assert not _processes(str(coordinator.home))
    key.write_text(good)


def test_a_lost_ledger_is_not_taken_for_a_new_fleet(coordinator: Shell) -> None:
    coordinator("runs")
    coordinator("fleet", "down", "--now")
    ledger, kept = coordinator.home / "ledger.db", coordinator.home / "kept.db"
    ledger.rename(kept)
    said = coordinator("fleet", "up", "--json")
    assert (said.status, said.error["code"]) == (6, "ledger_lost")
    assert str(ledger) in said.error["message"] and "restore a copy of ledger.db" in said.error["fix"]
    assert not _processes(str(coordinator.home))
    kept.rename(ledger)
    assert coordinator("serve", "--background").status == 0


def test_a_home_with_a_long_path_works(coordinator: Shell) -> None:
    deep = coordinator.home / ("d" * 60) / ("e" * 60)
    there = Shell(deep, coordinator.cwd)
    try:
        assert there("runs").status == 6 and not deep.exists(), "who only looks makes no fleet"
        deep.mkdir(mode=0o700, parents=True)
        assert there("runs").status == 0
    finally:
        assert there("fleet", "down", "--now").status == 0


def test_files_of_the_user_are_written_once(coordinator: Shell) -> None:
    first = coordinator("init", "--json").data["files"]
    assert [f["written"] for f in first] == [True] * 4
    mine = coordinator.home / "pancode.yaml"
    mine.write_text("budget:\n  ceiling: 3\n")
    assert [f["written"] for f in coordinator("init", "--json").data["files"]] == [False] * 4
    assert mine.read_text() == "budget:\n  ceiling: 3\n"
    shown = {row["key"]: row for row in coordinator("config", "show", "--origin", "--json").data["settings"]}
    assert shown["budget.ceiling"]["value"] == "3" and "pancode.yaml:2" in shown["budget.ceiling"]["origin"]
    assert shown["dispatch.agent"]["origin"] == "built-in"
    assert coordinator("budget", "--json").data["scopes"][0]["ceiling_usd"] == "3"


WAITERS = {
    "dispatch": ("dispatch", "--runtime", "shell", "--workspace", "none", "--json", "true"),
    "retry": ("runs", "retry", "last", "--json"),
    "logs": ("runs", "logs", "-f", "last", "--json"),
}


def test_a_fleet_that_was_taken_down_stays_down_while_somebody_waits(waiting: Shell) -> None:
    coordinator = waiting
    assert coordinator(*WAITERS["dispatch"], "--detach").status == 0
    assert coordinator("stop", "last").status == 0
    begun = {"retry": coordinator.begin(*WAITERS["retry"])}
    until(lambda: len(coordinator("runs", "--json").data["runs"]) == 2, "the second run waits")
    begun |= {name: coordinator.begin(*WAITERS[name]) for name in ("dispatch", "logs")}
    until(lambda: len(coordinator("runs", "--json").data["runs"]) == 3, "the third one too")
    first = _holder(coordinator)
    assert coordinator("fleet", "down").status == 0
    for name, process in begun.items():
        out, err = process.communicate(timeout=2 * PATIENCE_S * crowded())
        told = json.loads(err.decode().splitlines()[-1])["error"]
        assert (process.returncode, told["code"], out) == (6, "fleet_down", b""), (name, err)
        assert "pancode fleet up" in told["fix"] and "ana" in told["why"]
    for words in (("runs",), ("fleet", "status"), ("why", "last"), ("runs", "stop", "last")):
        said = coordinator(*words, "--json")
        assert (said.status, said.error["code"], said.error["fix"]) == (6, "fleet_down", "pancode fleet up")
    assert holder_of(coordinator.home) is None and not _processes(str(coordinator.home))
    assert not first.alive()


@pytest.mark.parametrize(
    "words",
    [("serve", "--background"), ("node", "add", "there", "--local"), (*WAITERS["dispatch"], "--detach")],
)
def test_who_means_work_brings_it_up_again(coordinator: Shell, words: tuple[str, ...]) -> None:
    assert coordinator("node", "add", "here", "--local").status == 0
    assert coordinator("fleet", "down").status == 0
    assert coordinator("runs").status == 6
    assert coordinator(*words).status == 0
    assert coordinator("runs").status == 0


def test_down_counts_where_the_coordinator_had_died(coordinator: Shell) -> None:
    assert coordinator("serve", "--background").status == 0
    first = _holder(coordinator)
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: not first.alive(), "it is gone")
    assert "no coordinator is running here" in coordinator("fleet", "down").out
    assert coordinator("fleet", "status", "--json").error["code"] == "fleet_down"
    assert coordinator("serve", "--background").status == 0  # so that its Redis ends with it
