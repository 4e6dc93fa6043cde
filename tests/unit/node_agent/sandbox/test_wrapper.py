"""Each attempt has a user id of its own, also when its number would be another's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from node_agent.sandbox.detect import UID
from node_agent.sandbox.wrapper import UserIdPool


def nobody() -> set[int]:
    return set()


def test_no_two_attempts_have_one(tmp_path: Path) -> None:
    owners = UserIdPool(tmp_path / "owners", 8, nobody)
    given = [owners.owner_of(f"r{number}.1.1") for number in range(8)]
    assert sorted(given) == [UID + number for number in range(8)]
    again = UserIdPool(tmp_path / "owners", 8, nobody)
    assert [again.owner_of(f"r{number}.1.1") for number in range(8)] == given, "after a restart"


def test_the_one_given_longest_ago_is_given_again_unless_it_has_a_process(tmp_path: Path) -> None:
    busy = set[int]()
    owners = UserIdPool(tmp_path, 3, lambda: busy)
    given = [owners.owner_of(name) for name in ("a", "b", "c")]
    for age, uid in enumerate(given):
        os.utime(tmp_path / str(uid), ns=(age + 1, age + 1))
    busy.add(given[0])
    assert owners.owner_of("d") == given[1]
    assert owners.owner_of("a") == given[0]
    busy.update(given)
    with pytest.raises(OSError, match="no user id is free"):
        owners.owner_of("e")


def test_who_has_processes_without_a_file_is_passed_over(tmp_path: Path) -> None:
    """Of another fleet's node on the same machine."""
    owners = UserIdPool(tmp_path, 3, lambda: {UID, UID + 2})
    assert owners.owner_of("a") == UID + 1
