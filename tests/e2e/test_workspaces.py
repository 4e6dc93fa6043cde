"""A workspace is opened by a user on another host: in tmux there, over SSH, one writer at a time."""

from __future__ import annotations

import shlex

import pytest

from tests.e2e.owner import Owner, until
from tests.e2e.programs import on_host
from tests.lab import Lab
from tests.terminal import Terminal

pytestmark = pytest.mark.slow


def test_a_workspace_is_entered_left_and_gone_on_with(fleet: Owner, lab: Lab) -> None:
    top = fleet.repository("opened")
    fleet.ask("workspace", "create", "form", "--node", "node2", cwd=top)
    shell = ("dispatch", "--workspace", "form", "--runtime", "shell", "--json")
    fleet.run(*shell, "echo one > a.txt", cwd=top).ok()
    person = Terminal(fleet.argv("workspace", "open", "form"), fleet.env, top, (30, 100))
    try:
        until(lambda: fleet.ask("workspace", "show", "form")["opened"], "it is opened")
        stay = fleet.ask("workspace", "show", "form")["opened"]["run"]
        until(
            lambda: on_host(lab, 2, f"tmux has-session -t pancode-{stay} && echo there || :"), "tmux is there"
        )
        refused = fleet.run(*shell, "echo no", cwd=top)
        assert refused.code == 5 and "has it open" in refused.err
        person.shows("[pancode")  # the line of tmux: from now on keys are its
        person.types("cat a.txt; echo two > b.txt; tmux detach\n")
        person.shows("stays open")
        assert person.process.wait(30) == 0
    finally:
        person.close()
    place = fleet.ask("workspace", "open", "form")
    assert (place["run"], place["node"]) == (stay, "node2") and place["folder"].endswith("/tree")
    assert on_host(lab, 2, f"cat {shlex.quote(place['folder'])}/b.txt") == "two\n"
    assert place["code"] == f"code --remote ssh-remote+node2 {place['folder']}" and place["leave"]
    again = Terminal(fleet.argv("workspace", "open", "form"), fleet.env, top, (30, 100))
    try:
        again.shows("[pancode")
        again.types("exit\n")
        again.shows("to land")
        assert again.process.wait(60) == 0
    finally:
        again.close()
    assert fleet.show(stay)["files_changed"] == ["b.txt"]
    after = fleet.run(*shell, "cat a.txt b.txt > both.txt", cwd=top).ok().json()
    assert after["files_changed"] == ["both.txt"] and after["outcome"] == "done"
    for run in (stay, after["run"]):
        assert fleet.ask("receipt", "verify", run)["verdict"] == "PASS"


def test_what_is_changed_there_outlives_a_stop(fleet: Owner, lab: Lab) -> None:
    top = fleet.repository("kept-open")
    fleet.ask("workspace", "create", "page", "--node", "node1", cwd=top)
    place = fleet.ask("workspace", "open", "page", cwd=top)
    assert on_host(lab, 1, f"ls -a {shlex.quote(place['folder'])}").split() == [
        ".",
        "..",
        ".git",
        "README.md",
        "app.py",
    ]
    on_host(lab, 1, f"echo mine > {shlex.quote(place['folder'])}/page.txt")
    fleet.run("runs", "stop", place["run"]).ok()
    assert fleet.ended(place["run"])["outcome"] == "interrupted"
    shell = ("dispatch", "--workspace", "page", "--runtime", "shell", "--json", "cat page.txt > copy.txt")
    assert fleet.run(*shell, cwd=top).ok().json()["files_changed"] == ["copy.txt"], "the next begins with it"
    again = fleet.ask("workspace", "open", "page", cwd=top)
    assert again["leave"] == "pancode workspace open --leave page"
    on_host(lab, 1, f"echo more > {shlex.quote(again['folder'])}/more.txt")
    fleet.run("workspace", "open", "--leave", "page").ok()
    ended = fleet.show(again["run"])
    assert (ended["outcome"], ended["files_changed"]) == ("done", ["more.txt"]), "as an editor's user leaves"
