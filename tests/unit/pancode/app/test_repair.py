"""What `doctor --fix` repairs: one act after the other, and nothing that is not ours or is in use."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pancode import __version__
from pancode.app import doctor, repair
from pancode.app.commands.setup import _repair_all
from pancode.app.init import write_files
from pancode.app.repair import Repair, list_repairs
from pancode.interfaces.cli.output import Face
from pancode.interfaces.client.client import Client


@pytest.fixture
def user(tmp_path: Path) -> Path:
    write_files(tmp_path / ".pancode")
    return tmp_path


def found(user: Path) -> list[Repair]:
    return list(list_repairs(user / ".pancode", {"HOME": str(user)}))


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


def test_a_checkout_that_no_journal_knows_goes_and_no_other(user: Path) -> None:
    """An attempt of the journal may have the place of an earlier one that is forgotten."""
    node = user / ".pancode-node/f-1234"
    for name in ("journal/r-aaaa.1.1", "journal/r-bbbb.1.2", "work/.given"):
        (node / name).mkdir(parents=True)
    for name in ("r-aaaa.1.1", "r-past.1.1", "r-left.1.1"):
        (node / "work" / name / "tree").mkdir(parents=True)
    (node / "work/.given/r-bbbb.1.2").symlink_to("r-past.1.1")
    for path in (node, *node.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o700)
    (node / "work/r-left.1.1/tree").chmod(0o500)
    (one,) = found(user)
    assert one.act == f"rm -r {node}/work/r-left.1.1"
    one.do()
    assert found(user) == []
    assert {path.name for path in (node / "work").glob("r-*")} == {"r-aaaa.1.1", "r-past.1.1"}


def test_homes_that_the_owner_chose_for_this_machines_agents_are_looked_at(
    user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of other nodes are not: their paths mean another disk."""
    usual, chosen, far = user / ".pancode-node/f-1", user / "chosen", user / "far"
    for path in (usual, chosen, far):
        path.mkdir(parents=True)
        path.chmod(0o755)
    targets = {"desk": (True, chosen), "new": (True, None), "gpubox": (False, far), "of-a-token": None}

    def ask(home: Path, path: str, timeout_s: float) -> dict[str, Any]:
        if path == "/v1/fleet":
            return {"nodes": [{"name": name} for name in targets]}
        target = targets[path.removeprefix("/v1/nodes/")]
        if target is None:
            return {"target": None}
        local, installed = target
        return {"target": {"local": local, "installed_home": None if installed is None else str(installed)}}

    monkeypatch.setattr(doctor, "holder_of", lambda home: 1)
    monkeypatch.setattr(doctor, "try_get", ask)
    assert [one.act for one in found(user)] == [f"chmod 700 {usual}", f"chmod 700 {chosen}"]


@pytest.mark.parametrize("has_place", [False, True])
@pytest.mark.parametrize("looks", [1, 2])
def test_a_checkout_of_an_attempt_that_begins_meanwhile_is_not_offered(
    user: Path, monkeypatch: pytest.MonkeyPatch, has_place: bool, looks: int
) -> None:
    """It begins after so many looks into folders: with its entry first, then its link, then its checkout."""
    node, real, seen = user / ".pancode-node/f-1234", Path.glob, list[str]()
    for name in ("journal", "work/.given"):
        (node / name).mkdir(parents=True, mode=0o700)

    def glob(self: Path, pattern: str) -> Iterator[Path]:
        found = list(real(self, pattern))
        seen.append(pattern)
        if len(seen) == looks:
            (node / "journal/r-bbbb.1.2").mkdir()
            if has_place:
                (node / "work/.given/r-bbbb.1.2").symlink_to("r-past.1.1")
            (node / "work" / ("r-past.1.1" if has_place else "r-bbbb.1.2")).mkdir()
        return iter(found)

    monkeypatch.setattr(Path, "glob", glob)
    assert list(repair._left_checkouts(node)) == [] and len(seen) == 3


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


@pytest.mark.parametrize("lets_go", [False, True])
def test_a_running_fleet_is_offered_its_old_node_agents_and_what_old_runs_left(
    user: Path, monkeypatch: pytest.MonkeyPatch, lets_go: bool
) -> None:
    rows = [
        ("new", __version__, "online", True),
        ("old", "0.0.9", "draining", True),
        ("off", "0.0.9", "unreachable", False),
        ("silent", __version__, "lost", True),
        ("just-silent", __version__, "suspect", True),
        ("unknown", None, "online", True),
    ]
    nodes = [dict(zip(("name", "version", "state", "linked"), row, strict=True)) for row in rows]
    asked = list[Any]()

    def plan(self: Client, path: str, body: Any) -> dict[str, Any]:
        asked.append((path, body["dry_run"]))
        return {"changes": ["r-1"] if lets_go else [], "logs": []}

    commands = list[tuple[str, ...]]()
    monkeypatch.setattr(repair, "holder_of", lambda home: 1)
    monkeypatch.setattr(repair, "try_get", lambda *_: {"nodes": nodes})
    monkeypatch.setattr(Client, "post", plan)
    monkeypatch.setattr(repair, "_run", lambda *words: commands.append(words))
    for one in found(user):
        one.do()
    assert commands == [("fleet", "up", "old"), ("fleet", "up", "silent"), *([("gc",)] if lets_go else [])]
    assert asked == [("/v1/gc", True)]


@pytest.mark.parametrize("agreed", [False, True])
def test_nothing_is_mended_without_a_yes_to_it(
    user: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], agreed: bool
) -> None:
    home = user / ".pancode"
    (home / "panagents.yaml").unlink()
    home.chmod(0o755)
    asked = list[str]()

    def answer(self: Face, question: str, otherwise: str) -> bool:
        asked.append(question)
        return agreed and "init" in question

    monkeypatch.setattr(Face, "confirm", answer)
    monkeypatch.setenv("HOME", str(user))
    monkeypatch.setenv("PANCODE_HOME", str(home))
    _repair_all(Face(as_json=False), approved=False)
    assert asked == [f"  chmod 700 {home}: do it?", "  pancode init: do it?"]
    assert stat.S_IMODE(home.stat().st_mode) == 0o755
    assert (home / "panagents.yaml").exists() is agreed
    assert capsys.readouterr().err.count("done:") == agreed
