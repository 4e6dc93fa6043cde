"""A node agent of another version than the coordinator: both are named, and the command that repairs it."""

from __future__ import annotations

import pytest

from pancode import __version__
from pancode.fleet import fleet as query_fleet
from tests.unit.pancode.runs.world import Desk, Puppet


@pytest.mark.parametrize(
    ("version", "fix"),
    [
        ("0.0.9", "pancode fleet up n1"),
        ("0.1.0", "pancode fleet up n1"),
        ("0.2.0rc1", "pancode fleet up n1"),
        ("0.10.0", "pancode fleet up n1; to use 0.10.0 instead, install it on this machine"),
    ],
)
def test_it_is_told_with_both_versions_and_the_fix(version: str, fix: str) -> None:
    coordinator = Desk()
    node = Puppet(coordinator, "n1")
    node.breathe()
    assert problems(coordinator) == []
    node.heartbeat(version=version)
    coordinator.turn(0)
    ((what, said),) = problems(coordinator)
    assert what == f"its node agent has PanCode {version}, the coordinator has {__version__}"
    assert said.startswith(fix)


def problems(coordinator: Desk) -> list[tuple[str, str]]:
    shown = query_fleet.get_node(coordinator.core, "n1")
    told = [(one["what"], one["fix"]) for one in shown["problems"]]
    return [one for one in told if "clock" not in one[0]]
