"""The real Claude Code on real hosts, from the command line; its model is scripted, on their own loopback.

What all programs do alike is in test_programs.py. Each test starts the real program once or twice, which
takes it some seconds on a busy node.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from pancode.interfaces.client.client import Client, path_of
from tests.e2e.ground import money
from tests.e2e.owner import Owner, until
from tests.e2e.programs import (
    PORT,
    await_state,
    give_secrets,
    installed,
    model_on,
    on_host,
    project,
    requests_in,
    settled,
)
from tests.fakemodel import preset
from tests.lab import Lab

pytestmark = pytest.mark.slow

NODES = (1, 2)
KEY = "sk-of-the-owner"
MODEL = "claude-sonnet-4-5"
COST = Decimal("0.01278")
"""What three answers of the script `edit` cost at the list price of MODEL, as the program itself reckons."""


@pytest.fixture(scope="module")
def claude(fleet: Owner, lab: Lab) -> Iterator[Owner]:
    """The fleet, with the program on the PATH of two hosts and the owner's key in a file on each."""
    with installed(lab, "claude", NODES):
        for k in NODES:
            await_state(fleet, k, "claude", "not_logged_in")
        yield fleet


@pytest.fixture
def logged_in(claude: Owner, lab: Lab) -> Owner:
    for k in NODES:
        give_secrets(lab, k, {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{PORT}"})
    for k in NODES:
        await_state(claude, k, "claude", "ok")
    return claude


def test_a_program_that_is_not_logged_in_is_named_with_its_fix(claude: Owner, lab: Lab) -> None:
    node = claude.nodes()["node1"]
    assert any("secrets.json" in problem.get("says", "") for problem in node["problems"]), node["problems"]
    shown = claude.run("fleet", "status").ok().out
    assert "claude 2.1.328 NOT LOGGED IN" in shown and "secrets.json" in shown
    said = claude.run("dispatch", "--node", "node1", "--workspace", "none", "--json", "say hello")
    error = json.loads(said.err)["error"]
    assert said.code == 5
    assert "claude is not logged in" in error["why"], error
    assert error["fix"] == "pancode node login node1 claude"


@pytest.mark.parametrize("k", NODES)
def test_an_edit_is_made_verified_signed_paid_and_landed(logged_in: Owner, lab: Lab, k: int) -> None:
    fleet, top = logged_in, project(logged_in, f"edited{k}")
    spent, held = money(fleet)
    unseen = "sh -c 'test -z \"$ANTHROPIC_API_KEY\"'"
    words = (
        "--node",
        f"node{k}",
        "--model",
        MODEL,
        "--budget",
        "0.50",
        "--verify",
        "grep -qx BETA notes.txt",
    )
    with model_on(lab, k, preset("edit")) as log:
        task = 'change beta in notes.txt; it\'s "quoted" $(id) 😀'
        said = fleet.run("dispatch", *words, "--verify", unseen, "--json", task, cwd=top, timeout_s=180)
        asked = requests_in(log)
    run = said.ok().json()
    assert (run["outcome"], run["node"], run["runtime"]) == ("done", f"node{k}", "claude")
    assert run["files_changed"] == ["notes.txt"]
    assert [gate["passed"] for gate in run["gates"]] == [True, True], "gates pass, and do not see the key"
    assert {told["auth"] for told in asked} == {"x-api-key"} and task in asked[0]["prompt_tail"]
    assert (run["usage"]["cost_usd"], run["usage"]["cost_source"]) == (str(COST), "reported")
    assert money(fleet) == (spent + COST, held), "the budget moved by exactly its cost"
    verdict = fleet.ask("receipt", "verify", run["run"])
    assert verdict["verdict"] == "PASS", verdict
    fleet.run("runs", "land", run["run"], cwd=top).ok()
    assert (top / "notes.txt").read_text() == "alpha\nBETA\ngamma\n"
    secret = on_host(lab, k, f"grep -rlF {KEY} ~/.pancode-node/f-*/journal ~/.pancode-node/f-*/log || :")
    assert secret == "", "the owner's key stays in the owner's file"


def test_a_retry_goes_on_with_the_conversation(logged_in: Owner, lab: Lab) -> None:
    """At the place of the first run, so that the program finds it, with its turns before the new one."""
    fleet, top = logged_in, project(logged_in, "resumed-session")
    words = ("--node", "node1", "--model", MODEL, "--verify", "true", "--json")
    with model_on(lab, 1, preset("text")) as log:
        first = fleet.run("dispatch", *words, "remember the word plum", cwd=top, timeout_s=180).ok().json()
        again = fleet.run("runs", "retry", "--resume", first["run"], "--json", cwd=top, timeout_s=180).ok()
        second = again.json()
        last = max((log.parent / "bodies").iterdir()).read_text()
    assert (first["outcome"], second["outcome"], second["node"]) == ("done", "done", "node1")
    assert last.count("remember the word plum") == 2, "the first run's turns stand before the new one"
    receipts = [fleet.ask("receipt", "show", one["run"])["statement"]["predicate"] for one in (first, second)]
    assert receipts[0]["session"] and receipts[0]["session"] == receipts[1]["session"]
    on_host(lab, 1, "rm -r ~/.pancode-node/f-*/sessions")
    gone = fleet.run("runs", "retry", "--resume", second["run"], "--json", cwd=top, timeout_s=180).json()
    assert gone["outcome"] == "error" and f"pancode runs retry {second['run']}" in gone["reason"], gone
    assert gone["usage"]["cost_usd"] in ("0", 0), "nobody was paid"
    plain = ("--runtime", "shell", "--node", "node1", "--workspace", "none")
    shell = fleet.ask("dispatch", *plain, "true")
    none = fleet.run("runs", "retry", "--resume", shell["run"])
    assert none.code == 2 and "no session to continue" in none.err


def test_comments_on_a_change_become_the_next_attempt_in_its_conversation(logged_in: Owner, lab: Lab) -> None:
    """As the web console sends them: on its machine, with its files, behind its own turns."""
    fleet, top = logged_in, project(logged_in, "continued")
    words = ("--node", "node1", "--model", MODEL, "--json")
    made = preset("edit")
    with model_on(lab, 1, made):
        first = fleet.run("dispatch", *words, "remember the word plum", cwd=top, timeout_s=180).ok().json()
    read, edit, done = made["turns"]
    asked = {**edit, "args": {**edit["args"], "old": "gamma", "new": "GAMMA"}}
    with model_on(lab, 1, {"turns": [read, edit, read, asked, done]}) as log:  # a new one would begin anew
        comments = "A user has read your change and asks for this:\n\nnotes.txt:2\n> BETA\nand gamma, please"
        sent = Client(fleet.fleet_home).post(path_of("runs", first["run"], "continue"), {"text": comments})
        second = fleet.ended(sent["run"], 180)
        last = max((one.read_text() for one in (log.parent / "bodies").iterdir()), key=len)
    assert (second["outcome"], second["node"], second["files_changed"]) == ("done", "node1", ["notes.txt"])
    assert last.count("remember the word plum") == 1 and "> BETA" in last and "and gamma, please" in last
    assert (second["session"], second["chain"]) == ("same", [first["run"]])
    receipts = [fleet.ask("receipt", "show", one["run"])["statement"]["predicate"] for one in (first, second)]
    assert receipts[0]["session"] and receipts[0]["session"] == receipts[1]["session"]
    diff = fleet.run("runs", "diff", second["run"]).ok().out
    assert "+BETA" in diff and "+GAMMA" in diff, "the change of the chain"


def _turns(*acts: dict[str, Any], says: str) -> list[dict[str, Any]]:
    usage = {"usage": {"input": 1200, "output": 34}}
    return [*({**usage, **act} for act in acts), {"text": says, **usage}]


def _writes(path: str, content: str) -> dict[str, Any]:
    return {"tool": "write", "args": {"path": "${cwd}/" + path, "content": content}}


def test_a_review_loop_of_two_rounds(logged_in: Owner, lab: Lab) -> None:
    """The shipped workflow: the review's words reach the second round, and its verdict file ends the loop."""
    fleet, top = logged_in, project(logged_in, "reviewed")
    changes = _writes("verdict.json", '{"verdict": "changes", "remarks": ["PLUM is missing"]}')
    approved = _writes("verdict.json", '{"verdict": "approved"}')
    rules = [
        ("FIRST-DRAFT", _turns(changes, says="one remark")),
        ("SECOND-DRAFT", _turns(approved, says="no remark")),
        ("PLUM is missing", _turns(_writes("plum.txt", "plum\n"), says="SECOND-DRAFT is there")),
        ("", _turns(_writes("made.txt", "draft\n"), says="FIRST-DRAFT is there")),
    ]
    told = {"rules": [{"if": {"prompt": word}, "turns": turns} for word, turns in rules if word]}
    with model_on(lab, 1, {**told, "turns": rules[-1][1]}):
        words = ("chain", "review-loop", "make a fruit list", "--node", "node1", "--model", MODEL)
        said = fleet.run(*words, "--runtime", "claude", "--total-budget", "2", cwd=top, timeout_s=400)
    shown = fleet.ask("workflow", "show", "last")
    assert said.code == 0, (said, shown)
    assert {step["name"]: (step["round"], len(step["runs"])) for step in shown["steps"]} == {
        "build": (2, 2),
        "review": (2, 2),
    }
    assert shown["steps"][1]["outputs"]["verdict"] == {"verdict": "approved"}
    land = next(line for line in said.out.splitlines() if "pancode land" in line).split()[-1]
    fleet.run("runs", "land", land, cwd=top).ok()
    assert (top / "made.txt").read_text() == "draft\n" and (top / "plum.txt").read_text() == "plum\n"
    assert Decimal(shown["cost"]["usd"]) > 0 and shown["cost"]["unknown"] == 0


def test_a_model_that_does_not_answer_is_waited_for_until_it_is_stopped(logged_in: Owner, lab: Lab) -> None:
    fleet = logged_in
    with model_on(lab, 1, preset("stall")):
        words = ("--node", "node1", "--workspace", "none", "--model", MODEL, "say hello")
        run = fleet.dispatch(*words)
        up = lambda: '"subtype":"init"' in fleet.run("runs", "logs", "--raw", run).out  # noqa: E731
        until(up, "the program is up", 60, lambda: fleet.show(run))
        fleet.run("runs", "stop", run, "--reason", "it hangs").ok()
        ended = fleet.ended(run)
    assert (ended["outcome"], "it hangs" in ended["reason"]) == ("interrupted", True), ended
    left = on_host(lab, 1, "ps -eo args | grep -c '[c]laude -p' || :").strip()
    assert left == "0"
    assert fleet.ask("receipt", "verify", run)["verdict"] == "PASS"
    settled(fleet, run)
