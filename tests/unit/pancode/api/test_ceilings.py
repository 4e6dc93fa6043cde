"""A ceiling says where it comes from, and what was set by hand can be taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pancode.domain.records import Audit
from tests.unit.pancode.api.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def shown(world: World) -> dict[str, Any]:
    told: dict[str, Any] = world.http.get("/v1/budget").json()
    return told


def test_what_nobody_has_said_is_built_in(world: World) -> None:
    assert shown(world)["scopes"][0]["origin"] == "built-in" and shown(world)["notes"] == []


def test_what_was_set_says_by_whom_and_is_taken_back(world: World) -> None:
    world.http.post("/v1/budget/ceiling", {"by": "ana", "usd": "20"})
    day = shown(world)["scopes"][0]
    assert day["ceiling_usd"] == "20" and day["origin"].startswith("budget set by ana at 20")
    assert shown(world)["notes"] == ["built-in says 10 USD for a day; it counts after: pancode budget unset"]
    answer = world.http.post("/v1/budget/ceiling/unset", {"by": "ana"}).json()
    assert (answer["scopes"][0]["ceiling_usd"], answer["scopes"][0]["origin"]) == ("10", "built-in")
    assert answer["notes"] == []
    (entry,) = [a for a in world.desk.rows(Audit) if a.what == "ceiling unset"]
    assert entry.detail == {"scope": "day", "old": "20", "by": "ana"}


def test_a_file_that_does_not_count_is_not_silent(world: World) -> None:
    file = world.coordinator.home / "pancode.yaml"
    file.write_text("budget:\n  ceiling: 5\n")
    assert shown(world)["notes"] == [
        f"{file}:2 says 5 USD for a day; it counts after: pancode fleet down, pancode fleet up"
    ]
    world.http.post("/v1/budget/ceiling", {"usd": "20"})
    assert shown(world)["notes"] == [f"{file}:2 says 5 USD for a day; it counts after: pancode budget unset"]


def test_of_one_machine_too(world: World) -> None:
    world.http.post("/v1/budget/ceiling", {"usd": "5", "scope": "node:n1"})
    answer = world.http.post("/v1/budget/ceiling/unset", {"scope": "node:n1"}).json()
    assert [s["scope"].partition(":")[0] for s in answer["scopes"]] == ["day"]


@pytest.mark.parametrize(("scope", "code"), [("day", "not_found"), ("week", "bad_scope")])
def test_what_was_never_set(world: World, scope: str, code: str) -> None:
    assert world.problem("POST", "/v1/budget/ceiling/unset", {"scope": scope})["code"] == code
