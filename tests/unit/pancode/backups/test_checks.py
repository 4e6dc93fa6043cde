"""What the doctor says of the copies of a home."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from node_agent.wire.clock import SystemClock
from node_agent.wire.signing import SigningKey
from pancode.backups.checks import check_backup
from pancode.backups.records import CopyRecords
from pancode.kernel.host.files import write_durable
from tests.unit.pancode.backups.memory import a_record


def test_the_key_has_a_backup_when_its_owner_says_so(tmp_path: Path) -> None:
    key = tmp_path / "key/coordinator.key"
    key.parent.mkdir()
    key.write_text("x")
    key.chmod(0o600)
    assert check_backup(tmp_path)["level"] == "warning"
    (tmp_path / "key/BACKED-UP").touch()
    assert check_backup(tmp_path)["ok"]
    os.utime(key, (2**31, 2**31))
    assert not check_backup(tmp_path)["ok"]


def _with_copy(tmp_path: Path, **changes: object) -> None:
    """The home's key, and the coordinator's record of a copy, taken now."""
    key = SigningKey(b"k" * 32)
    write_durable(tmp_path / "key/coordinator.key", key.text().encode())
    now_ms = SystemClock().wall_ms()
    record, own = a_record("box"), {"key": key.public.tag, "taken_ms": now_ms, "verified_ms": now_ms}
    (copy,) = record.copies
    of_copy = {name: value for name, value in changes.items() if name != "trouble"}
    made = copy.model_copy(update={**own, **of_copy})
    CopyRecords(tmp_path).keep(
        record.model_copy(update={"copies": (made,), "trouble": changes.get("trouble", "")})
    )


def test_a_new_copy_on_a_node_is_told_with_its_age(tmp_path: Path) -> None:
    _with_copy(tmp_path)
    check = check_backup(tmp_path)
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
def test_a_copy_that_is_not_enough_is_a_warning(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    _with_copy(tmp_path, **changes)
    check = check_backup(tmp_path)
    assert check["level"] == "warning" and words in check["detail"], check
    assert "pancode admin backup --to" in check["fix"]
