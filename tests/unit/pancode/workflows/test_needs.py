"""A failed workflow is one need, not one for each of its runs, until it is resumed or dismissed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.pancode.workflows.world import ERROR, Flows, step


def needs(flows: Flows) -> list[dict[str, Any]]:
    groups = {one["group"]: one["needs"] for one in flows.world.http.get("/v1/now").json()["groups"]}
    return [*groups["failed"], *groups["to_land"]]


@pytest.mark.parametrize(("kind", "state"), [("chain", "failed"), ("batch", "partial")])
def test_a_failed_workflow_needs_a_user_until_it_is_resumed_or_dismissed(
    flows: Flows, kind: str, state: str
) -> None:
    """Failed chains and batches were in no list."""
    last = ("a",) if kind == "chain" else ()
    name = flows.begin(step("a"), step("b", *last), kind=kind)["workflow"]
    flows.claim()
    flows.end("a")
    assert needs(flows) == []
    flows.claim()
    flows.end("b", **ERROR)
    assert [(one["id"], one["state"], one["run"]) for one in needs(flows)] == [(name, state, None)]
    (need,) = needs(flows)
    assert "b: error: " in need["headline"] and need["command"] == f"pancode workflow show {name}"
    for act, left in (("done", []), ("undo", [name])):
        flows.world.http.post(f"/v1/needs/{name}/{act}", {"by": "ana"})
        assert [one["id"] for one in needs(flows)] == left
    (again,) = (one for one in need["acts"] if one["key"] == "r")
    assert flows.world.http.post(again["path"], {"by": "ana", **again["body"]}).status_code == 200
    assert needs(flows) == []
