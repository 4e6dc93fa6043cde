"""What `doctor --fix` mends: one act after the other, and nothing that is not ours or is in use."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from pancode.offline.init import write_files
from pancode.offline.mending import Mend, mends


@pytest.fixture
def user(tmp_path: Path) -> Path:
    write_files(tmp_path / ".pancode")
    return tmp_path


def found(user: Path) -> list[Mend]:
    return list(mends(user / ".pancode", {"HOME": str(user)}))


def test_a_home_in_order_needs_nothing(user: Path) -> None:
    assert found(user) == []


def test_private_files_are_taken_from_others_and_links_are_left_alone(user: Path) -> None:
    home, node = user / ".pancode", user / ".pancode-node/f-1234"
    for folder in (home / "key", home / "run", node):
        folder.mkdir(parents=True, mode=0o700)
    outside = user / "outside"
    outside.write_text("")
    outside.chmod(0o644)
    open_files = [home / "key/coordinator.key", node / "secrets.json"]
    for path in open_files:
        path.write_text("{}")
        path.chmod(0o644)
    (home / "key/link").symlink_to(outside)
    home.chmod(0o755)
    acts = found(user)
    assert [one.act for one in acts] == [f"chmod 700 {home}", *(f"chmod 600 {path}" for path in open_files)]
    for one in acts:
        one.do()
    assert found(user) == []
    assert stat.S_IMODE(os.stat(outside).st_mode) == 0o644


def test_a_socket_of_a_coordinator_that_is_gone_goes(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = user / ".pancode/run"
    run.mkdir(mode=0o700)
    monkeypatch.chdir(run)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind("api.sock")
    (one,) = found(user)
    assert one.act == f"rm {run}/api.sock"
    one.do()
    assert found(user) == []


def test_files_that_are_missing_are_written_and_none_is_written_over(user: Path) -> None:
    home = user / ".pancode"
    (home / "panagents.yaml").unlink()
    (home / "pancode.yaml").write_text("budget: {ceiling: 3}\n")
    (one,) = found(user)
    assert one.act == "pancode init" and "panagents.yaml" in one.wrong
    one.do()
    assert found(user) == [] and (home / "pancode.yaml").read_text() == "budget: {ceiling: 3}\n"
