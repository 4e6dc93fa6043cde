"""What is looked at on this machine, and who holds a home, on folders alone."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from pancode.app.doctor import run_checks
from pancode.app.init import write_files
from pancode.config.load import ConfigPlaces, load
from pancode.config.user_environment import OWN_RULES, load_rules
from pancode.fleet.answers import HomeCheck
from pancode.kernel.host.single_instance import AlreadyRunningError, HomeLock, holder_of
from pancode.kernel.processes import ProcessId


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
