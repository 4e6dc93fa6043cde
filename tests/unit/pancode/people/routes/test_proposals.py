"""A change that a model proposes: a card for a user, who alone has it made; taken back by one command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.identity import AttemptId
from pancode.config.proposals import MOST_OF_A_RUN
from pancode.kernel.records import Audit, EventKind, FeedEvent
from tests.unit.pancode.interfaces.http.world import World

BUDGET = {"kind": "budget", "target": "day", "value": "25", "why": "the day is long"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def propose(world: World, **body: Any) -> dict[str, Any]:
    answer = world.http.post("/v1/config/propose", {"by": "ana (claude)", **body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def inside(world: World, **more: Any) -> str:
    """From now on whoever asks is a run."""
    run = str(world.dispatch(**more)["run"])
    world.coordinator.inside = (AttemptId(run=run, attempt=1, lease=1),)
    return run


def outside(world: World) -> None:
    world.coordinator.inside = ()


def items(world: World) -> list[dict[str, Any]]:
    found = world.http.get("/v1/inbox").json()["items"]
    return [item for item in found if item["kind"] == "change"]


def ceiling(world: World) -> str:
    day = next(one for one in world.http.get("/v1/budget").json()["scopes"] if one["scope"].startswith("day"))
    return str(day["ceiling_usd"])


def decide(world: World, verb: str, change: str) -> dict[str, Any]:
    return dict(world.http.post(f"/v1/runs/{change}/{verb}", {"by": "ana"}).json())


def told(world: World, domain: str) -> list[tuple[str, dict[str, Any]]]:
    with world.context.core.ports.ledger.transaction() as tx:
        return [(a.what, dict(a.detail)) for a in tx.find(Audit, {"domain": domain})]


def test_a_run_proposes_a_budget_a_user_confirms_it_and_undo_takes_it_back(world: World) -> None:
    run = inside(world)
    asked = propose(world, **BUDGET)
    assert (asked["old"]["value"], asked["new"]["value"], ceiling(world)) == ("$10", "$25", "10")
    outside(world)
    [item] = items(world)
    assert item["command"] == f"pancode approve {asked['id']}"
    assert item["words"].startswith("budget day: $10 -> $25; requested by ")
    assert item["words"].endswith(f' in {run}, who says: "the day is long"')
    done = decide(world, "approve", asked["id"])
    assert done["change"]["new"]["value"] == "$25"
    assert (ceiling(world), items(world)) == ("25", [])
    assert world.problem("POST", f"/v1/runs/{asked['id']}/approve", {})["code"] == "change_not_found"
    assert world.http.post("/v1/config/undo", {"by": "ana"}).json()["new"]["value"] == "$10"
    assert ceiling(world) == "10"
    said = [what for what, _ in told(world, "config")]
    assert said == ["change proposed", "setting changed", "change approved", "setting taken back"]
    assert told(world, "config")[2][1]["by"] == "ana"


def test_undo_brings_back_the_ceiling_that_a_user_had_set(world: World) -> None:
    world.http.post("/v1/budget/ceiling", {"usd": "3", "tokens": 700, "scope": "day", "by": "ana"})
    decide(world, "approve", propose(world, **BUDGET)["id"])
    assert ceiling(world) == "25"
    world.http.post("/v1/config/undo", {"by": "ana"})
    day = world.http.get("/v1/budget").json()["scopes"][0]
    assert (day["ceiling_usd"], day["ceiling_tokens"]) == ("3", 700)


def test_a_run_that_would_confirm_its_own_change_is_refused_and_on_record(world: World) -> None:
    run = inside(world)
    asked = propose(world, **BUDGET)
    for path, body in (
        (f"/v1/runs/{asked['id']}/approve", {"by": "ana"}),
        (f"/v1/runs/{asked['id']}/deny", {"by": "ana"}),
        ("/v1/config/undo", {"by": "ana"}),
        ("/v1/budget/ceiling", {"usd": "1000", "by": "ana"}),
        ("/v1/presets/apply", {"name": "local", "by": "ana"}),
    ):
        assert world.problem("POST", path, body)["code"] == "inside_run"
    outside(world)
    assert ceiling(world) == "10" and len(items(world)) == 1
    with world.context.core.ports.ledger.transaction() as tx:
        found = [(a.run, a.detail["asked"]) for a in tx.find(Audit, {"domain": "trust"})]
    assert (run, "POST /v1/runs/{run}/approve") in found and len(found) == 5


def test_a_mode_bounds_what_a_run_may_propose(world: World) -> None:
    inside(world)
    safety = {"kind": "setting", "target": "dispatch.safety", "value": "full-auto"}
    problem = world.problem("POST", "/v1/config/propose", safety)
    assert problem["code"] == "mode" and "budget, preset" in problem["why"]
    assert told(world, "trust")[-1][1]["asked"] == "to propose a change of setting: dispatch.safety"
    outside(world)
    inside(world, mode="admin", agent="scout", runtime="scripted", task="#!scripted\n> answer x")
    assert propose(world, **safety)["new"]["value"] == "full-auto"
    outside(world)
    assert "setting dispatch.safety: auto-edit -> full-auto" in items(world)[0]["words"]


def test_a_preset_is_applied_and_taken_back(world: World) -> None:
    asked = propose(world, kind="preset", target="preset", value="local")
    assert "it sets " in items(world)[0]["words"]
    decide(world, "approve", asked["id"])
    assert [p["name"] for p in world.http.get("/v1/presets").json()["presets"] if p["applied"]] == ["local"]
    world.http.post("/v1/config/undo", {"by": "ana"})
    assert [p for p in world.http.get("/v1/presets").json()["presets"] if p["applied"]] == []


def test_an_agent_is_added_by_a_yes_and_taken_back_with_the_file_as_it_was(
    world: World, tmp_path: Path
) -> None:
    inside(world, mode="admin", agent="scout", runtime="scripted", task="#!scripted\n> answer x")
    added = {"kind": "agent", "target": "codex-builder"}
    value = "{from: builder, runtime: codex, node: node1}"
    asked = propose(world, **added, value=value)
    outside(world)
    words = items(world)[0]["words"]
    assert words.startswith("agent codex-builder: none -> {") and not (tmp_path / "panagents.yaml").exists()
    assert all(
        said in words for said in ("from: builder", "node: node1", "runtime: codex", "readonly: false")
    )
    decide(world, "approve", asked["id"])
    agents = world.http.get("/v1/agents").json()["agents"]
    made = next(one for one in agents if one["name"] == "codex-builder")
    assert (made["runtime"], made["node"], made["read_only"]) == ("codex", "node1", False)
    written = (tmp_path / "panagents.yaml").read_text()
    decide(world, "approve", propose(world, **added, value="{limits.usd: 2}")["id"])
    assert "usd: 2" in (tmp_path / "panagents.yaml").read_text()
    undone = world.http.post("/v1/config/undo", {"by": "ana"}).json()
    assert (undone["target"], (tmp_path / "panagents.yaml").read_text()) == ("panagents.yaml", written)
    world.http.post("/v1/config/undo", {"by": "ana"})
    assert not (tmp_path / "panagents.yaml").exists()


def test_a_new_agent_is_no_wider_than_the_one_it_is_made_from(world: World, tmp_path: Path) -> None:
    file = tmp_path / "panagents.yaml"
    bounds = "autonomy: confirmatory\n    isolation: container\n    max_attempts: 1\n    limits: {usd: 1}\n"
    file.write_text(f"agents:\n  careful:\n    readonly: false\n    {bounds}")
    asked = {"kind": "agent", "target": "mine", "value": "{from: careful, tier: small, limits.turns: 9}"}
    first = propose(world, **asked)
    words = items(world)[0]["words"]
    assert all(said in words for said in ("autonomy: confirmatory", "isolation: container", "tier: small"))
    assert "limits: {turns: 9, usd: 1}" in words
    before = file.read_text()
    file.write_text(before.replace("confirmatory", "autonomous"))
    assert world.problem("POST", f"/v1/runs/{first['id']}/approve", {})["code"] == "changed"
    file.write_text(before)
    decide(world, "approve", first["id"])
    agents = {one.name: one for one in world.coordinator.around({}).agents(None).values()}
    made, careful = agents["mine"], agents["careful"]
    same = ("autonomy", "isolations", "max_attempts", "read_only")
    assert [getattr(made, name) for name in same] == [getattr(careful, name) for name in same]
    assert (made.limits.usd, made.limits.turns) == (careful.limits.usd, 9)


def test_undo_leaves_agents_that_somebody_has_edited_since(world: World, tmp_path: Path) -> None:
    asked = propose(world, kind="agent", target="mine", value="{runtime: codex}")
    decide(world, "approve", asked["id"])
    mine = (tmp_path / "panagents.yaml").read_text() + "# by hand\n"
    (tmp_path / "panagents.yaml").write_text(mine)
    assert world.problem("POST", "/v1/config/undo", {"by": "ana"})["code"] == "changed"
    assert (tmp_path / "panagents.yaml").read_text() == mine


def test_a_denied_change_is_gone_and_the_same_asked_twice_is_one(world: World) -> None:
    first, again = propose(world, **BUDGET), propose(world, **{**BUDGET, "why": "please"})
    assert first["id"] == again["id"] and len(items(world)) == 1
    assert decide(world, "deny", first["id"])["reason"] == "denied: nothing was changed"
    assert (items(world), ceiling(world)) == ([], "10")
    with world.context.core.ports.ledger.transaction() as tx:
        kinds = [event.kind for event in tx.find(FeedEvent) if event.kind.value.startswith("inbox")]
    assert kinds == [EventKind.INBOX_ITEM, EventKind.INBOX_ANSWERED]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"kind": "budget", "target": "day", "value": "a lot"}, "bad_value"),
        ({"kind": "budget", "target": "day", "value": "-1"}, "bad_value"),
        ({"kind": "budget", "target": "day", "value": "NaN"}, "bad_value"),
        ({"kind": "budget", "target": "moon", "value": "1"}, "bad_scope"),
        ({"kind": "preset", "target": "preset", "value": "lokal"}, "preset_not_found"),
        ({"kind": "setting", "target": "dispatch.safty", "value": "x"}, "no_setting"),
        ({"kind": "setting", "target": "limits.wall", "value": "x" * 5_000}, None),
        ({"kind": "setting", "target": "verify", "value": "[]"}, "not_yours"),
        ({"kind": "reboot", "target": "x", "value": "x"}, None),
        ({"kind": "agent", "target": "x", "value": "codex"}, "bad_value"),
        ({"kind": "agent", "target": "x", "value": "{runtme: codex}"}, None),
        ({"kind": "agent", "target": "x", "value": "{runtime: codx}"}, None),
        ({"kind": "agent", "target": "X y", "value": "{runtime: codex}"}, None),
        ({"kind": "agent", "target": "builder", "value": "{from: scout}"}, "agent_exists"),
        ({"kind": "agent", "target": "builder"}, "bad_value"),
        ({"kind": "agents file", "target": "panagents.yaml", "value": "agents: {}"}, "bad_value"),
        ({**BUDGET, "why": "yes\nbudget day: $25 -> $0"}, None),
    ],
)
def test_what_cannot_be_made_is_never_asked(world: World, body: dict[str, Any], code: str | None) -> None:
    problem = world.problem("POST", "/v1/config/propose", body)
    assert code is None or problem["code"] == code
    assert items(world) == []


def test_a_run_cannot_fill_the_inbox(world: World) -> None:
    inside(world)
    for number in range(MOST_OF_A_RUN):
        propose(world, **{**BUDGET, "value": str(number)})
    assert world.problem("POST", "/v1/config/propose", BUDGET)["code"] == "too_many"


def test_what_fails_when_it_is_confirmed_goes_on_waiting(world: World, tmp_path: Path) -> None:
    asked = propose(world, kind="setting", target="limits.wall", value="2h")
    (tmp_path / "settings.json").write_text("{")
    assert world.problem("POST", f"/v1/runs/{asked['id']}/approve", {})["exit_code"] == 3
    (tmp_path / "settings.json").unlink()
    assert len(items(world)) == 1
    assert decide(world, "approve", asked["id"])["change"]["new"]["value"] == "2h"
