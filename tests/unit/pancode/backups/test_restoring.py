"""Which fleet's copies a restore means, and what it refuses before it connects anywhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pancode.backups.restoring import RestoreAsked, choose_fleet, restore_fleet
from pancode.fleet.acts import NodeSpec
from pancode.kernel.errors import ConflictError, NotFoundError, PancodeError, UsageError
from pancode.kernel.host.single_instance import AlreadyRunningError, HomeLock


def asked(home: Path, fleet: str | None = None) -> RestoreAsked:
    def never(*_: object) -> str:
        raise AssertionError("nobody is asked")

    environ = {"HOME": str(home.parent), "PATH": "/usr/bin:/bin"}
    spec = NodeSpec("no such host!")
    return RestoreAsked(home, environ, spec, fleet, None, "", never, never, lambda *_: None)


@pytest.mark.parametrize(
    ("found", "fleet", "chosen"),
    [(["f-one"], None, "f-one"), (["f-one", "f-two"], "f-two", "f-two"), (["f-one"], "f-one", "f-one")],
)
def test_the_only_fleet_or_the_named_one(
    tmp_path: Path, found: list[str], fleet: str | None, chosen: str
) -> None:
    assert choose_fleet(found, asked(tmp_path, fleet)) == chosen


def test_none_several_and_a_wrong_name_are_errors(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="has no copies"):
        choose_fleet([], asked(tmp_path))
    with pytest.raises(NotFoundError, match="no copies of fleet f-x"):
        choose_fleet(["f-one"], asked(tmp_path, "f-x"))
    with pytest.raises(UsageError, match="several fleets: f-one, f-two"):
        choose_fleet(["f-one", "f-two"], asked(tmp_path))


def test_the_command_that_an_error_names_reaches_the_same_place(tmp_path: Path) -> None:
    there = replace(asked(tmp_path), spec=NodeSpec("box", "10.0.0.5", None, 2222, "/my key"))
    assert there.again == "pancode admin restore --from box --host 10.0.0.5 --port 2222 --identity '/my key'"
    here = replace(there, spec=NodeSpec("/srv/copies"))
    assert here.again == "pancode admin restore --from-folder /srv/copies"


def test_a_home_with_a_fleet_is_refused_first(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/ledger.db").touch()
    with pytest.raises(ConflictError, match="not empty"):
        restore_fleet(asked(tmp_path / "home"))


def test_no_coordinator_starts_in_the_home_meanwhile(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    lock = HomeLock(home)
    lock.take()
    try:
        with pytest.raises(AlreadyRunningError):
            restore_fleet(asked(home))
    finally:
        lock.leave()


@pytest.mark.parametrize("is_there", [False, True])
def test_what_is_refused_before_a_byte_was_written_leaves_nothing(tmp_path: Path, is_there: bool) -> None:
    home = tmp_path / "home"
    if is_there:
        home.mkdir()
    for _ in range(2):
        with pytest.raises(PancodeError):
            restore_fleet(asked(home))
    assert [one.name for one in tmp_path.rglob("*")] == (["home"] if is_there else [])
