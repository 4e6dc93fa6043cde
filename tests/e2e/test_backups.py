"""The coordinator's machine is lost in the middle of work: the fleet is restored from a copy on a node."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.fleets import own_fleet, up
from tests.e2e.ground import money
from tests.e2e.owner import Owner, script, until
from tests.lab import Lab

pytestmark = pytest.mark.slow

COPIES = "/home/ops/.pancode-backups"
SHELL = ("--runtime", "shell", "--workspace", "none")


@contextmanager
def _another_machine(lab: Lab, factor: float) -> Iterator[Owner]:
    """An owner with nothing but an SSH configuration."""
    root = Path(tempfile.mkdtemp(prefix="pr-"))
    owner = Owner(root, factor)
    owner.know(lab)
    try:
        yield owner
    finally:
        owner.down()
        shutil.rmtree(root, ignore_errors=True)


def _kill(owner: Owner) -> None:
    pid = owner.coordinator_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: owner.coordinator_pid() is None, "the coordinator is dead")


def _lose(owner: Owner) -> None:
    """Its coordinator dies, and the home is gone; the test keeps the disk, which comes back later."""
    _kill(owner)
    owner.fleet_home.rename(owner.fleet_home.with_name("disk"))


def _back_up(owner: Owner, *words: str) -> dict[str, Any]:
    made: dict[str, Any] = owner.ask("admin", "backup", *words, timeout_s=240)
    return made


def _restore(owner: Owner, key: str, host: str = "node3") -> dict[str, Any]:
    file = owner.home / "recovery-key"
    file.write_text(f"{key}\n")
    words = ("admin", "restore", "--from", host, "--key-file", str(file))
    done: dict[str, Any] = owner.ask(*words, timeout_s=240)
    return done


def test_the_fleet_is_restored_and_the_old_coordinator_is_fenced(healed: Lab) -> None:
    """Over 30 s: three bring-ups on each of two machines, and a run that outlives the first one."""
    with own_fleet(healed, [1, 2, 3]) as old, _another_machine(healed, 0.1) as new:
        try:
            up(old, 1, 2, 3)
            ended = old.ended(old.dispatch("--node", "node1", *SHELL, "echo before"))["run"]
            paid = script("usage 10 10 0.01", "sleep 25", "answer delivered")
            flying = old.dispatch(
                "--node", "node2", "--runtime", "scripted", "--workspace", "none", "--budget", "0.05", paid
            )
            old.running(flying)
            made = _back_up(old, "--to", "node3")
            assert made["copies"][0]["ok"] and made["recovery_key"], made
            lost = old.dispatch("--node", "node1", *SHELL, "echo after the copy")
            old.ended(lost)
            _lose(old)

            done = _restore(new, made["recovery_key"])
            assert done["active"] == [flying] and done["copy"] == made["copies"][0]["copy"]
            up(new, 1, 2, 3, take_up=True)
            shown = new.ended(flying, 120)
            assert (shown["outcome"], shown["attempt"], shown["answer"]) == ("done", 1, "delivered"), shown
            for run in (ended, flying):
                assert new.ask("receipt", "verify", run)["verdict"] == "PASS"
            spent, _ = money(new)
            assert spent == Decimal("0.01"), "paid once"
            since = ("--since", done["taken_at"])
            until(lambda: lost in str(new.ask("audit", *since)), "what the copy lacks is named", 100)
            later = new.ask("dispatch", "--node", "node1", *SHELL, "echo again")
            assert later["outcome"] == "done"
            again = _back_up(new, "--to", "node3")
            assert again["copies"][0]["ok"], again

            _comes_back_and_is_fenced(old, new, lost)
            assert new.ask("dispatch", "--node", "node1", *SHELL, "echo still")["outcome"] == "done"
            _takes_it_back(old, new)
        finally:
            for host in (1, 2, 3):
                healed.run(host, f"rm -rf {COPIES}")


def _comes_back_and_is_fenced(old: Owner, new: Owner, lost: str) -> None:
    """The old disk is there again while the new machine is off: nothing is done with the nodes. It still
    shows what happened after the copy."""
    _kill(new)
    old.fleet_home.with_name("disk").rename(old.fleet_home)
    old.run("fleet", "status")
    until(lambda: old.coordinator_pid() is None, "the old coordinator ends", 60, old.log)
    said = old.run("runs").ok()
    assert lost in said.out and "a coordinator on another machine leads the fleet since 20" in said.err, said
    for words in (("admin", "backup", "--to", "node3"), ("fleet", "up"), ("fleet", "up", "--yes")):
        refused = old.run(*words, "--json")
        assert refused.code == 3 and '"fenced"' in refused.err and "fleet up --take" in refused.err, refused
    assert new.run("runs").code == 0, "as the new coordinator starts again"


def _takes_it_back(old: Owner, new: Owner) -> None:
    """The earlier home leads again, which is newer than the copy; the restored coordinator is then fenced."""
    _kill(new)
    asked = old.run("fleet", "up", "node1", "--take", "--json")
    assert asked.code == 2 and "pancode fleet up node1 --take --yes" in asked.err, asked
    old.run("fleet", "up", "node1", "--take", "--yes", timeout_s=180).ok()
    assert old.ask("dispatch", "--node", "node1", *SHELL, "echo back")["outcome"] == "done"
    _kill(old)
    until(lambda: "leads the fleet since" in new.run("runs").err, "the restored one is fenced", 60, new.log)


def test_a_restored_home_that_is_looked_at_disturbs_no_coordinator(healed: Lab) -> None:
    """Neither one that `admin restore` has filled nor one that was put back from an archive."""
    with (
        own_fleet(healed, [3]) as old,
        _another_machine(healed, 0.1) as new,
        _another_machine(healed, 0.1) as third,
    ):
        try:
            up(old, 3)
            made = _back_up(old, "--to", "node3")
            words = ("--exclude", "run", "--exclude", "valkey", "--exclude", "epoch", "--exclude", "*.sock")
            third.fleet_home.mkdir(mode=0o700)
            archive = subprocess.run(
                ["tar", "-C", old.fleet_home, *words, "-c", "."], check=True, capture_output=True
            )
            subprocess.run(["tar", "-C", third.fleet_home, "-x"], check=True, input=archive.stdout)
            _restore(new, made["recovery_key"])
            for restored in (new, third):
                for looks in (("runs",), ("status", "--json"), ("node", "ls"), ("audit",)):
                    assert "--take" not in restored.run(*looks).ok().err
                held = restored.ask("node", "ls")["coordinator"]["held"]
                assert held["mode"] == "held"
                refused = restored.run("dispatch", "--node", "node3", *SHELL, "echo no", "--json")
                assert refused.code == 5 and '"fleet_held"' in refused.err, refused
                asked = restored.run("fleet", "up", "node3", "--json")
                assert asked.code == 2 and "pancode fleet up node3 --yes" in asked.err, asked
                assert "node3 was last in contact with a coordinator at 20" in asked.err
            assert healed.run(3, "find /home/ops -name seat.json").stdout == "", "no claim"
            assert old.ask("dispatch", "--node", "node3", *SHELL, "echo still")["outcome"] == "done"
            assert old.ask("node", "ls")["coordinator"]["held"] is None
        finally:
            healed.run(3, f"rm -rf {COPIES}")


def test_what_was_done_since_the_copy_is_booked_and_what_was_not_waits_for_a_word(healed: Lab) -> None:
    """Work that waited in the copy: done before the loss, with money and a change, or never begun."""
    with own_fleet(healed, [1, 2]) as old, _another_machine(healed, 0.1) as new:
        try:
            up(old, 1, 2)
            project = old.repository()
            old.run("fleet", "drain", "node1", "--reason", "the copy comes first").ok()
            paid = script("write made.txt 'made\\n'", "usage 10 10 0.07", "answer made")
            mark = "echo $PANCODE_RUN >> /tmp/started-{}"
            runs = [old.dispatch("--node", "node1", *SHELL, mark.format(n)) for n in range(3)]
            with_change = old.dispatch(
                *("--node", "node1", "--runtime", "scripted", "--budget", "0.50", paid), cwd=project
            )
            old.run("schedule", "add", "job", "--cron", "* * * * *", *SHELL, "echo fired").ok()
            old.run("admin", "tokens", "--create", "ci").ok()
            made = _back_up(old, "--to", "node2")
            old.run("schedule", "rm", "job")
            old.run("fleet", "resume", "node1").ok()
            for run in (*runs, with_change):
                assert old.ended(run)["outcome"] == "done"
            lost = old.dispatch("--node", "node1", *SHELL, "echo after the copy")
            old.ended(lost)
            spent, _ = money(old)
            _lose(old)
            _restore(new, made["recovery_key"], "node2")
            up(new, 1, 2, take_up=True)
            for run in (*runs, with_change):
                until(lambda run=run: new.show(run)["outcome"] == "done", "booked", 60, new.log)  # type: ignore[misc]
            assert money(new)[0] == spent == Decimal("0.07"), "paid once, booked once"
            starts = healed.run(1, "cat /tmp/started-*").stdout.split()
            assert sorted(starts) == sorted(runs), "begun once"
            assert "made.txt" in new.run("runs", "diff", with_change).ok().out, "its change came again"
            held = new.ask("fleet", "resume", "--held")
            assert [one["name"] for one in held["held"]] == ["schedule:job"], held
            assert lost in new.run("audit").ok().out
            assert new.ask("admin", "tokens")["tokens"] == [], "it may have been revoked since"
            assert new.ask("schedule", "show", "job")["firings"] == []
            new.run("fleet", "resume", "--held", "--drop", "schedule:job").ok()
            assert new.ask("schedule", "show", "job")["paused"]
        finally:
            for host in (1, 2):
                healed.run(host, f"rm -rf {COPIES} /tmp/started-*")


_ENDS = """\
import os, signal
number, place = int(os.environ["ENDS_BY"]), os.environ["ENDS_AT"]
opened, renamed = os.open, os.rename
def opens(path, *words, **named):
    if place == "reading" and str(path).endswith("/.restore/files/ledger.db"):
        os.kill(os.getpid(), number)
    return opened(path, *words, **named)
def renames(old, new, **named):
    renamed(old, new, **named)
    if place == "moving" and str(old).endswith("/.restore/files/key"):
        os.kill(os.getpid(), number)
os.open, os.rename = opens, renames
"""
_OTHERS = ("status", "fleet up", "web", "runs")


def test_a_killed_restore_is_continued_by_the_command_that_every_other_one_prints(healed: Lab) -> None:
    """A restore is killed, or gets Ctrl-C, while it reads the copy and while it moves files into the home."""
    with own_fleet(healed, [3]) as old, _another_machine(healed, 0.1) as new:
        try:
            up(old, 3)
            made = _back_up(old, "--to", "node3")
            (new.home / "recovery-key").write_text(made["recovery_key"])
            (new.home / "sitecustomize.py").write_text(_ENDS)
            words = ("admin", "restore", "--from", "node3", "--key-file", str(new.home / "recovery-key"))
            for place in ("reading", "moving"):
                for number in (signal.SIGKILL, signal.SIGINT):
                    ends = {"PYTHONPATH": str(new.home), "ENDS_BY": str(int(number)), "ENDS_AT": place}
                    plain, new.env = new.env, {**new.env, **ends}
                    ended = new.run(*words)
                    new.env = plain
                    assert ended.code == (130 if number is signal.SIGINT else -signal.SIGKILL), ended
                    others = [new.run(*other.split(), "--json") for other in _OTHERS]
                    assert all(one.code == 3 and '"restore_unfinished"' in one.err for one in others), others
                    error = json.loads(others[-1].err.splitlines()[-1])["error"]
                    command, _, given_up = error["fix"].removeprefix("continue it: ").partition("; ")
                    done = new.run(*shlex.split(command)[1:]).ok()
                    assert "restored fleet" in done.out and (new.fleet_home / "ledger.db").exists()
                    removed = new.fleet_home / ".restore" if place == "reading" else new.fleet_home
                    assert given_up.endswith(f": rm -r {removed}")
                    shutil.rmtree(new.fleet_home)
            gone = new.run(*words, "--copy", "c-00000009-aaaaaa")
            assert gone.code == 4 and not new.fleet_home.exists(), gone
        finally:
            healed.run(3, f"rm -rf {COPIES}")
