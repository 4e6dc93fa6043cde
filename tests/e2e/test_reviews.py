"""A change is reviewed over three rounds, with a real worker that answers each remark by its number."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clis.hands import HANDS
from tests.e2e.owner import Owner
from tests.e2e.programs import PORT, await_state, give_secrets, installed, model_on, project
from tests.e2e.test_chat_screen import CLI, says
from tests.e2e.test_programs import K
from tests.lab import Lab

pytestmark = pytest.mark.slow


def test_a_change_is_reviewed_over_three_rounds(fleet: Owner, lab: Lab) -> None:
    top, write = project(fleet, "reviewed-in-rounds"), HANDS["native"].write
    given = CLI.env(f"http://127.0.0.1:{PORT}")
    turns: list[dict[str, Any]] = [
        *(write("made.txt", "one\ntwo\n"), says("Made it.")),
        *(write("made.txt", "one\n2\n"), says("1: done in made.txt\n2: not done: there is nothing to test")),
        *(write("made.txt", "one\n2\nthree\n"), says("1: done in made.txt")),
    ]
    words = ("--agent", "builder", "--runtime", "native", "--model", CLI.model, "--node", f"node{K}")
    with installed(lab, "native", [K]), model_on(lab, K, {"count": "assistant", "turns": turns}) as log:
        give_secrets(lab, K, {name: value for name, value in given.items() if "RETRIES" not in name})
        await_state(fleet, K, "native", "ok")
        first = fleet.ask("dispatch", *words, "make the file", cwd=top)["run"]
        refused = fleet.run("runs", "comment", first, "made.txt:9", "what is this?", cwd=top)
        assert refused.code == 2 and "1-2" in refused.err, refused
        fleet.run("runs", "comment", first, "made.txt:2", "write it as a number", cwd=top).ok()
        fleet.run("runs", "comment", first, "made.txt", "add a test", cwd=top).ok()
        second = fleet.ask("runs", "send-back", first, cwd=top)["run"]
        told = fleet.ask("runs", "comments", second)
        assert (told["round"], told["before"]) == (2, first)
        answers = {one["place"]: one["answer"] for one in told["comments"]}
        assert answers == {
            "made.txt": "done in made.txt", "made.txt:2": "not done: there is nothing to test"
        }  # fmt: skip
        since = fleet.run("diff", second, "--since", first, cwd=top).ok().out
        assert "-two\n+2\n" in since and "+one" not in since
        fleet.run("runs", "comments", second, "--close", "1").ok()
        fleet.run("runs", "comment", second, "made.txt:2", "add a third line", cwd=top).ok()
        third = fleet.ask("runs", "send-back", second, cwd=top)["run"]
        bodies = [json.loads(path.read_text()) for path in sorted((log.parent / "bodies").glob("*.json"))]
    told = fleet.ask("runs", "comments", third)
    assert (told["round"], [one["answer"] for one in told["comments"]]) == (3, ["done in made.txt"])
    assert "1. made.txt:2\\n> 2\\nadd a third line" in json.dumps(bodies[-1])
    assert fleet.run("diff", third, cwd=top).ok().out.count("\n+") == 4, "the whole change of all rounds"
    assert [one["closed"] for one in fleet.ask("runs", "comments", second)["comments"]][:2] == [True, False]
