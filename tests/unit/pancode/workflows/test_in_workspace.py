"""Steps of a chain in a workspace: they begin at its files, one at a time, and leave it theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pancode.kernel.records import Run, StoredMessage
from pancode.kernel.route import path_in
from pancode.kernel.values import replace
from pancode.runs.whole_changes import change_begins
from pancode.workspaces.answers import WORKSPACE
from tests.unit.pancode.workflows.trees import Trees, changed, git
from tests.unit.pancode.workflows.world import ERROR, Flows, step


def there(name: str, *needs: str, **more: Any) -> dict[str, Any]:
    return step(name, *needs, workspace="login", **more)


@pytest.fixture
def shop(flows: Flows, trees: Trees, tmp_path: Path) -> str:
    """A repository with a workspace, in which one run has left files."""
    shop = str(tmp_path / "shop")
    made = flows.world.http.post("/v1/workspaces", {"name": "login", "by": "ana", "cwd": shop})
    assert made.status_code == 201
    flows.world.dispatch(workspace="login")
    (run,) = flows.claim()
    flows.end(run, **changed(trees, "a"))
    return shop


def line(flows: Flows) -> list[str]:
    rows = flows.world.http.get(path_in(WORKSPACE.at("login"))).json()["runs"]
    return [row["run"] for row in rows]


def test_a_step_goes_on_from_the_workspace_and_leaves_its_files_there(
    flows: Flows, trees: Trees, shop: str
) -> None:
    (first,) = line(flows)
    flows.begin(git("plan"), there("build", "plan"), there("test", "build"), kind="chain", cwd=shop)
    assert flows.claim() == ["plan"]
    flows.end("plan", **changed(trees, "b"), answer="Use the port.")
    assert flows.claim() == ["build"]
    build = flows.runs()["build"]
    assert (build.terms["continues"], build.terms["begins"]) == (first, first)
    assert build.workspace["snapshot"] == "a" * 40, "what the plan has changed is not merged into it"
    assert trees.composed == [], "and nothing is laid there that would stay, and land with the rest"
    flows.end("build", **changed(trees, "c"))
    assert flows.claim() == ["test"]
    test = flows.runs()["test"]
    assert (test.terms["continues"], test.terms["begins"]) == (build.id, build.id)
    assert line(flows) == [first, build.id, test.id]
    assert change_begins(flows.coordinator.core, test) == change_begins(
        flows.coordinator.core, flows.coordinator.row(type(test), first)
    ), "a landing has the change of the whole line"
    flows.end("test")
    assert flows.show()["state"] == "done"
    flows.world.dispatch(workspace="login")
    assert len(line(flows)) == 4


def test_two_steps_that_could_begin_at_once_take_turns(flows: Flows, trees: Trees, shop: str) -> None:
    flows.begin(there("one"), there("two"), kind="graph", cwd=shop)
    assert flows.claim() == ["one"] and flows.states() == {"one": "running", "two": "waiting"}
    assert "workspace login is in use" in flows.show()["steps"][1]["reason"]
    flows.wait(60_000)
    assert flows.claim() == [], "the first one still works there"
    flows.end("one", **changed(trees, "b"))
    flows.wait(60_000)
    assert flows.claim() == ["two"]
    runs = flows.runs()
    assert runs["two"].terms["continues"] == runs["one"].id


def test_a_chain_that_would_begin_where_somebody_works_is_refused_as_a_dispatch_is(
    flows: Flows, trees: Trees, shop: str
) -> None:
    flows.world.dispatch(workspace="login")
    asked = {"kind": "chain", "steps": [there("one")], "cwd": shop}
    for dry in (False, True):
        told = flows.world.problem("POST", "/v1/workflows", {**asked, "dry_run": dry})
        assert told["code"] == "workspace_taken"
    later = {"kind": "chain", "steps": [git("plan"), there("two", "plan")], "cwd": shop}
    told = flows.world.http.post("/v1/workflows", {**later, "dry_run": True}).json()
    assert told["admitted"], "it may be free until the plan is done"
    (run,) = flows.claim()
    flows.end(run, **ERROR)
    assert flows.runs() == {}


def test_a_file_reaches_no_workspace_of_another_repository(
    flows: Flows, trees: Trees, shop: str, tmp_path: Path
) -> None:
    (tmp_path / "other" / ".git").mkdir(parents=True)
    asked = {"kind": "chain", "steps": [there("one")], "cwd": str(tmp_path / "other")}
    told = flows.world.problem("POST", "/v1/workflows", asked)
    assert told["code"] == "other_repository" and shop in told["why"] and len(line(flows)) == 1
    unknown = {"kind": "chain", "steps": [step("one", workspace="elsewhere")], "cwd": shop}
    assert flows.world.problem("POST", "/v1/workflows", unknown)["code"] == "workspace_not_found"


def test_the_tasks_of_a_batch_do_not_share_a_workspace(flows: Flows, trees: Trees, shop: str) -> None:
    asked = {"kind": "batch", "steps": [there("one")], "cwd": shop}
    told = flows.world.problem("POST", "/v1/workflows", asked)
    assert told["code"] == "bad_workflow" and "only one can work in a workspace" in told["message"]


def test_words_that_no_agent_got_reach_the_step_as_they_are(flows: Flows, trees: Trees, shop: str) -> None:
    (first,) = line(flows)
    with flows.coordinator.ledger.transaction() as tx:
        row = tx.get(Run, first)
        assert row is not None
        tx.put(replace(row, terms={**row.terms, "told": 1}))
        tx.put(StoredMessage(first, 1, 1, "bob", "in $INPUT blue"))
    flows.knows("claude")
    paint = there("one", task="paint $INPUT", runtime="claude")
    flows.begin(paint, kind="chain", cwd=shop, input="the listener")
    assert flows.runs()["one"].task == "paint the listener\n\nA user adds: in $INPUT blue"
