"""Panos over two real hosts: a chat on one dispatches a run on the other, reads it, and answers."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.clis.launched import NATIVE
from tests.e2e.ground import Ground, kill_coordinator
from tests.e2e.owner import Owner, until
from tests.e2e.pane import Pane
from tests.e2e.programs import (
    PORT,
    await_state,
    give_prices,
    give_secrets,
    installed,
    model_on,
    on_host,
    project,
)
from tests.lab import Lab

pytestmark = pytest.mark.slow
HERE, THERE = 2, 1
"""The hosts where Panos talks, and where its run works."""
MADE = "made by a builder"


def says(text: str) -> dict[str, Any]:
    return {"text": text, "usage": {"input": 1200, "output": 34}}


def calls(name: str, **given: object) -> dict[str, Any]:
    """A tool by its exact name, offered or not."""
    return {"call": {"name": name, "arguments": given}, "usage": {"input": 1200, "output": 34}}


def dispatches() -> dict[str, Any]:
    asked = {"task": "write made.txt", "agent": "builder", "runtime": "native", "model": NATIVE.model}
    return calls("dispatch", **asked, node=f"node{THERE}")


BUILDS = [{"tool": "write", "args": {"path": "${cwd}/made.txt", "content": MADE}}, says("I wrote it.")]
WHERE = ("--agent", "panos", "--runtime", "native", "--model", NATIVE.model, "--node", f"node{HERE}")


@contextmanager
def two_hosts(
    fleet: Owner, lab: Lab, builds: list[dict[str, Any]], rules: Sequence[dict[str, Any]] = ()
) -> Iterator[None]:
    with installed(lab, "native", [HERE, THERE]):
        for k in (HERE, THERE):
            give_secrets(lab, k, dict(NATIVE.env(f"http://127.0.0.1:{PORT}")))
            give_prices(lab, k, {NATIVE.model: "1 1 1 1"})
            await_state(fleet, k, "native", "ok")
        with model_on(lab, THERE, {"count": "assistant", "turns": builds, "rules": list(rules)}):
            yield


def asking_on(lab: Lab, k: int) -> Callable[[int], bool]:
    """Whether a worker that begins from now on waits on that host for the answer to its call of a number."""

    def streams(number: int | str) -> set[str]:
        look = f"""grep -rlsaF '"type": "asks_fleet", "number": {number}' ~/.pancode-node/f-* || true"""
        return set(on_host(lab, k, look).split())

    before = streams("")
    return lambda number: bool(streams(f"{number},") - before)


def log_of(fleet: Owner, session: str) -> str:
    return fleet.run("runs", "logs", session).ok().out


def results_in(bodies: Path) -> str:
    """All that its model was told by tools, as it was asked the last time."""
    asked = json.loads(max(bodies.iterdir()).read_text())["messages"]
    return json.dumps([one["content"] for one in asked if one["role"] == "tool"])


def children(fleet: Owner, session: str) -> list[dict[str, Any]]:
    found = [fleet.show(one["run"]) for one in fleet.ask("runs")["runs"] if one["run"] != session]
    return [one for one in found if one["parent"] == session]


def test_it_dispatches_waits_reads_and_answers(fleet: Owner, healed: Lab) -> None:
    """It takes more than 30 s: an interactive run and a run on two hosts, the one inside of the other."""
    top = project(fleet, "panos")
    waits = [calls("wait", run="last", seconds=50) for _ in range(4)]
    hostile = [calls("approve", run="last"), calls("dispatch", task="x", safety="full-auto")]
    turns = [
        dispatches(),
        *waits,
        calls("diff", run="last"),
        *hostile,
        calls("land", run="last"),
        says("Done."),
    ]
    with (
        two_hosts(fleet, healed, BUILDS),
        model_on(healed, HERE, {"count": "assistant", "turns": turns}) as log,
    ):
        said = fleet.run("chat", *WHERE, "--once", "have made.txt written", cwd=top, timeout_s=240).ok()
        told = results_in(log.parent / "bodies")
    assert "Done." in said.out
    session = str(fleet.ask("sessions", "show", "last")["session"])
    (child,) = children(fleet, session)
    assert (child["agent"], child["node"], child["outcome"]) == ("builder", f"node{THERE}", "done"), child
    assert MADE in told, "it has read the change"
    assert (
        "approve is not a tool of this interactive run" in told and "dispatch has no argument safety" in told
    )
    (item,) = [one for one in fleet.items() if one["run"] == child["run"]]
    assert item["kind"] == "landing" and "panos requests to land" in item["words"]
    assert not (top / "made.txt").exists(), "it lands nothing by itself"
    fleet.run("approve", child["run"], cwd=top).ok()
    assert (top / "made.txt").read_text() == MADE
    asked = [one for one in fleet.ask("audit", f"run:{session}")["audit"] if one["domain"] == "fleet"]
    assert {(one["detail"]["by"], one["detail"]["tool"]) for one in asked} >= {
        ("panos", "dispatch"),
        ("panos", "diff"),
    }
    refused = [one for one in fleet.ask("audit", f"run:{session}")["audit"] if one["domain"] == "trust"]
    assert "approve" in {one["detail"].get("tool") for one in refused}, "it was never offered"
    assert fleet.ask("receipt", "verify", session)["verdict"] == "PASS"


QUESTION = "Which file was there first?"
LOOKS = [
    calls("ls", path="."),
    says("REPORT: notes.txt\nFOUND: notes.txt:1 it is all there is\nNOT FOUND: nothing"),
]


def test_a_scout_answers_from_another_host_and_is_asked_again_for_other_files(
    fleet: Owner, healed: Lab
) -> None:
    """Its calls come to a model on its own host; the second question of the same tree makes none."""
    top = project(fleet, "scouts")
    where = ("--runtime", "native", "--model", NATIVE.model)
    asked = ("explore", QUESTION, "--depth", "shallow", *where, "--json")
    with (
        installed(healed, "native", [THERE]),
        model_on(healed, THERE, {"count": "assistant", "turns": LOOKS}) as log,
    ):
        give_secrets(healed, THERE, dict(NATIVE.env(f"http://127.0.0.1:{PORT}")))
        give_prices(healed, THERE, {NATIVE.model: "1 1 1 1"})
        await_state(fleet, THERE, "native", "ok")
        (first,) = fleet.run(*asked, cwd=top, timeout_s=120).ok().json()["scouts"]
        made = len(list((log.parent / "bodies").iterdir()))
        (known,) = fleet.run(*asked, cwd=top, timeout_s=60).ok().json()["scouts"]
        assert len(list((log.parent / "bodies").iterdir())) == made
        (top / "new.txt").write_text("not committed\n")
        (other,) = fleet.run(*asked, cwd=top, timeout_s=120).ok().json()["scouts"]
    assert (first["state"], known["run"], known["earlier"]) == ("answered", first["run"], True)
    assert known["answer"] == first["answer"] and "notes.txt:1" in first["answer"]
    assert other["run"] != first["run"] and other["state"] == "answered"
    shown = fleet.show(first["run"])
    assert (shown["node"], shown["agent"], shown["outcome"]) == (f"node{THERE}", "scout", "done")
    assert shown["limits"]["requests"] == 4


REVIEWS = [{"tool": "read", "args": {"path": "${cwd}/made.txt"}}, says("It is right.")]
RULES = [{"if": {"prompt": "judge"}, "turns": REVIEWS}, {"if": {"prompt": "was there first"}, "turns": LOOKS}]


SUM = "Both have ended, and the change waits for you."
TOLD = {"if": {"prompt": "This is an automatic message of the fleet"}, "turns": [says(SUM)]}
"""Its model says so to words of the fleet, and never without them."""


def test_in_a_terminal_a_user_agrees_to_a_budget_has_work_built_and_reviewed_and_lands_it(
    fleet: Owner, healed: Lab
) -> None:
    """It takes more than 30 s: an interactive run in a real tmux, and a scout, a builder and a reviewer
    elsewhere."""
    top, pane = project(fleet, "panosterm"), Pane(fleet)
    there = {"runtime": "native", "model": NATIVE.model, "node": f"node{THERE}"}
    steps = [{"task": "write made.txt", "agent": "builder"}, {"task": "judge it", "agent": "reviewer"}]
    turns = [
        calls("propose_change", kind="budget", target="week", value="250", why="you said so"),
        says("You have a card."),
        calls("explore", questions=[QUESTION], depth="shallow", **there),
        calls("dispatch_chain", steps=steps, **there),
        says("Both are under way."),
    ]

    def agreed() -> bool:
        return any(one["scope"].startswith("week:") for one in fleet.ask("budget")["scopes"])

    try:
        with (
            two_hosts(fleet, healed, BUILDS, RULES),
            model_on(healed, HERE, {"count": "assistant", "turns": turns, "rules": [TOLD]}) as log,
        ):
            pane.types(f"cd {top} && " + " ".join(fleet.argv("chat", *WHERE)))
            pane.shows("describe the task")
            pane.types("set the budget of the week to 250 dollars")
            pane.shows("the agent requests to change this", 90)
            pane.agrees(agreed)
            pane.shows("your turn", 60)
            pane.types("look around, then have it built and reviewed")
            pane.shows("Both are under way.", 120)
            session = str(fleet.ask("sessions", "show", "last")["session"])
            until(lambda: [one["outcome"] for one in children(fleet, session)] == ["done"] * 3, "all", 90)
            pane.shows(SUM, 90)
            told = results_in(log.parent / "bodies")
            runs = {str(one["agent"]): one for one in children(fleet, session)}
            said = log_of(fleet, session)
            assert not (top / "made.txt").exists(), "nothing lands without a user"
            pane.types(f"/land {runs['builder']['run']}")
            until((top / "made.txt").exists, "the user has landed it", 60)
            pane.press("C-d")
            pane.is_a_shell_again()
    finally:
        pane.close()
        fleet.run("budget", "set", "none", "--scope", "week")
    assert "notes.txt:1" in told, "its scout's answer came back"
    assert set(runs) == {"scout", "builder", "reviewer"}
    assert "It is right." in runs["reviewer"]["answer"]
    (words,) = said.split("[the fleet] ")[1:]
    waits = f"it waits for a user: to land: pancode land {runs['builder']['run']}"
    assert waits in words and runs["reviewer"]["run"] in words and "It is right." not in words.split(SUM)[0]
    assert runs["scout"]["run"] not in words, "it had its answer already"
    fleet.run("sessions", "rest", session).ok()
    assert fleet.ask("receipt", "verify", session)["verdict"] == "PASS", "signed as the fleet's own"


def test_it_is_told_once_of_an_end_over_kills_of_the_coordinator(
    fleet: Owner, healed: Lab, tmp_path: Path
) -> None:
    """It takes more than 30 s: an interactive run and a run on two hosts, and three kills."""
    top, builds = project(fleet, "panostold"), tmp_path / "builds"
    held = [{**BUILDS[0], "fault": {"hold": str(builds)}}, BUILDS[1]]
    turns = [dispatches(), says("It is under way.")]
    with (
        two_hosts(fleet, healed, held),
        model_on(healed, HERE, {"count": "assistant", "turns": turns, "rules": [TOLD]}),
    ):
        said = fleet.run("chat", *WHERE, "have made.txt written", cwd=top, timeout_s=120).ok()
        session = str(fleet.ask("sessions", "show", "last")["session"])
        kill_coordinator(fleet)
        builds.touch()
        until(lambda: children(fleet, session)[0]["outcome"] == "done", "its run ends", 90)
        kill_coordinator(fleet)
        until(lambda: SUM in log_of(fleet, session), "it is told, and sums up", 90)
        kill_coordinator(fleet)
        until(lambda: fleet.ask("sessions", "show", session)["state"] == "waits for you", "it waits", 60)
        told, (child,) = log_of(fleet, session), children(fleet, session)
        fleet.run("sessions", "end", session).ok()
    assert "It is under way." in said.out and SUM not in said.out
    assert (told.count("[the fleet]"), told.count(SUM)) == (1, 1)
    assert f"it waits for a user: to land: pancode land {child['run']}" in told


def test_a_kill_between_a_call_and_its_answer_begins_nothing_twice(
    fleet: Owner, healed: Lab, tmp_path: Path
) -> None:
    """It takes more than 30 s: the coordinator is killed twice and the node agent once, within one turn."""
    top, asks, builds = project(fleet, "panoskill"), tmp_path / "asks", tmp_path / "builds"
    host = Ground(fleet, healed, HERE)
    waits = [calls("wait", run="last", seconds=50) for _ in range(4)]
    turns = [
        {**dispatches(), "text": "I hand it over to a builder.", "fault": {"hold": str(asks)}},
        *waits,
        says("All is built."),
    ]
    held = [
        {**BUILDS[0], "text": "I write it, as I was asked to.", "fault": {"hold": str(builds)}},
        BUILDS[1],
    ]
    with (
        two_hosts(fleet, healed, held),
        model_on(healed, HERE, {"count": "assistant", "turns": turns}) as log,
    ):
        asked_on = asking_on(healed, HERE)
        fleet.begin("chat", *WHERE, "--once", "have made.txt written", cwd=top)
        bodies = log.parent / "bodies"  # an answer that is held back is in no log yet
        until(lambda: bodies.is_dir() and any(bodies.iterdir()), "its model is asked", 60)
        kill_coordinator(fleet)
        asks.touch()
        until(lambda: asked_on(1), "it asks for a dispatch, and nobody hears it", 60)
        host.kill_agent()
        session = str(fleet.ask("sessions", "show", "last")["session"])
        until(lambda: children(fleet, session), "its run is begun", 60)
        until(lambda: asked_on(2), "it waits for its run", 60)
        kill_coordinator(fleet)
        builds.touch()
        until(lambda: "All is built." in log_of(fleet, session), "the turn is over", 90)
        (child,) = children(fleet, session)
        told = results_in(bodies)
    assert child["outcome"] == "done" and child["run"] in told
    assert log_of(fleet, session).count("I hand it over") == 1, "the conversation is there again, once"
    asked = [
        one["detail"] for one in fleet.ask("audit", f"run:{session}")["audit"] if one["domain"] == "fleet"
    ]
    begun = [one for one in asked if one.get("tool") == "dispatch"]
    assert len({one["call"] for one in begun}) == 1


def test_its_worker_is_killed_with_a_call_open_and_the_next_interactive_run_hears_what_was_begun(
    fleet: Owner, healed: Lab, tmp_path: Path
) -> None:
    """It takes more than 30 s: two interactive runs and a run on two hosts; the worker is killed while it
    waits."""
    top, builds, host = project(fleet, "panosdies"), tmp_path / "builds", Ground(fleet, healed, HERE)
    after = {"if": {"prompt": "what became of it"}, "turns": [says("It is built.")]}
    script = {"turns": [dispatches(), calls("wait", run="last", seconds=50)], "rules": [after]}
    held = [{**BUILDS[0], "fault": {"hold": str(builds)}}, BUILDS[1]]
    with two_hosts(fleet, healed, held), model_on(healed, HERE, {"count": "assistant", **script}) as log:
        asked_on = asking_on(healed, HERE)
        said = fleet.begin("chat", *WHERE, "--once", "have made.txt written", cwd=top)
        until(lambda: asked_on(2), "it waits for its run", 90)
        session = str(fleet.ask("sessions", "show", "last")["session"])
        workers = [pid for pid, argv in host.processes() if any("native/program.py" in one for one in argv)]
        for pid in workers:
            with suppress(ProcessLookupError):  # it ended with the one before
                os.kill(pid, signal.SIGKILL)
        until(lambda: fleet.ask("sessions", "show", session)["state"] == "turn lost", "it is lost", 60)
        said.communicate(timeout=60)
        assert workers and said.returncode != 0
        builds.touch()
        until(lambda: children(fleet, session)[0]["outcome"] == "done", "its run continues", 60)
        (child,) = children(fleet, session)
        answer = fleet.run("attach", session, "what became of it?", cwd=top, timeout_s=120).ok().out
        newest = max((log.parent / "bodies").iterdir()).read_text()
    assert "It is built." in answer and f"had started: {child['run']} (builder, done)" in newest
    assert len(children(fleet, session)) == 1, "nothing is begun twice"
    asked = [one["detail"] for one in fleet.ask("audit", f"run:{session}")["audit"]]
    assert [one["call"] for one in asked if one.get("tool") == "dispatch"] == [1]
