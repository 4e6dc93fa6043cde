"""Workspaces: a run begins where the one before ended, one at a time; nothing is lost by a removal."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.control import StopControl, Tombstone, TurnControl
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.identity import ATTEMPT, AttemptId, messages_in, turn_control_file
from node_agent.wire.node import NodeProblem, RoomFact
from node_agent.workspace.homes import write_file
from pancode.kernel.ports import ResultPlace
from pancode.kernel.records import Node, Run, RunState, StoredMessage
from pancode.kernel.values import replace
from pancode.runs.request import DispatchRequest
from pancode.runs.unit_of_work import unit_of_work
from pancode.workspaces import rules as dispatched
from pancode.workspaces import service as listing
from pancode.workspaces.rules import STAY_MS, STAYS
from pancode.workspaces.service import branch_for, in_workspace
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.runs.world import failed

COMMITS = tuple(letter * 40 for letter in "abc")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "home")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(tmp_path / "shop")], check=True)
    return tmp_path / "shop"


def create(world: World, shop: Path, name: str = "login", **more: Any) -> dict[str, Any]:
    answer = world.http.post("/v1/workspaces", {"by": "ana", "name": name, "cwd": str(shop), **more})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def begun(world: World, **more: Any) -> Run:
    run: Run = world.context.row(Run, str(world.dispatch(workspace="login", **more)["run"]))
    return run


def ended(world: World, commit: str | None, **more: Any) -> None:
    """The run at work ends, with that result."""
    job = world.claim()
    world.context.depot.commits.update(COMMITS)
    world.node.start(job)
    change: dict[str, Any] = {"commit": commit, "change": "change"}
    change |= {"files_changed": (f"{commit[0]}.txt",)} if commit is not None else {}
    world.node.deliver(job, **(more if commit is None else change))
    world.context.turn()


def shown(world: World) -> dict[str, Any]:
    return dict(world.http.get("/v1/workspaces/login").json())


def listed(world: World, query: str = "") -> dict[str, Any]:
    return dict(world.http.get(f"/v1/workspaces{query}").json()["workspaces"][0])


def test_each_run_begins_with_the_files_of_the_one_before(world: World, shop: Path) -> None:
    made = create(world, shop, node="n1", title="Add login!")
    assert (made["branch"], made["node"], made["count"]) == ("feature/login-add-login", "n1", 0)
    first = begun(world)
    assert (first.project, first.node, "continues" in first.terms) == (str(shop), "n1", False)
    ended(world, COMMITS[0])
    second = begun(world, task="echo more")
    assert (second.workspace["snapshot"], second.terms["continues"]) == (COMMITS[0], first.id)
    ended(world, None, **failed(FailureKind.AGENT_FAILED, Outcome.ERROR))
    third = begun(world)
    assert third.workspace["snapshot"] == COMMITS[0], "what failed has left no result"
    ended(world, COMMITS[1])
    assert world.http.get(f"/v1/runs/{first.id}").json()["in_workspace"] == "login"
    one = shown(world)
    assert [row["run"] for row in one["runs"]] == [first.id, second.id, third.id]
    assert one["files"] == ["a.txt", "b.txt"] and one["commit"] == COMMITS[1]
    assert (one["agent"], one["problems"]) == (None, [])


def test_its_commits_are_counted_since_it_landed_last_and_only_when_somebody_asks(
    world: World, shop: Path
) -> None:
    asked: list[tuple[str, ResultPlace]] = []

    def counting(project: str, result: ResultPlace) -> tuple[int | None, int | None]:
        asked.append((project, result))
        return len(asked), 7

    world.context.depot.ahead_and_behind = counting  # type: ignore[method-assign]
    create(world, shop)
    assert listed(world, "?measured=1")["ahead"] is None and not asked, "no run has made a commit there"
    first = begun(world)
    ended(world, COMMITS[0])
    begun(world)
    ended(world, COMMITS[1])
    assert (listed(world)["ahead"], shown(world)["behind"], asked) == (None, None, [])
    row = listed(world, "?measured=1")
    assert (row["ahead"], row["behind"]) == (1, 7)
    assert asked == [
        (str(shop), ResultPlace("demo-1234", COMMITS[1], None, str(first.workspace["snapshot"])))
    ]
    with unit_of_work(world.context.core) as work:
        landed = work.tx.get(Run, first.id)
        assert landed is not None
        work.tx.put(replace(landed, landed="feature/login"))
    assert world.http.get("/v1/workspaces/login?measured=1").json()["ahead"] == 2
    assert asked[-1][1].since == COMMITS[0]


def test_git_is_asked_for_the_newest_of_a_list_alone(
    world: World, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MEASURED", 2)
    for name in ("oldest", "middle", "newest"):
        create(world, shop, name)
        world.dispatch(workspace=name)
        ended(world, COMMITS[0])
    rows = world.http.get("/v1/workspaces?measured=1").json()["workspaces"]
    counted = [(row["workspace"], row["ahead"] is not None) for row in rows]
    assert counted == [("newest", True), ("middle", True), ("oldest", False)]


def test_one_run_works_there_at_a_time(world: World, shop: Path) -> None:
    create(world, shop)
    first = begun(world)
    told = world.problem("POST", "/v1/runs", world.shell(workspace="login"))
    assert told["code"] == "workspace_taken" and first.id in told["message"]
    assert shown(world)["agent"] == first.agent
    assert world.problem("POST", "/v1/workspaces/login/remove", {"by": "ana"})["code"] == "workspace_taken"
    ended(world, COMMITS[0])
    assert begun(world).terms["continues"] == first.id


@pytest.mark.parametrize("old", [False, True])
def test_it_goes_on_behind_the_runs_that_a_list_shows(
    world: World, shop: Path, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    """Also where an earlier coordinator has noted its first run alone."""
    monkeypatch.setattr(dispatched, "MOST", 3)
    create(world, shop)
    runs = list[Run]()
    for number in range(5):
        if number == 4:
            path, body = f"/v1/runs/{runs[-1].id}/continue", {"by": "ana", "text": ""}
            runs.append(world.context.row(Run, world.http.post(path, body).json()["run"]))
        else:
            runs.append(begun(world))
        ended(world, COMMITS[number % 3])
        if old:
            with world.context.ledger.transaction() as tx:
                tx.put(replace(dispatched.get_workspace_row(tx, "login"), last=""))
    assert [run.terms.get("continues") for run in runs[1:]] == [run.id for run in runs[:-1]]
    assert {run.terms.get("in_workspace") for run in runs} == {"login"}
    assert [row["run"] for row in shown(world)["runs"]] == [run.id for run in runs[2:]]


def test_a_run_that_a_user_continues_stays_in_its_workspace(world: World, shop: Path) -> None:
    create(world, shop)
    first = begun(world)
    ended(world, COMMITS[0])
    answer = world.http.post(f"/v1/runs/{first.id}/continue", {"by": "ana", "text": ""})
    assert answer.status_code == 201, answer.text
    ended(world, COMMITS[1])
    assert begun(world).workspace["snapshot"] == COMMITS[1]


def test_a_run_that_is_recovered_stays_in_its_workspace(world: World, shop: Path) -> None:
    create(world, shop)
    first = begun(world)
    ended(world, COMMITS[0])
    second = begun(world, node="n1")
    ended(world, None, **failed(FailureKind.SETUP_FAILED, Outcome.INFRA))
    (row,) = world.http.post("/v1/recover", {"by": "ana", "run": second.id}).json()["runs"]
    third: Run = world.context.row(Run, row["next"])
    assert (third.workspace["snapshot"], third.terms["continues"]) == (COMMITS[0], second.id)
    assert third.node is None, "the workspace has no node of its own, so another one may do it"
    assert [one["run"] for one in shown(world)["runs"]] == [first.id, second.id, third.id]


def test_an_older_run_of_a_workspace_begins_no_second_line(world: World, shop: Path) -> None:
    create(world, shop)
    first = begun(world)
    ended(world, COMMITS[0])
    made = world.http.post(f"/v1/runs/{first.id}/continue", {"by": "ana", "text": ""}).json()["run"]
    second: Run = world.context.row(Run, made)
    assert second.terms["in_workspace"] == "login"
    for _ in ("while it works", "once it has ended"):
        told = world.problem("POST", f"/v1/runs/{first.id}/continue", {"by": "ana", "text": ""})
        assert told["code"] == "already_continued" and f"pancode runs continue {made}" in told["fix"]
        if world.context.row(Run, made).outcome is None:
            ended(world, COMMITS[1])
    assert [row["run"] for row in shown(world)["runs"]] == [first.id, made]
    world.http.post("/v1/workspaces/login/remove", {"by": "ana", "force": True})
    free = world.http.post(f"/v1/runs/{first.id}/continue", {"by": "ana", "text": ""}).json()["run"]
    assert "in_workspace" not in world.context.row(Run, free).terms


def test_what_went_on_from_a_run_is_done_once_more_from_there(world: World, shop: Path) -> None:
    first = world.dispatch(workspace="git", cwd=str(shop))["run"]
    ended(world, COMMITS[0])
    second = world.http.post(f"/v1/runs/{first}/continue", {"by": "ana", "text": ""}).json()["run"]
    ended(world, None, **failed(FailureKind.SETUP_FAILED, Outcome.INFRA))
    (row,) = world.http.post("/v1/recover", {"by": "ana", "run": second}).json()["runs"]
    third: Run = world.context.row(Run, row["next"])
    assert third.workspace == world.context.row(Run, second).workspace
    assert (third.workspace["snapshot"], third.terms["begins"]) == (COMMITS[0], first)
    assert (third.terms["continues"], third.terms["carries"], third.retry_of) == (second, True, second)


def test_a_lost_run_is_given_up_for_the_next_one_there(world: World, shop: Path) -> None:
    create(world, shop)
    lost, job = begun(world), world.claim()
    world.context.depot.commits.update(COMMITS)
    world.node.start(job)
    for _ in range(100):
        world.context.turn(10_000)
    world.node.breathe()
    told = world.problem("POST", "/v1/workspaces/login/remove", {"by": "ana"})
    assert told["code"] == "unlanded" and f"pancode recover {lost.id}" in told["fix"]
    following = begun(world)
    assert following.terms["continues"] == lost.id
    assert any(isinstance(one.body, Tombstone) and one.body.run == lost.id for one in world.node.controls())
    world.node.deliver(job, commit=COMMITS[0], change="change", files_changed=("a.txt",))
    world.context.turn()
    late: Run = world.context.row(Run, lost.id)
    assert (late.outcome, late.result.get("commit")) == (Outcome.LOST, None)
    assert [one["run"] for one in shown(world)["runs"]] == [lost.id, following.id]


def test_words_that_no_agent_got_go_to_the_next_run_but_into_no_script(world: World, shop: Path) -> None:
    create(world, shop)
    first = begun(world)
    ended(world, COMMITS[0])
    with world.context.ledger.transaction() as tx:
        row = tx.get(Run, first.id)
        assert row is not None
        tx.put(replace(row, terms={**row.terms, "told": 1}))
        tx.put(StoredMessage(first.id, 1, 1, "bob", "in blue"))
    around, core = world.coordinator.around({}), world.context.core
    asked = DispatchRequest(task="paint it", created_by="ana", workspace="login", runtime="claude")
    assert in_workspace(core, around, asked).task == "paint it\n\nA user adds: in blue"
    script = replace(asked, runtime="shell", task="true")
    assert in_workspace(core, around, script).task == "true"


def test_a_removal_names_work_that_has_not_landed_and_deletes_none(world: World, shop: Path) -> None:
    create(world, shop)
    run = begun(world)
    ended(world, COMMITS[0])
    told = world.problem("POST", "/v1/workspaces/login/remove", {"by": "ana"})
    assert told["code"] == "unlanded" and "a.txt" in told["why"] and f"pancode land {run.id}" in told["fix"]
    done = world.http.post("/v1/workspaces/login/remove", {"by": "ana", "force": True}).json()
    assert done == {"removed": "login", "kept": run.id}
    assert world.http.get(f"/v1/runs/{run.id}").json()["commit"] == COMMITS[0]
    assert world.http.get("/v1/workspaces").json() == {"workspaces": []}
    unknown = world.problem("POST", "/v1/runs", world.shell(workspace="login"))
    assert unknown["code"] == "workspace_not_found"


def test_an_issue_finds_its_repository(world: World, shop: Path, tmp_path: Path) -> None:
    world.http.post("/v1/projects", {"by": "ana", "path": str(shop), "prefix": "MIN"})
    made = create(world, tmp_path, "MIN-123", title="add login")
    facts = (made["workspace"], made["branch"], made["project"])
    assert facts == ("min-123", "feature/min-123-add-login", str(shop))
    assert world.http.get("/v1/workspaces/MIN-123").json()["workspace"] == "min-123", "as it was written"
    outside = {"by": "ana", "name": "else", "cwd": str(tmp_path)}
    assert world.problem("POST", "/v1/workspaces", outside)["code"] == "no_repository"


def test_a_repository_that_moved_is_named_and_mended(world: World, shop: Path) -> None:
    create(world, shop, node="n1")
    run = begun(world)
    ended(world, COMMITS[0])
    moved = shop.rename(shop.parent / "moved")
    (problem,) = shown(world)["problems"]
    assert "is no longer at" in problem["what"] and "--repository" in problem["fix"]
    refused = world.problem("POST", "/v1/runs", world.shell(workspace="login"))
    assert refused["code"] == "project_moved"
    body = {"by": "ana", "repository": str(moved), "node": "any"}
    mended = world.http.post("/v1/workspaces/login/repair", body)
    assert (mended.json()["problems"], mended.json()["node"]) == ([], None)
    again = begun(world)
    assert (again.project, again.terms["continues"]) == (str(moved), run.id)
    bad = world.problem("POST", "/v1/workspaces/login/repair", {"by": "ana", "node": "nowhere"})
    assert bad["code"] == "node_not_found"
    idle = world.problem("POST", "/v1/workspaces/login/repair", {"by": "ana"})
    assert idle["code"] == "nothing_to_repair"


def test_a_deleted_git_folder_is_named_and_another_clone_mends_it(world: World, shop: Path) -> None:
    create(world, shop)
    begun(world)
    ended(world, COMMITS[0])
    (shop / ".git").rename(shop.parent / "saved.git")
    (problem,) = shown(world)["problems"]
    assert ".git was removed" in problem["what"] and problem["does"] == ""
    refused = world.problem("POST", "/v1/workspaces/login/repair", {"by": "ana"})
    assert refused["code"] == "nothing_to_repair" and "--repository" in refused["fix"]
    (shop.parent / "saved.git").rename(shop / ".git")
    assert shown(world)["problems"] == []


def test_a_full_disk_of_its_machine_is_named_and_a_repair_lets_another_one_work(
    world: World, shop: Path
) -> None:
    create(world, shop, node="n1")
    full = NodeProblem(what="less than 500 MB are free in /home/ana", fix="free disk space on the node")
    world.node.facts = world.node.facts.model_copy(update={"shut": full})
    world.node.breathe()
    world.context.turn()
    (problem,) = shown(world)["problems"]
    assert "n1 accepts no work: less than 500 MB are free" in problem["what"]
    assert problem["does"] == "its next run begins on any free node"
    assert shown(world)["node"] == "n1", "to look changes nothing"
    mended = world.http.post("/v1/workspaces/login/repair", {"by": "ana"}).json()
    assert (mended["problems"], mended["node"]) == ([], None)


def test_files_that_the_depot_has_lost_are_named_and_a_repair_begins_at_the_newest_that_are_there(
    world: World, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(world, shop)
    first, gone = begun(world), set[str]()
    ended(world, COMMITS[0])
    second = begun(world)
    ended(world, COMMITS[1])

    monkeypatch.setattr(world.context.depot, "has_commit", lambda _, commit: commit not in gone)
    assert shown(world)["problems"] == []
    gone.add(COMMITS[1])
    (problem,) = shown(world)["problems"]
    assert second.id in problem["what"] and first.id in problem["does"]
    mended = world.http.post("/v1/workspaces/login/repair", {"by": "ana"}).json()
    assert (mended["problems"], mended["dirty"], mended["files"]) == ([], 1, ["a.txt"])
    told = world.problem("POST", "/v1/workspaces/login/remove", {"by": "ana"})
    assert told["code"] == "unlanded" and first.id in told["fix"], "what was saved is not lost by a removal"
    third = begun(world)
    assert (third.workspace["snapshot"], third.terms["begins"]) == (COMMITS[0], first.id)
    assert third.terms["in_workspace"] == "login" and third.terms["carries"]
    ended(world, COMMITS[2])
    assert [row["run"] for row in shown(world)["runs"]] == [first.id, third.id]
    assert begun(world).terms["continues"] == third.id
    ended(world, None)
    gone.update(COMMITS)
    (problem,) = shown(world)["problems"]
    assert "files of its repository" in problem["does"]
    world.http.post("/v1/workspaces/login/repair", {"by": "ana"})
    assert "begins" not in begun(world).terms, "nothing is left to begin with"


def test_dirty_is_not_known_while_somebody_works_there_and_size_is_as_its_node_says(
    world: World, shop: Path
) -> None:
    create(world, shop)
    assert (listed(world)["dirty"], listed(world)["size"]) == (0, None)
    begun(world)
    job = world.claim()
    world.context.depot.commits.update(COMMITS)
    world.node.start(job)
    world.context.turn()
    assert (listed(world)["dirty"], listed(world)["size"]) == (None, None)
    room = (RoomFact(what="work", bytes=9 << 20), RoomFact(what=f"work/{job.identity}", bytes=5 << 20))
    world.node.facts = world.node.facts.model_copy(update={"room": room})
    world.node.breathe()
    world.context.turn()
    assert (listed(world)["dirty"], listed(world)["size"], shown(world)["size"]) == (None, 5 << 20, 5 << 20)
    (node,) = world.http.get("/v1/fleet").json()["nodes"]
    assert node["disk_free"] == 1 and node["disk_most"] == {"what": "work", "bytes": 9 << 20}
    world.node.deliver(job, commit=COMMITS[0], change="change", files_changed=("a.txt", "b.txt"))
    world.context.turn()
    assert (listed(world)["dirty"], listed(world)["size"]) == (2, None)


@pytest.mark.parametrize("name", ["git", "none", "a/b", "../x", "-a", "a..b", "a.lock", "x" * 64, "ä", " "])
def test_what_is_no_part_of_a_branch_is_no_name(world: World, shop: Path, name: str) -> None:
    answer = world.http.post("/v1/workspaces", {"by": "ana", "name": name, "cwd": str(shop)})
    assert answer.status_code in (400, 422), answer.text


def test_two_cannot_have_one_name(world: World, shop: Path) -> None:
    create(world, shop)
    again = {"by": "bob", "name": "LOGIN", "cwd": str(shop)}
    assert world.problem("POST", "/v1/workspaces", again)["code"] == "name_taken"


def test_a_branch_has_the_words_of_its_title() -> None:
    assert branch_for("min-123", "Add login") == "feature/min-123-add-login"
    assert branch_for("x", "  ... ") == "feature/x"
    assert branch_for("x", "w" * 90) == f"feature/x-{'w' * 40}"


def opened(world: World, by: str = "ana", **more: Any) -> dict[str, Any]:
    answer = world.http.post("/v1/workspaces/login/open", {"by": by, **more})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_user_has_it_open_and_nobody_else_works_there(world: World, shop: Path) -> None:
    create(world, shop)
    begun(world)
    refused = world.problem("POST", "/v1/workspaces/login/open", {"by": "ana"})
    assert refused["code"] == "workspace_taken" and "works there" in refused["why"]
    assert world.problem("POST", "/v1/workspaces/login/leave", {"by": "ana"})["code"] == "not_open"
    ended(world, COMMITS[0])
    stay = opened(world, node="n1")["opened"]
    assert (stay["by"], stay["node"], stay["folder"]) == ("ana", None, None)
    assert opened(world)["opened"]["run"] == stay["run"], "one keeps it, however often it is asked"
    assert opened(world, "ben")["opened"]["by"] == "ana"
    run: Run = world.context.row(Run, stay["run"])
    assert (run.workspace["snapshot"], run.runtime, run.limits["wall_ms"]) == (COMMITS[0], "shell", STAY_MS)
    told = world.problem("POST", "/v1/runs", world.shell(workspace="login"))
    assert told["code"] == "workspace_taken" and "ana" in told["why"]
    with unit_of_work(world.context.core) as work:
        node = work.tx.get(Node, "n1")
        assert node is not None
        work.tx.put(replace(node, target={"installed_home": "/home/ana/.pancode-node/f-1"}))
    job = world.claim()
    world.node.start(job)
    world.context.turn()
    there = shown(world)["opened"]
    folder = f"/home/ana/.pancode-node/f-1/work/{job.identity}/tree"
    assert (there["node"], there["folder"]) == ("n1", folder)
    assert world.http.post("/v1/workspaces/login/leave", {"by": "ana"}).status_code == 200
    assert [one.body for one in world.node.controls()][-1] == TurnControl(
        identity=job.identity, number=1, what="rest"
    )
    world.context.depot.commits.update(COMMITS)
    world.node.deliver(job, commit=COMMITS[1], change="change", files_changed=("b.txt",))
    world.context.turn()
    assert shown(world)["opened"] is None
    assert world.problem("POST", "/v1/workspaces/login/leave", {"by": "ana"})["code"] == "not_open"
    assert begun(world).workspace["snapshot"] == COMMITS[1], "what the user changed is where it continues"


def test_who_leaves_before_the_files_are_there_stops_the_run(world: World, shop: Path) -> None:
    create(world, shop)
    run: Run = world.context.row(Run, opened(world)["opened"]["run"])
    assert world.http.post("/v1/workspaces/login/leave", {"by": "ana"}).status_code == 200
    assert world.context.row(Run, run.id).state is RunState.INTERRUPTING
    assert isinstance(world.node.controls()[-1].body, StopControl)


def test_the_script_that_keeps_a_workspace_ends_when_its_user_has_left(tmp_path: Path) -> None:
    tree, home, who = tmp_path / "tree", tmp_path / "home", AttemptId(run="r-abcd", attempt=1, lease=1)
    tree.mkdir()
    home.mkdir()
    env = {"PATH": os.defpath, "HOME": str(home), ATTEMPT: str(who)}
    with subprocess.Popen(["sh", "-eu", "-c", STAYS], cwd=tree, env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and b"pancode workspace open --leave" in process.stdout.readline()
        write_file(home, messages_in(str(who)), turn_control_file("rest", 1), b"rest")
        assert process.wait(30) == 0
    assert list(tree.iterdir()) == [], "nothing of it is in the result"
