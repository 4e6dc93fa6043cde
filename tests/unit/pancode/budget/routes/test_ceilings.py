"""A ceiling says where it comes from, and what was set by hand can be taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pancode.kernel.records import Audit
from tests.unit.pancode.interfaces.http.world import World


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
    assert shown(world)["notes"] == ["built-in sets 10 USD per day; to apply it: pancode budget set none"]
    answer = world.http.post("/v1/budget/ceiling/unset", {"by": "ana"}).json()
    assert (answer["scopes"][0]["ceiling_usd"], answer["scopes"][0]["origin"]) == ("10", "built-in")
    assert answer["notes"] == []
    (entry,) = [a for a in world.context.rows(Audit) if a.what == "ceiling unset"]
    assert entry.detail == {"scope": "day", "old": "20", "by": "ana"}


def test_a_file_that_does_not_count_is_not_silent(world: World) -> None:
    file = world.coordinator.home / "pancode.yaml"
    file.write_text("budget:\n  ceiling: 5\n")
    assert shown(world)["notes"] == [
        f"{file}:2 sets 5 USD per day; to apply it: pancode fleet down, pancode fleet up"
    ]
    world.http.post("/v1/budget/ceiling", {"usd": "20"})
    assert shown(world)["notes"] == [f"{file}:2 sets 5 USD per day; to apply it: pancode budget set none"]


def test_of_one_machine_too(world: World) -> None:
    world.http.post("/v1/budget/ceiling", {"usd": "5", "scope": "node:n1"})
    answer = world.http.post("/v1/budget/ceiling/unset", {"scope": "node:n1"}).json()
    assert [s["scope"].partition(":")[0] for s in answer["scopes"]] == ["day"]


@pytest.mark.parametrize(("scope", "code"), [("day", "not_found"), ("fortnight", "bad_scope")])
def test_what_was_never_set(world: World, scope: str, code: str) -> None:
    assert world.problem("POST", "/v1/budget/ceiling/unset", {"scope": scope})["code"] == code


def test_tokens_and_minutes_beside_the_money(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.http.post("/v1/budget/ceiling", {"tokens": 1_000, "minutes": "90.5"})
    day = shown(world)["scopes"][0]
    assert (day["ceiling_usd"], day["ceiling_tokens"], day["ceiling_minutes"]) == ("10", 1_000, 90.5)
    world.dispatch()
    day = shown(world)["scopes"][0]
    assert (day["held_tokens"], day["held_minutes"], day["over"]) == (0, 10.0, False)
    world.http.post("/v1/budget/ceiling", {"minutes": "5"})
    assert shown(world)["scopes"][0]["over"]
    told = world.problem("POST", "/v1/runs", world.shell())
    assert told["exit_code"] == 5 and "Agent-minute ceiling" in told["message"]
    assert "budget set --minutes 20" in told["fix"]
    dry = world.http.post("/v1/runs", world.shell(dry_run=True)).json()
    assert (dry["admitted"], dry["estimate_tokens"], dry["estimate_minutes"]) == (False, 0, 10.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"tokens": -1},
        {"tokens": 1.5},
        {"tokens": "many"},
        {"tokens": 10**30},
        {"minutes": "-1"},
        {"minutes": "NaN"},
        {"minutes": "1e300"},
        {"usd": None},
    ],
)
def test_what_is_no_ceiling_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    world = World(tmp_path)
    before = shown(world)
    told = world.problem("POST", "/v1/budget/ceiling", wrong)
    assert told["exit_code"] == 2 and (next(iter(wrong), "tokens") in told["message"] or told["fix"])
    assert shown(world) == before
