"""Retries by cause over real hosts: a failed gate with its output, a fault of a node that moves the run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clis.hands import HANDS
from tests.clis.launched import NATIVE
from tests.e2e.ground import Ground
from tests.e2e.owner import Owner, until
from tests.e2e.programs import PORT, await_state, give_prices, give_secrets, installed, model_on
from tests.fakemodel import preset
from tests.lab import Lab

pytestmark = pytest.mark.slow

K = 1
SAID = "the answer must be two, see line 7"
CHECK = f"#!/bin/sh\ngrep -qx two answer.txt && exit 0\necho '{SAID}'\nexit 3\n"
DONE = {"text": "Done: the answer is written.", "usage": {"input": 10, "output": 3}}
_PRICE = "1 0.1 2 10"


def _writes(text: str) -> list[dict[str, Any]]:
    return [HANDS["native"].write("${cwd}/answer.txt", text), DONE]


MODEL = {
    "rules": [{"name": "corrected", "if": {"prompt": "must be two, see line 7"}, "turns": _writes("two\n")}],
    "turns": _writes("one\n"),
}
"""It writes a wrong answer until it has read the output of the gate."""


def _retries(fleet: Owner, run: str) -> list[str]:
    told = fleet.ask("why", run)["decisions"]
    return [f"{one['verdict']}: {one['detail']}" for one in told if one["kind"] == "retry"]


def test_a_failed_gate_is_tried_again_and_passes_with_its_output_in_front(fleet: Owner, lab: Lab) -> None:
    top = fleet.repository("corrected", {"check.sh": CHECK})
    given = NATIVE.env(f"http://127.0.0.1:{PORT}")
    with installed(lab, "native", [K]), model_on(lab, K, MODEL):
        give_secrets(lab, K, {name: value for name, value in given.items() if "RETRIES" not in name})
        give_prices(lab, K, {NATIVE.model: _PRICE})
        await_state(fleet, K, "native", "ok")
        words = ("dispatch", "--runtime", "native", "--model", NATIVE.model, "--node", f"node{K}")
        gate = ("--verify", "sh check.sh", "--budget", "0.10", "--json")
        task = "write the answer to answer.txt"
        run = fleet.run(*words, *gate, task, cwd=top, timeout_s=120).ok().json()
        once = fleet.run(*words, *gate, "--verify-retries", "0", task, cwd=top, timeout_s=120).json()
    assert (run["outcome"], run["attempt"]) == ("done", 2), run
    assert [one["outcome"] for one in run["attempts"]] == ["verify_failed", "done"]
    (told,) = _retries(fleet, run["run"])
    assert told.startswith(f"tried again: gate sh check.sh: exit 3: {SAID}; verification: with the output"), (
        told
    )
    assert fleet.ask("receipt", "verify", run["run"])["verdict"] == "PASS"
    assert (once["outcome"], once["attempt"]) == ("verify_failed", 1), once


def test_a_breaker_opens_and_lets_a_probe_through(fleet: Owner, lab: Lab) -> None:
    given = NATIVE.env(f"http://127.0.0.1:{PORT}")
    where = ("dispatch", "--runtime", "native", "--model", NATIVE.model, "--node", f"node{K}", "--json")
    words = (*where, "--workspace", "none", "--attempts", "1", "--budget", "0.10")
    with installed(lab, "native", [K]):
        give_secrets(lab, K, {name: value for name, value in given.items() if "RETRIES" not in name})
        give_prices(lab, K, {NATIVE.model: _PRICE})
        await_state(fleet, K, "native", "ok")
        with model_on(lab, K, preset("429")):
            busy = fleet.run(*words, "say hello", timeout_s=120).json()
        assert busy["outcome"] == "infra", busy
        providers = [one for one in _breakers(fleet) if one["name"].startswith("provider:")]
        (opened,) = [one for one in providers if busy["run"] in one["why"]]
        assert opened["state"] in ("open", "half-open"), opened
        with model_on(lab, K, preset("text")):
            probe = fleet.run(*words, "say hello", timeout_s=120).ok().json()
    assert probe["outcome"] == "done", probe
    assert {one["name"]: one["state"] for one in _breakers(fleet)}[opened["name"]] == "closed"
    assert fleet.run("admin", "breakers", "--reset", "node:nowhere").code == 4
    fleet.run("admin", "breakers", "--reset", opened["name"]).ok()


def _breakers(fleet: Owner) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = fleet.ask("admin", "breakers")["breakers"]
    return found


def test_a_fault_of_a_node_moves_the_run_to_another(fleet: Owner, lab: Lab, no_sandboxes: None) -> None:
    pair = (1, 2)
    for k in pair:
        fleet.run("node", "set", f"node{k}", "--label", "pair=moved").ok()
    words = ("--runtime", "shell", "--workspace", "none", "--require", "pair=moved")
    run = fleet.dispatch(*words, "test -e /tmp/moved-now || exec sleep 303")
    fleet.running(run)
    first = fleet.look(run)["node"]
    host = Ground(fleet, lab, int(first.removeprefix("node")))
    until(lambda: host.running("sleep", "303"), "the agent runs")
    for k in pair:
        Ground(fleet, lab, k).shell("touch /tmp/moved-now")
    host.kill_shim(run)
    ended = fleet.ended(run, 60)
    for k in pair:
        Ground(fleet, lab, k).shell("rm -f /tmp/moved-now")
    assert (ended["outcome"], ended["attempt"]) == ("done", 2), ended
    assert ended["node"] != first, ended
    (told,) = _retries(fleet, run)
    assert "infrastructure: on another node" in told
