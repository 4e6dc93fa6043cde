"""The watch over two real hosts: a quiet agent is warned of, told once, asked; a killed one continues."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.clis.hands import HANDS
from tests.clis.launched import EVERY
from tests.crowd import crowded
from tests.e2e.fleets import own_fleet, up
from tests.e2e.owner import Owner, until
from tests.e2e.programs import PORT, await_state, give_secrets, installed, model_on, on_host, project
from tests.lab import Lab

pytestmark = pytest.mark.slow
WARN_S, STUCK_S = 8, 16


@pytest.fixture(scope="module")
def owner(lab: Lab) -> Iterator[Owner]:
    """node1 and node2, where seconds are what minutes are as shipped."""
    figures = {"look": "1s", "warn": f"{WARN_S}s", "stuck": f"{STUCK_S}s", "between": "1s"}
    with own_fleet(lab, [1, 2], more={"health": figures}) as owner:
        up(owner, 1, 2)
        yield owner


def health(owner: Owner, run: str) -> dict[str, Any]:
    rows = json.loads(owner.run("status", "--health", "--all", "--json").out)["agents"]
    return next((row for row in rows if row["run"] == run), {})


def told(owner: Owner, run: str) -> list[str]:
    """The states that the watch has told of in the run's timeline."""
    return [one["verdict"] for one in owner.ask("why", run)["decisions"] if one["kind"] == "health"]


def test_a_quiet_agent_is_warned_of_told_once_and_asked_about(owner: Owner, lab: Lab) -> None:
    cli = next(cli for cli in EVERY if cli.runtime == "native")
    given = cli.env(f"http://127.0.0.1:{PORT}")
    done = {"text": "Done.", "usage": {"input": 1200, "output": 34}}
    words = ("--runtime", "native", "--model", cli.model, "--node", "node1", "--budget", "0.50")
    shell = ("--runtime", "shell", "--node", "node2", "--workspace", "none")
    with installed(lab, "native", [1]):
        give_secrets(lab, 1, {name: value for name, value in given.items() if "RETRIES" not in name})
        await_state(owner, 1, "native", "ok")
        quiet_s = STUCK_S + round(14 * crowded())
        with model_on(lab, 1, {"turns": [HANDS["native"].shell(f"sleep {quiet_s}"), done]}) as log:
            busy = owner.dispatch(*shell, "while :; do :; done")
            run = owner.dispatch(*words, "wait for me", cwd=project(owner, "quiet"))
            until(lambda: told(owner, run) == ["quiet"], "it is warned of", 60, partial(health, owner, run))
            assert health(owner, run)["state"] == "quiet" and health(owner, busy)["state"] == "long command"
            assert not [one for one in owner.needs() if one["run"] == run]
            until(lambda: told(owner, run) == ["quiet", "stuck"], "it is asked about", 60)
            found = owner.run("status", "--health")
            assert found.code == 12 and run in found.out and busy not in found.out
            (asks,) = [one for one in owner.needs() if one["run"] == run]
            assert "stuck?" in asks["headline"] and asks["command"] == f"pancode runs stop {run}"
            ended = owner.ended(run, 60)
            asked = max((log.parent / "bodies").iterdir()).read_text()
    assert ended["outcome"] == "done", "nothing was stopped by itself"
    assert [one["by"] for one in ended["told"]] == ["pancode health"], "words were said once"
    assert "PanCode says this, and no user" in asked and ended["told"][0]["delivered"]
    assert told(owner, run) == ["quiet", "stuck"] and told(owner, busy) == []
    assert not [one for one in owner.needs() if "stuck?" in one["headline"]]
    owner.run("runs", "stop", busy).ok()
    owner.ended(busy)
    assert owner.run("status", "--health").ok().out == "all agents and nodes are healthy\n"


def test_of_several_runs_of_an_agent_the_one_that_is_named_is_stopped(owner: Owner) -> None:
    shell = ("--runtime", "shell", "--node", "node2", "--workspace", "none")
    runs = [owner.dispatch(*shell, "sleep 600") for _ in range(2)]
    for run in runs:
        owner.running(run)
    refused = owner.run("runs", "stop", "--agent", "builder", "--reason", "both")
    assert refused.code == 2
    for run in runs:
        assert f"pancode runs stop {run} --reason both" in refused.err
    owner.run("runs", "stop", runs[0]).ok()
    owner.ended(runs[0])
    assert owner.run("runs", "logs", "builder").ok().out == ""
    owner.run("runs", "stop", "--agent", "builder").ok()
    assert owner.ended(runs[1])["outcome"] == "interrupted"


def test_what_was_killed_goes_on_from_what_it_left(owner: Owner, lab: Lab) -> None:
    top, mark = project(owner, "killed"), "601.25"
    task = f"test -e half.txt && echo rest > rest.txt && exit 0; echo half > half.txt; exec sleep {mark}"
    run = owner.dispatch("--runtime", "shell", "--node", "node1", task, cwd=top)
    owner.running(run)
    until(lambda: on_host(lab, 1, f"pgrep -fx 'sleep {mark}' | head -1").strip(), "its program sleeps", 30)
    on_host(lab, 1, f"kill -9 $(pgrep -fx 'sleep {mark}' | head -1)")
    assert owner.ended(run)["outcome"] == "error"
    assert owner.run("recover", "builder", "--dry-run").ok().out.startswith(run)
    (row,) = owner.ask("recover", "builder")["runs"]
    after = owner.ended(row["next"])
    assert (after["outcome"], after["continues"]) == ("done", run)
    assert set(after["files_changed"]) >= {"rest.txt"}
    assert "+half" in owner.run("runs", "diff", row["next"]).ok().out
    again = owner.run("recover", run)
    assert again.code == 5 and row["next"] in again.err, "nothing is begun twice"
