"""The coordinator's process with a real Valkey and ledger: one per home, killed, stopped, mended."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pancode.offline.single_instance import holder_of
from pancode.processes import ProcessId
from tests.crowd import crowded
from tests.integration.faces.conftest import PATIENCE_S, Shell, take_away, until

pytestmark = pytest.mark.slow


@pytest.fixture
def desk(pancode: Shell) -> Iterator[Shell]:
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


def _holder(desk: Shell) -> ProcessId:
    holder = holder_of(desk.home)
    assert holder is not None
    return holder


def test_two_commands_at_once_start_one_coordinator(desk: Shell) -> None:
    both = [desk.begin("fleet", "status", "--json") for _ in range(4)]
    told = [json.loads(process.communicate(timeout=3 * PATIENCE_S * crowded())[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0, 0, 0]
    assert (
        len({t["coordinator"]["pid"] for t in told}) == 1
        and len({t["coordinator"]["epoch"] for t in told}) == 1
    )
    assert told[0]["coordinator"]["pid"] == _holder(desk).pid
    assert stat.S_IMODE(desk.home.stat().st_mode) == 0o700
    for private in ("api.sock", "key/coordinator.key", "run/coordinator.log"):
        assert stat.S_IMODE((desk.home / private).stat().st_mode) == 0o600


def test_a_second_start_says_so(desk: Shell) -> None:
    first = desk("serve", "--background")
    assert first.status == 0 and first.out == f"running, pid {_holder(desk).pid}\n"
    again = desk("serve", "--background")
    assert again.status == 0 and again.out == f"already running, pid {_holder(desk).pid}\n"
    foreground = desk("serve")
    assert (
        foreground.status == 6 and f"pid {_holder(desk).pid}" in foreground.err and "fix:" in foreground.err
    )


def test_a_killed_coordinator_is_followed_by_the_next_command(desk: Shell) -> None:
    desk("budget", "set", "7")
    first = _holder(desk)
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: not first.alive(), "it is gone")
    assert (desk.home / "api.sock").exists() and (desk.home / "run/coordinator.pid").exists()
    after = desk("budget", "--json")
    assert after.status == 0 and after.data["scopes"][0]["ceiling_usd"] == "7"
    assert _holder(desk).pid != first.pid
    assert desk("fleet", "status", "--json").data["coordinator"]["epoch"] == 2


def test_who_waits_outlives_a_killed_coordinator(desk: Shell) -> None:
    """The one who waits says that the coordinator is away, starts it again, and goes on waiting."""
    assert desk("node", "add", "here", "--local").status == 0
    waiting = desk.begin("dispatch", "--runtime", "shell", "--workspace", "none", "--json", "true")
    until(lambda: bool(desk("runs", "--json").data["runs"]), "the run waits")
    first = _holder(desk)
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: _another(desk, first), "the next coordinator")
    assert desk("queue", "rm", "last", "--reason", "enough").status == 0
    out, err = waiting.communicate(timeout=2 * PATIENCE_S * crowded())
    assert (waiting.returncode, json.loads(out)["outcome"]) == (19, "interrupted"), err


def _another(desk: Shell, first: ProcessId) -> bool:
    now = holder_of(desk.home)
    return now is not None and now.pid != first.pid


def test_a_clean_stop_leaves_nothing_running(desk: Shell) -> None:
    assert desk("serve", "--background").status == 0
    assert _processes(str(desk.home / "valkey"))
    holder = _holder(desk)
    os.kill(holder.pid, signal.SIGTERM)
    until(lambda: not holder.alive(), "it ends")
    assert not (desk.home / "api.sock").exists() and not (desk.home / "run/coordinator.pid").exists()
    assert not _processes(str(desk.home / "valkey"))
    assert "Traceback" not in (desk.home / "run/coordinator.log").read_text()


def test_it_ends_when_its_home_is_taken_away(desk: Shell) -> None:
    desk("fleet", "status")
    pid = _holder(desk).pid
    take_away(desk.home)
    until(lambda: not Path(f"/proc/{pid}").exists(), "the coordinator has ended")
    until(lambda: not _processes(str(desk.home)), "its Redis has ended too")
    desk.home.mkdir(mode=0o700)


def test_its_own_redis_is_started_again_when_it_dies(desk: Shell) -> None:
    assert desk("serve", "--background").status == 0
    (server,) = _processes(str(desk.home / "valkey"))
    os.kill(server, signal.SIGKILL)
    until(lambda: _processes(str(desk.home / "valkey")) not in ([], [server]), "Valkey is back")
    assert desk("fleet", "status").status == 0
    log = (desk.home / "run/coordinator.log").read_text()
    assert "started again" in log and "Traceback" not in log


def test_what_keeps_it_from_starting_is_told_by_the_command(desk: Shell) -> None:
    (desk.home / "pancode.yaml").write_text("budget:\n  cieling: 3\n")
    said = desk("runs", "--json")
    assert said.status == 3 and said.out == ""
    assert "pancode.yaml:2" in said.error["message"] + said.error["why"]
    assert "ceiling" in said.error["why"] + said.error["fix"] + said.error["message"]
    assert desk("config", "show").status == 3
    doctor = desk("doctor", "--json")
    assert doctor.status == 6
    assert [c["what"] for c in doctor.data["checks"] if c["level"] == "error"] == ["settings"]
    (desk.home / "pancode.yaml").unlink()
    assert desk("runs").status == 0


def test_a_start_that_a_damaged_key_prevents_leaves_no_process(desk: Shell) -> None:
    desk("runs")
    desk("fleet", "down", "--now")
    key = desk.home / "key/coordinator.key"
    good = key.read_text()
    key.write_text("rubbish")
    assert desk("serve", "--background").status == 3
    assert not _processes(str(desk.home))
    key.write_text(good)


def test_a_lost_ledger_is_not_taken_for_a_new_fleet(desk: Shell) -> None:
    desk("runs")
    desk("fleet", "down", "--now")
    ledger, kept = desk.home / "ledger.db", desk.home / "kept.db"
    ledger.rename(kept)
    said = desk("fleet", "up", "--json")
    assert (said.status, said.error["code"]) == (6, "ledger_lost")
    assert str(ledger) in said.error["message"] and "ledger.db back" in said.error["fix"]
    assert not _processes(str(desk.home))
    kept.rename(ledger)
    assert desk("serve", "--background").status == 0


def test_a_home_with_a_long_path_works(desk: Shell) -> None:
    deep = desk.home / ("d" * 60) / ("e" * 60)
    there = Shell(deep, desk.cwd)
    try:
        assert there("runs").status == 0
    finally:
        assert there("fleet", "down", "--now").status == 0


def test_files_of_the_user_are_written_once(desk: Shell) -> None:
    first = desk("init", "--json").data["files"]
    assert [f["written"] for f in first] == [True] * 4
    mine = desk.home / "pancode.yaml"
    mine.write_text("budget:\n  ceiling: 3\n")
    assert [f["written"] for f in desk("init", "--json").data["files"]] == [False] * 4
    assert mine.read_text() == "budget:\n  ceiling: 3\n"
    shown = {row["key"]: row for row in desk("config", "show", "--origin", "--json").data["settings"]}
    assert shown["budget.ceiling"]["value"] == "3" and "pancode.yaml:2" in shown["budget.ceiling"]["origin"]
    assert shown["dispatch.agent"]["origin"] == "built-in"
    assert desk("budget", "--json").data["scopes"][0]["ceiling_usd"] == "3"


WAITERS = {
    "dispatch": ("dispatch", "--runtime", "shell", "--workspace", "none", "--json", "true"),
    "retry": ("runs", "retry", "last", "--json"),
    "logs": ("runs", "logs", "-f", "last", "--json"),
}


def test_a_fleet_that_was_taken_down_stays_down_while_somebody_waits(desk: Shell) -> None:
    assert desk("node", "add", "here", "--local").status == 0
    assert desk(*WAITERS["dispatch"], "--detach").status == 0
    assert desk("queue", "rm", "last").status == 0
    waiting = {"retry": desk.begin(*WAITERS["retry"])}
    until(lambda: len(desk("runs", "--json").data["runs"]) == 2, "the second run waits")
    waiting |= {name: desk.begin(*WAITERS[name]) for name in ("dispatch", "logs")}
    until(lambda: len(desk("runs", "--json").data["runs"]) == 3, "the third one too")
    first = _holder(desk)
    assert desk("fleet", "down").status == 0
    for name, process in waiting.items():
        out, err = process.communicate(timeout=2 * PATIENCE_S * crowded())
        told = json.loads(err.decode().splitlines()[-1])["error"]
        assert (process.returncode, told["code"], out) == (6, "fleet_down", b""), (name, err)
        assert "pancode fleet up" in told["fix"] and "ana took it down" in told["why"]
    for words in (("runs",), ("fleet", "status"), ("why", "last"), ("runs", "stop", "last")):
        said = desk(*words, "--json")
        assert (said.status, said.error["code"], said.error["fix"]) == (6, "fleet_down", "pancode fleet up")
    assert holder_of(desk.home) is None and not _processes(str(desk.home))
    assert not first.alive()


@pytest.mark.parametrize(
    "words",
    [("serve", "--background"), ("node", "add", "there", "--local"), (*WAITERS["dispatch"], "--detach")],
)
def test_who_means_work_brings_it_up_again(desk: Shell, words: tuple[str, ...]) -> None:
    assert desk("node", "add", "here", "--local").status == 0
    assert desk("fleet", "down").status == 0
    assert desk("runs").status == 6
    assert desk(*words).status == 0
    assert desk("runs").status == 0


def test_down_counts_where_the_coordinator_had_died(desk: Shell) -> None:
    assert desk("serve", "--background").status == 0
    first = _holder(desk)
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: not first.alive(), "it is gone")
    assert "no coordinator runs here" in desk("fleet", "down").out
    assert desk("fleet", "status", "--json").error["code"] == "fleet_down"
    assert desk("serve", "--background").status == 0  # so that its Redis ends with it
