"""What is looked at on this machine, and who holds a home, on folders alone."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.clock import SystemClock
from node_agent.wire.signing import SigningKey
from pancode.app.doctor import run_checks
from pancode.app.init import write_files
from pancode.backups.records import CopyRecords
from pancode.config.load import ConfigPlaces, load
from pancode.config.user_environment import OWN_RULES, load_rules
from pancode.fleet.answers import HomeCheck
from pancode.kernel.host.files import write_durable
from pancode.kernel.host.single_instance import AlreadyRunningError, HomeLock, holder_of
from pancode.kernel.processes import ProcessId
from tests.unit.pancode.backups.memory import a_record


def _checks(home: Path) -> dict[str, HomeCheck]:
    return {check["what"]: check for check in run_checks(home, {"HOME": str(home.parent)})}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    return folder


def test_a_fresh_machine_is_told_nothing_but_what_to_expect(tmp_path: Path) -> None:
    checks = _checks(tmp_path / "none")
    assert [c["what"] for c in checks.values() if not c["ok"]] == []
    assert not (tmp_path / "none").exists()


def test_a_home_that_cannot_be_written_is_an_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root only a file system that is mounted read-only says no, and a test mounts none."""
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    for place in (home, home / "none"):
        check = _checks(place)["home"]
        assert not check["ok"] and f"findmnt -T {home}" in check["fix"]


def test_a_home_that_is_a_file_is_an_error(home: Path) -> None:
    (home / "file").write_text("")
    assert _checks(home / "file")["home"]["detail"].endswith("is not a directory")


def test_an_open_home_and_an_open_key_are_errors_with_their_fix(home: Path) -> None:
    key = home / "key/coordinator.key"
    key.parent.mkdir()
    key.write_text("x")
    key.chmod(0o644)
    home.chmod(0o755)
    checks = _checks(home)
    assert checks["home"]["fix"] == f"chmod 700 {home}" and checks["home"]["level"] == "error"
    assert checks["key"]["fix"] == f"chmod 600 {key}"


def test_a_lost_key_is_told_as_long_as_there_is_a_ledger(home: Path) -> None:
    (home / "ledger.db").write_text("")
    assert "restore" in _checks(home)["key"]["fix"]


def test_the_key_has_a_backup_when_its_owner_says_so(home: Path) -> None:
    key = home / "key/coordinator.key"
    key.parent.mkdir()
    key.write_text("x")
    key.chmod(0o600)
    assert _checks(home)["backup"]["level"] == "warning"
    (home / "key/BACKED-UP").touch()
    assert _checks(home)["backup"]["ok"]
    os.utime(key, (2**31, 2**31))
    assert not _checks(home)["backup"]["ok"]


def _with_copy(home: Path, **changes: object) -> None:
    """The home's key, and the coordinator's record of a copy, taken now."""
    key = SigningKey(b"k" * 32)
    write_durable(home / "key/coordinator.key", key.text().encode())
    now_ms = SystemClock().wall_ms()
    record, own = a_record("box"), {"key": key.public.tag, "taken_ms": now_ms, "verified_ms": now_ms}
    (copy,) = record.copies
    of_copy = {name: value for name, value in changes.items() if name != "trouble"}
    made = copy.model_copy(update={**own, **of_copy})
    CopyRecords(home).keep(
        record.model_copy(update={"copies": (made,), "trouble": changes.get("trouble", "")})
    )


def test_a_new_copy_on_a_node_is_told_with_its_age(home: Path) -> None:
    _with_copy(home)
    check = _checks(home)["backup"]
    assert check["ok"] and check["detail"].startswith("c-00000001-x7k2pq on box, taken 0")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"taken_ms": 1_000}, " d ago"),
        ({"key": "0" * 10}, "it lacks the newest key"),
        ({"trouble": "the disk is full"}, "the last try on box failed: the disk is full"),
        ({"verified_ms": 0}, "none: without the key"),
    ],
)
def test_a_copy_that_is_not_enough_is_a_warning(home: Path, changes: dict[str, object], words: str) -> None:
    _with_copy(home, **changes)
    check = _checks(home)["backup"]
    assert check["level"] == "warning" and words in check["detail"], check
    assert "pancode admin backup --to" in check["fix"]


def test_one_holder_and_the_next_one_after_it(home: Path) -> None:
    first, second = HomeLock(home), HomeLock(home)
    first.take()
    with pytest.raises(AlreadyRunningError, match=f"pid {os.getpid()}"):
        second.take()
    assert holder_of(home) == ProcessId.me()
    first.leave()
    first.leave()
    assert holder_of(home) is None
    second.take()
    second.leave()


@pytest.mark.parametrize("change", [{"boot": "another"}, {"started": "1"}, {"pid": 2**22 + 1}])
def test_what_an_old_pid_file_names_is_nobody(home: Path, change: dict[str, Any]) -> None:
    """A pid that was given to another process, or another boot, holds nothing."""
    (home / "run").mkdir()
    (home / "run/coordinator.pid").write_text(json.dumps(asdict(replace(ProcessId.me(), **change))))
    assert holder_of(home) is None
    sole = HomeLock(home)
    sole.take()
    assert holder_of(home) == ProcessId.me()
    sole.leave()


def test_a_torn_pid_file_is_nobody(home: Path) -> None:
    (home / "run").mkdir()
    (home / "run/coordinator.pid").write_text('{"boot": "x"')
    assert holder_of(home) is None


def test_the_written_files_change_nothing_until_they_are_edited(home: Path) -> None:
    before = load(ConfigPlaces(home), {}).settings
    assert all(file["written"] for file in write_files(home)["files"])
    assert load(ConfigPlaces(home), {}).settings == before
    assert sorted(p.name for p in home.iterdir()) == [
        *("panagents.yaml", "pancode.yaml", "panpresets.yaml", "pansafety.yaml")
    ]
    assert load_rules(home, None).rules == OWN_RULES, "all of it is comments"
    text = (
        (home / "pancode.yaml")
        .read_text()
        .replace("#   ceiling: 10", "  ceiling: 3")
        .replace("# budget:", "budget:")
    )
    (home / "pancode.yaml").write_text(text)
    assert load(ConfigPlaces(home), {}).settings.budget.ceiling == 3


def test_a_broken_secrets_file_on_this_machine_is_named_with_its_line(home: Path) -> None:
    assert _checks(home)["secrets"]["ok"]
    file = home.parent / ".pancode-node/f-1/secrets.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"KEY": "hunter2",}')
    told = _checks(home)["secrets"]
    assert not told["ok"] and "line 1, column" in told["detail"] and str(file) in told["fix"]
    assert "hunter2" not in str(told)
    file.write_text('{"KEY": "hunter2"}')
    assert _checks(home)["secrets"]["ok"]
    file.write_text('{"KEY": "tok"}')
    told = _checks(home)["secrets"]
    assert (told["ok"], told["level"]) == (False, "warning") and "KEY has fewer than 4" in told["detail"]
