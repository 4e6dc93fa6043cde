"""Batches, chains and races over two real hosts, through the command line."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pancode.kernel.errors import ExitCode
from tests.e2e.ground import kill_coordinator
from tests.e2e.owner import Owner, script, until

pytestmark = pytest.mark.slow


def written(top: Path, name: str, workflow: dict[str, Any]) -> Path:
    """JSON is YAML."""
    path = top / ".pancode/workflows" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(workflow, indent=1))
    return path


def test_a_batch_of_a_file_over_two_hosts_says_which_task_failed(fleet: Owner) -> None:
    top = fleet.repository("batched")
    tasks = [
        {"task": script("write a.txt 'a\\n'", "usage 10 10 0.01"), "node": "node1"},
        {"task": script("usage 10 10 0.02", "exit 3"), "node": "node2"},
        {"task": script("write c.txt 'c\\n'", "usage 10 10 0.03"), "node": "node2"},
    ]
    path = written(top, "three", {"defaults": {"runtime": "scripted", "budget": 0.5}, "tasks": tasks})
    dry = fleet.ask("batch", str(path), "--dry-run", cwd=top)
    assert dry["admitted"] and [step["name"] for step in dry["steps"]] == ["1", "2", "3"]
    said = fleet.run("batch", str(path), cwd=top)
    assert said.code == ExitCode.PARTIAL, said
    lines = {line.split()[0]: line.split()[1:] for line in said.out.splitlines() if line[:1].isdigit()}
    assert {name: words[0] for name, words in lines.items()} == {"1": "done", "2": "error", "3": "done"}
    assert lines["3"][2] == "$0.03"
    shown = fleet.ask("workflow", "show", "last")
    assert (shown["kind"], shown["state"]) == ("batch", "partial")
    assert Decimal(shown["cost"]["usd"]) == Decimal("0.06"), "the failed one is paid, too"
    nodes = {step["name"]: fleet.show(step["run"])["node"] for step in shown["steps"]}
    assert nodes == {"1": "node1", "2": "node2", "3": "node2"}
    assert fleet.ask("batches", "1")["workflows"][0]["workflow"] == shown["workflow"]
    assert fleet.show(shown["steps"][0]["run"])["workflow"] == shown["workflow"]


def test_a_refused_task_starts_nothing(fleet: Owner) -> None:
    before = fleet.ask("runs", "1")["runs"]
    words = ("-t", "true", "-t", "true", "--agent", "nobody", "--workspace", "none")
    said = fleet.run("batch", *words, "--runtime", "shell")
    assert said.code in (ExitCode.REFUSED, ExitCode.NOT_FOUND) and "step 1" in said.err and "fix" in said.err
    assert fleet.ask("runs", "1")["runs"] == before


def test_a_chain_hands_on_commits_answers_and_files_from_host_to_host(fleet: Owner) -> None:
    top = fleet.repository("chained")
    steps = [
        {"name": "plan", "node": "node1", "files": ["plan.md"], "task": script(
            "write plan.md 'say moin\\n'", "usage 10 10 0.01", "answer 'the plan is ready'"
        )},
        {"name": "build", "node": "node2", "task": script(
            "append plan.md 'built on node2\\n'", "say '{{ steps.plan.answer }} for $ORIGINAL'",
            "answer 'built after: {{ steps.plan.answer }}'",
        )},
        {"name": "look", "node": "node1", "verify": [
            "grep -q 'built on node2' plan.md", "grep -q '^+built on node2' .pancode/inputs/build.diff",
        ], "task": script("answer 'seen: {{ steps.build.answer }}'")},
    ]  # fmt: skip
    written(top, "hand-on", {"defaults": {"runtime": "scripted"}, "steps": steps})
    said = fleet.run("chain", "hand-on", "the release", cwd=top, timeout_s=150).ok()
    assert "seen: built after: the plan is ready" in said.out
    shown = fleet.ask("workflow", "show", "last")
    assert shown["state"] == "done" and [step["state"] for step in shown["steps"]] == ["done"] * 3
    build = fleet.show(shown["steps"][1]["run"])
    assert build["node"] == "node2" and "the release" in build["task"]
    land = next(line for line in said.out.splitlines() if "pancode land" in line).split()[-1]
    fleet.run("runs", "land", land, cwd=top).ok()
    assert (top / "plan.md").read_text() == "say moin\nbuilt on node2\n"
    assert not (top / ".pancode" / "inputs").exists(), "what a step is handed is in no result"
    refused = fleet.run("receipt", "show", shown["workflow"])
    assert refused.code == 2 and f"pancode workflow show {shown['workflow']}" in refused.err


def test_a_chain_stops_at_a_failure_and_goes_on_from_there(fleet: Owner, no_sandboxes: None) -> None:
    top = fleet.repository("resumed")
    until(lambda: fleet.nodes()["node1"]["isolation"] == "none", "the node has looked", 60)
    mark = "/tmp/tried"  # a run's own files do not outlast it, and a sandbox has a /tmp of its own
    steps = [
        {"name": "first", "task": "echo one >> list.txt"},
        {
            "name": "second",
            "task": f"if test -e {mark}; then rm {mark}; echo two >> list.txt; exit; fi\n"
            f"touch {mark}; exit 3",
        },
        {"name": "third", "task": "echo three >> list.txt"},
    ]
    written(top, "stops", {"defaults": {"runtime": "shell", "node": "node1"}, "steps": steps})
    said = fleet.run("chain", "stops", "--yes", cwd=top, timeout_s=120)
    assert said.code == ExitCode.PARTIAL, said
    failed = fleet.ask("workflow", "show", "last")
    assert [step["state"] for step in failed["steps"]] == ["done", "failed", "skipped"]
    assert "third" in said.out and "skipped" in said.out
    refused = fleet.run("runs", "retry", failed["steps"][1]["run"], cwd=top)
    assert f"pancode workflow resume {failed['workflow']}" in refused.err
    shown = fleet.run("workflow", "resume", failed["workflow"], "--json", cwd=top, timeout_s=120).ok().json()
    assert [(step["state"], len(step["runs"])) for step in shown["steps"]] == [
        ("done", 1),
        ("done", 2),
        ("done", 1),
    ]
    fleet.run("runs", "land", shown["results"][-1], cwd=top).ok()
    assert (top / "list.txt").read_text() == "one\ntwo\nthree\n"


def test_a_lane_goes_through_its_items_over_two_hosts_and_a_kill_of_the_coordinator(fleet: Owner) -> None:
    top = fleet.repository("laned")
    fleet.run("lane", "create", "night", "--runtime", "shell", "--land", cwd=top).ok()
    fleet.run("lane", "create", "--pause", "night").ok()
    tasks = [
        "echo one >> list.txt",
        "grep -q one list.txt && echo two >> list.txt",
        "exit 3",
        "wc -l list.txt",
    ]
    for number, task in enumerate(tasks):
        words = ("--key", f"item-{number}", "--node", f"node{number % 2 + 1}")
        assert fleet.ask("lane", "add", "night", task, *words)["added"]
    assert not fleet.ask("lane", "add", "night", tasks[0], "--key", "item-0")["added"]
    fleet.run("lane", "create", "--resume", "night").ok()
    kill_coordinator(fleet)
    fleet.run("fleet", "up", timeout_s=150).ok()

    def state() -> str:
        return str(fleet.ask("lane", "show", "night")["state"])

    until(lambda: state() == "stopped", "it stands at the item that failed", 150)
    shown = fleet.ask("lane", "show", "night")
    assert [item["state"] for item in shown["items"]] == ["done", "done", "failed", "waiting"]
    assert [(item["node"], len(item["runs"])) for item in shown["items"][:2]] == [("node1", 1), ("node2", 1)]
    assert (top / "list.txt").read_text() == "one\ntwo\n", "each began with what the one before has landed"
    assert "pancode lane skip night" in fleet.run("lane", "show", "night").ok().out
    fleet.run("lane", "skip", "night").ok()
    until(lambda: state() == "empty", "it has continued", 90)
    last = fleet.ask("lane", "show", "night")["items"][-1]
    assert last["state"] == "done" and last["answer"].startswith("2 list.txt")
    fleet.run("lane", "rm", "night").ok()
    assert fleet.ask("lane", "ls")["lanes"] == []


def test_a_race_has_one_winner_and_stops_the_other(fleet: Owner) -> None:
    words = ("race", "--nodes", "node1,node2", "--runtime", "shell", "--workspace", "none", "--json")
    shape = fleet.run(*words, "case $(hostname) in *1) ;; *) sleep 120 ;; esac", timeout_s=120).ok().json()
    assert (shape["winner"], shape["state"]) == ("node1", "done")
    outcomes = {step["name"]: fleet.ended(step["run"])["outcome"] for step in shape["steps"]}
    assert outcomes == {"node1": "done", "node2": "interrupted"}
    until(lambda: Decimal(_cost(fleet, shape)["held_usd"]) == 0, "nothing is held for the loser")


def test_a_race_by_score_is_won_over_two_hosts_by_what_a_receipt_says(fleet: Owner) -> None:
    top = fleet.repository("scored")
    task = "od -An -N2 -tu2 /dev/urandom > size.txt"
    words = (
        "race",
        "--nodes",
        "node1,node2",
        "--runtime",
        "shell",
        "--score",
        "cat size.txt",
        "--json",
        task,
    )
    shape = fleet.run(*words, cwd=top, timeout_s=120).ok().json()
    scores = {step["name"]: int(step["outputs"]["score"]) for step in shape["steps"]}
    assert set(scores) == {"node1", "node2"}
    assert (shape["state"], shape["winner"]) == ("done", max(scores, key=lambda name: scores[name]))
    for step in shape["steps"]:
        receipt = fleet.ask("receipt", "show", step["run"])
        assert f'"score": "{scores[step["name"]]}"' in json.dumps(receipt)
    words = ("race", "--nodes", "node1,node2", "--runtime", "shell", "--score", "echo none", "--json", "true")
    said = fleet.run(*words, cwd=top, timeout_s=120)
    assert said.code == ExitCode.PARTIAL and "is not a JSON number" in said.json()["reason"]


def test_an_answer_of_5_mb_goes_through_a_chain_as_a_file(fleet: Owner) -> None:
    top = fleet.repository("long-answer")
    (top / "long.txt").write_text("0123456789" * 500_000)
    steps = [
        {"name": "plan", "runtime": "scripted", "node": "node1", "task": script("answer-file long.txt")},
        {"name": "look", "runtime": "shell", "node": "node2", "task": "wc -c < .pancode/inputs/plan.md"},
    ]
    written(top, "long", {"steps": [steps[0], {**steps[1], "needs": ["plan"]}]})
    said = fleet.run("chain", "long", cwd=top, timeout_s=150).ok()
    assert "5000000" in said.out
    assert len(fleet.show(fleet.ask("workflow", "show", "last")["steps"][0]["run"])["answer"]) == 4_000


def _cost(fleet: Owner, shape: dict[str, Any]) -> dict[str, Any]:
    cost: dict[str, Any] = fleet.ask("workflow", "show", shape["workflow"])["cost"]
    return cost


def test_everything_wrong_with_a_file_is_said_and_nothing_starts(fleet: Owner) -> None:
    top = fleet.repository("broken")
    path = written(top, "broken", {})
    path.write_text("steps:\n  a: {task: x, needs: b}\n  b: {task: y, needs: a}\n  c: {tsk: z, agnt: q}\n")
    before = fleet.ask("workflow", "ls", "1")
    said = fleet.run("config", "check", "--kind", "workflow", str(path), cwd=top)
    assert said.code == ExitCode.CONFIG and said.out.count("error: ") == 4
    assert "broken.yaml:2: steps wait for each other: a -> b -> a" in said.out
    assert "did you mean task?" in said.out and "did you mean agent?" in said.out
    begun = fleet.run("chain", "broken", cwd=top)
    assert begun.code == ExitCode.CONFIG and "3 more problems" in begun.err
    assert fleet.ask("workflow", "ls", "1") == before
    assert (
        fleet.run("config", "check", "--kind", "workflow", "review-loop", cwd=top)
        .ok()
        .out.endswith("a valid chain of 2 steps\n")
    )
