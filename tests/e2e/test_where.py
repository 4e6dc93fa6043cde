"""A dispatch from a folder of a repository begins in that folder of the checkout, on the other machine."""

from __future__ import annotations

import shlex

import pytest

from tests.e2e.owner import Owner

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


def test_a_folder_that_does_not_travel_is_refused_before_anything_runs(fleet: Owner) -> None:
    top = fleet.repository("nowhere")
    (top / "empty").mkdir()
    for more in ((), ("--dry-run",)):
        said = fleet.run("dispatch", "--runtime", "shell", *more, "touch ran", cwd=top / "empty")
        assert said.code == 7 and "a run cannot begin in empty" in said.err and str(top) in said.err


@pytest.mark.parametrize("node", ["node1", "node2"])
def test_a_program_that_is_not_there_is_the_tasks_failure_and_is_not_tried_again(
    fleet: Owner, node: str
) -> None:
    words = ("dispatch", "--runtime", "shell", "--workspace", "none", "--node", node, "--json")
    said = fleet.run(*words, "--", "NOSUCH", "-x")
    run = said.json()
    assert (said.code, run["outcome"], run["exit_code"], run["attempt"]) == (10, "error", 127, 1)
    assert f"'NOSUCH' on {node}: no such program (PATH there: /" in run["reason"]
    shown = fleet.ask("runs", "show", run["run"])
    assert [one["failure"] for one in shown["attempts"]] == ["cannot_start"]
