"""A dispatch from a folder of a repository begins in that folder of the checkout, on the other node."""

from __future__ import annotations

import json
import shlex

import pytest

from tests.e2e.owner import Owner, until

pytestmark = pytest.mark.slow

ODD = """-a b/it's "odd"\n$(id) …"""


@pytest.mark.parametrize(("node", "folder"), [("node1", "web/app"), ("node2", ODD)])
def test_it_begins_where_its_owner_stands(fleet: Owner, node: str, folder: str) -> None:
    top = fleet.repository(f"where-{node}")
    here = top / folder
    here.mkdir(parents=True)
    (here / "untracked.txt").write_text("here\n")
    shell = ("dispatch", "--runtime", "shell", "--node", node)
    gate = f"test -f {shlex.quote(f'{folder}/made.txt')}"
    run = fleet.ask(*shell, "--verify", gate, "cat untracked.txt > made.txt", cwd=here)
    assert (run["outcome"], run["node"], run["files_changed"]) == ("done", node, [f"{folder}/made.txt"])
    assert fleet.ask("runs", "show", run["run"])["folder"] == folder
    fleet.run("runs", "land", run["run"], cwd=here).ok()
    assert (here / "made.txt").read_text() == "here\n"
    listed = fleet.run(*shell, "--json", "--", "ls", cwd=here).ok().json()
    assert sorted(listed["answer"].split()) == ["made.txt", "untracked.txt"]
    again = fleet.run("runs", "retry", listed["run"], "--json", cwd=top).ok().json()
    assert fleet.ask("runs", "show", again["run"])["folder"] == folder


def test_a_project_takes_its_issue_to_its_repository_and_its_machine(fleet: Owner) -> None:
    """node3 alone has the label; the clone has the remote of the project, and lies elsewhere."""
    top, clone = fleet.repository("project-of"), fleet.repository("project-clone")
    for one in (top, clone):
        fleet.git(one, "remote", "add", "origin", "https://git.example.org/me/shop.git")
    fleet.run("project", "add", str(top), "--name", "shop", "--prefix", "MIN", "--require", "rack=b").ok()
    shell = ("dispatch", "--runtime", "shell", "--json")
    run = fleet.run(*shell, "--project", "MIN-123", "echo made > made.txt", cwd=fleet.home).ok().json()
    shown = fleet.ask("runs", "show", run["run"])
    assert (run["node"], run["files_changed"], shown["project"]) == ("node3", ["made.txt"], str(top))
    assert "project shop sets dispatch.require {rack: b}" in fleet.run("why", run["run"]).ok().out
    assert fleet.run(*shell, "true", cwd=clone).ok().json()["node"] == "node3"
    assert fleet.run(*shell, "--node", "node1", "true", cwd=clone).ok().json()["node"] == "node1"
    fleet.run("project", "rm", "shop").ok()


def test_a_workspace_keeps_its_files_when_its_machine_is_replaced(fleet: Owner) -> None:
    top = fleet.repository("workspace")
    fleet.run("workspace", "create", "login", "--node", "node1", cwd=top).ok()
    words = ("dispatch", "--runtime", "shell", "--workspace", "login", "--json")
    first = fleet.run(*words, "echo one > one.txt", cwd=top).ok().json()
    fleet.run("workspace", "repair", "login", "--node", "node2").ok()
    second = fleet.run(*words, "cat one.txt; echo two > two.txt", cwd=fleet.home).ok().json()
    assert (first["node"], second["node"], second["answer"].strip()) == ("node1", "node2", "one")
    steps = [{"name": "three", "task": "cat two.txt > three.txt"}, {"name": "four", "task": "cat three.txt"}]
    chain = {"defaults": {"runtime": "shell", "workspace": "login"}, "steps": steps}
    (top / "chain.yaml").write_text(json.dumps(chain))
    fleet.run("chain", "chain.yaml", cwd=top, timeout_s=120).ok()
    row = fleet.ask("workspace", "show", "login")
    last = fleet.ask("runs", "show", row["last"])
    assert (row["count"], row["dirty"], last["answer"].strip()) == (4, 3, "two"), row
    fires = ("--at", "2099-01-01 08:00", "--runtime", "shell", "--workspace", "login", "cat three.txt")
    fleet.run("schedule", "add", "later", *fires, cwd=top).ok()
    fleet.run("schedule", "run", "later").ok()
    until(lambda: fleet.ask("workspace", "show", "login")["count"] == 5, "the schedule begins there", 60)
    row = fleet.ask("workspace", "show", "login")
    until(lambda: fleet.show(row["last"])["outcome"], "its run ends", 60)
    assert fleet.show(row["last"])["answer"].strip() == "two"
    fleet.run("schedule", "rm", "later").ok()
    refused = fleet.run("workspace", "rm", "login")
    assert refused.code == 5 and "one.txt, three.txt, two.txt" in refused.err
    fleet.run("land", row["last"], "--branch", "feature/login", cwd=top).ok()
    assert fleet.git(top, "show", "feature/login:one.txt") == "one\n"
    assert fleet.git(top, "show", "feature/login:three.txt") == "two\n"
    fleet.run("workspace", "rm", "login").ok()


def test_a_folder_that_does_not_travel_is_refused_before_anything_runs(fleet: Owner) -> None:
    top = fleet.repository("nowhere")
    (top / "empty").mkdir()
    for more in ((), ("--dry-run",)):
        said = fleet.run("dispatch", "--runtime", "shell", *more, "touch ran", cwd=top / "empty")
        assert said.code == 7 and "in empty" in said.err and str(top) in said.err


@pytest.mark.parametrize("node", ["node1", "node2"])
def test_a_program_that_is_not_there_is_the_tasks_failure_and_is_not_tried_again(
    fleet: Owner, node: str
) -> None:
    words = ("dispatch", "--runtime", "shell", "--workspace", "none", "--node", node, "--json")
    said = fleet.run(*words, "--", "NOSUCH", "-x")
    run = said.json()
    assert (said.code, run["outcome"], run["exit_code"], run["attempt"]) == (10, "error", 127, 1)
    assert f"'NOSUCH' on {node}: program not found (PATH there: /" in run["reason"]
    shown = fleet.ask("runs", "show", run["run"])
    assert [one["failure"] for one in shown["attempts"]] == ["cannot_start"]
