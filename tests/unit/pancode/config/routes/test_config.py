"""The configuration through the API: set, unset, taken back, on record, and never from inside of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.identity import AttemptId
from pancode.config.layers import CHOSEN
from pancode.config.records import ConfigChange
from pancode.kernel.errors import ConfigError
from pancode.kernel.records import Audit
from pancode.runs.user_environment import SettingChange
from tests.unit.pancode.interfaces.http.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def change(world: World, verb: str, **body: Any) -> dict[str, Any]:
    return dict(world.http.post(f"/v1/config/{verb}", {"by": "ana", **body}).json())


def safety(world: World) -> tuple[str, str]:
    rows = {row["key"]: row for row in world.http.get("/v1/config").json()["settings"]}
    row = rows["dispatch.safety"]
    return row["value"], row["origin"].rpartition("/")[2]


def told(world: World) -> list[tuple[str, dict[str, object]]]:
    with world.context.core.ports.ledger.transaction() as tx:
        return [(a.what, dict(a.detail)) for a in tx.find(Audit, {"domain": "config"})]


def test_a_change_counts_at_once_and_undo_takes_back_one_after_the_other(world: World) -> None:
    raises = {"key": "dispatch.safety", "value": "full-auto"}
    refused = world.problem("POST", "/v1/config/set", {"by": "ana", **raises})
    assert (refused["code"], refused["fix"]) == (
        "needs_yes",
        "pancode config set dispatch.safety full-auto --yes",
    )
    done = change(world, "set", **raises, yes=True)
    assert (done["old"]["value"], done["new"]["value"], done["notes"]) == ("auto-edit", "full-auto", [])
    assert safety(world) == ("full-auto", f"{CHOSEN}:3")
    assert world.http.post("/v1/runs", world.shell(dry_run=True)).json()["safety"] == "full-auto"
    change(world, "set", key="limits.wall", value="2h")
    change(world, "unset", key="dispatch.safety")
    assert safety(world) == ("auto-edit", "built-in")
    back = [change(world, "undo")["target"] for _ in range(3)]
    assert back == ["dispatch.safety", "limits.wall", "dispatch.safety"]
    assert safety(world) == ("auto-edit", "built-in")
    assert world.problem("POST", "/v1/config/undo", {"by": "ana"})["code"] == "no_change"
    assert [what for what, _ in told(world)] == ["setting changed"] * 3 + ["setting taken back"] * 3
    assert told(world)[0][1] == {
        **{"by": "ana", "kind": "setting", "target": "dispatch.safety"},
        **{"old": "auto-edit", "new": "full-auto"},
    }


def test_the_way_back_is_on_record_before_a_change_is_made(world: World, tmp_path: Path) -> None:
    """A kill behind the write leaves the change with its undo, one before it an undo that changes nothing."""
    chosen, write = world.coordinator.chosen, world.coordinator.chosen.change
    seen: list[object] = []

    def watched(key: str, text: str | None) -> SettingChange:
        seen.append([one.target for one in world.context.rows(ConfigChange)])
        return write(key, text)

    chosen.change = watched  # type: ignore[method-assign]
    change(world, "set", key="limits.wall", value="2h")
    assert seen[0] == ["limits.wall"]
    change(world, "set", key="limits.idle", value="9m")
    kept = (tmp_path / "settings.json").read_text()
    (tmp_path / "settings.json").write_text(kept.replace('"9m"', '"8m"'))
    assert world.problem("POST", "/v1/config/undo", {"by": "ana"})["code"] == "changed"
    change(world, "set", key="limits.idle", value="7m")
    (tmp_path / "settings.json").write_text(kept.replace('"9m"', '"8m"'))  # as if it was killed before
    done = change(world, "undo")
    assert done["target"] == "limits.wall" and "the last change of limits.idle" in done["notes"][-1]


def test_a_change_that_cannot_be_written_is_not_there_to_be_taken_back(world: World) -> None:
    def full(key: str, text: str | None) -> SettingChange:
        raise ConfigError("no space")

    world.coordinator.chosen.change = full  # type: ignore[method-assign]
    world.problem("POST", "/v1/config/set", {"by": "ana", "key": "limits.wall", "value": "2h"})
    assert world.problem("POST", "/v1/config/undo", {"by": "ana"})["code"] == "no_change"
    assert [one.what for one in world.context.rows(Audit, domain="config")][-1] == "setting not changed"


def test_undo_does_not_take_back_what_a_user_wrote_since(world: World, tmp_path: Path) -> None:
    change(world, "set", key="limits.wall", value="2h")
    change(world, "set", key="dispatch.safety", value="full-auto", yes=True)
    (tmp_path / CHOSEN).write_text('{"dispatch": {"safety": "suggest"}, "limits": {"wall": "2h"}}')
    problem = world.problem("POST", "/v1/config/undo", {"by": "ana"})
    assert problem["code"] == "changed" and "suggest" in problem["why"]
    assert safety(world)[0] == "suggest"
    assert change(world, "undo")["target"] == "limits.wall", "the change before it"


def test_a_preset_that_counts_more_is_named(world: World) -> None:
    world.http.post("/v1/presets/apply", {"name": "local", "by": "ana"})
    rows = world.http.get("/v1/config").json()["settings"]
    key = next(row["key"] for row in rows if row["origin"] == "preset local")
    done = change(world, "set", key=key, value="ollama/other" if key.startswith("models") else "suggest")
    assert done["notes"][0].startswith(f"preset local takes precedence: {key} stays ")


def test_slots_say_that_a_machine_keeps_its_own(world: World) -> None:
    notes = change(world, "set", key="nodes.slots", value="3")["notes"]
    assert any(
        "added from now on; for an existing node: pancode node set NAME --slots N" in one for one in notes
    )


def test_a_run_sets_nothing_and_its_attempt_is_on_record(world: World) -> None:
    run = world.dispatch()["run"]
    world.coordinator.inside = (AttemptId(run=run, attempt=1, lease=1),)
    for verb, body in (
        ("set", {"key": "dispatch.safety", "value": "full-auto"}),
        ("unset", {"key": "dispatch.safety"}),
        ("undo", {}),
    ):
        assert world.problem("POST", f"/v1/config/{verb}", body)["code"] == "inside_run"
    assert safety(world) == ("auto-edit", "built-in")
    with world.context.core.ports.ledger.transaction() as tx:
        asked = [a.detail["asked"] for a in tx.find(Audit, {"domain": "trust"})]
    assert asked == ["POST /v1/config/set", "POST /v1/config/unset", "POST /v1/config/undo"]
