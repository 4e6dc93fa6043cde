"""The account over real hosts: results that another node verifies, and what gates report."""

from __future__ import annotations

import pytest

from tests.e2e.owner import Owner

pytestmark = pytest.mark.slow

SHELL = ("--runtime", "shell", "--node", "node1")


def test_another_host_runs_the_gates_and_signs_what_it_saw(fleet: Owner) -> None:
    top = fleet.repository("verified")
    words = ("--verify", "test -s made.txt", "--verify-on", "other", "echo one > made.txt")
    run = fleet.ask("dispatch", *SHELL, *words, cwd=top)
    seen = run["verification"]
    judge_on = seen["node"]  # whichever machine of the fleet had most room
    assert (seen["state"], run["node"]) == ("verified", "node1")
    assert judge_on in fleet.nodes() and judge_on != "node1"
    judge = fleet.show(seen["run"])
    assert judge["workspace"]["snapshot"] == run["commit"] and judge["receipt"] == seen["receipt"]
    told = fleet.ask("receipt", "verify", run["run"])
    assert told["verdict"] == "PASS"
    assert f"{judge_on} agrees with the result" in [check["what"] for check in told["checks"]]
    assert "(gates passed on two nodes)" in fleet.run("runs").ok().out
    shown = fleet.run("runs", "show", run["run"]).ok().out
    assert f"tested     its gates passed on node1 and on {judge_on}" in shown


def test_another_host_disputes_what_only_the_first_one_can_do(fleet: Owner) -> None:
    top = fleet.repository("disputed")
    gate = """sh -c 'test "$(pwd -P)" = "$(cat made.txt)"'"""
    words = ("--verify", gate, "--verify-on", "node2", "--land", "pwd -P > made.txt")
    said = fleet.run("dispatch", *SHELL, *words, "--json", cwd=top)
    run = said.json()
    assert (said.code, run["verification"]["state"]) == (7, "disputed")  # it was to be landed, and is not
    assert not (top / "made.txt").exists() and run["landing"]["status"] == "disputed"


def test_without_gates_or_another_host_nothing_starts(fleet: Owner) -> None:
    top = fleet.repository("alone")
    said = fleet.run("dispatch", *SHELL, "--no-verify", "--verify-on", "other", "true", cwd=top)
    assert said.code == 2 and "the run has no gates" in said.err
    said = fleet.run("dispatch", *SHELL, "--verify", "true", "--verify-on", "node1", "true", cwd=top)
    assert said.code == 2 and "node1" in said.err


def test_the_receipt_of_a_workflow_is_judged_with_those_of_its_runs(fleet: Owner) -> None:
    plain = ("--runtime", "shell", "--workspace", "none")
    batch = fleet.ask("batch", *plain, "-t", "echo one", "-t", "echo two")
    told = fleet.run("receipt", "verify", batch["workflow"], "--json").ok().json()
    assert told["verdict"] == "PASS"
    holds = [check for check in told["checks"] if check["what"].endswith(" holds")]
    assert len(holds) == 2 and all(check["ok"] for check in told["checks"])
    audit = fleet.run("audit", "verify").ok().out
    assert audit.startswith("PASS") and "signed up to entry" in audit
