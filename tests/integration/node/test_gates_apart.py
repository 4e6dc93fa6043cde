"""Gates run on the result: a real node agent, real git, real processes."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.wire.event import Finding
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import Gate
from node_agent.wire.receipt import Claims
from tests.integration.git.repos import snap
from tests.integration.node.node_world import RUN, NodeWorld

CHECK = (Gate(name="check", argv=("sh", "-c", "lib/check")),)
MAKE = (
    (
        "sh",
        "-ec",
        "mkdir -p lib; cp check.sh lib/check; chmod +x lib/check; date +%N > made; test ! -e broken",
    ),
)
FAKE = "printf '#!/bin/sh\\n' > lib/check; mkdir -p ~/bin; touch ~/bin/x; "


@pytest.fixture
def run(world: NodeWorld) -> Any:
    world.repo.write(".gitignore", "lib/\n")
    world.repo.write("check.sh", "#!/bin/sh\ngrep -q good value && test ! -e ~/bin\n")
    world.repo.write("value", "good\n")
    world.repo.commit()
    world.taken = snap(world.repo, world.depot, RUN)

    def run(task: str, **changes: Any) -> Claims:
        return world.run(world.job(task, **{"runtime": "shell", "setup": MAKE, "gates": CHECK, **changes}))

    return run


def _said(world: NodeWorld) -> list[str]:
    return [one.body.text for one in world.coordinator.events.values() if isinstance(one.body, Finding)]


def test_a_program_of_set_up_that_the_agent_replaced_judges_nothing(world: NodeWorld, run: Any) -> None:
    claims = run(f"{FAKE} echo bad > value")
    assert (claims.failure, claims.gates_on) == (FailureKind.GATE_FAILED, "result"), claims.reason
    assert any(text.startswith("for the gates: set-up runs: ") and "cache:" in text for text in _said(world))


def test_an_honest_change_passes_and_its_score_is_that_of_the_result(world: NodeWorld, run: Any) -> None:
    world.without_sandbox()
    task = f"{FAKE} echo more >> value; echo 99 > lib/score"
    claims = run(task, score=("sh", "-c", "cat lib/score 2>/dev/null || wc -l < value"))
    assert (claims.outcome, claims.gates_on, claims.score) == (Outcome.DONE, "result", "2"), claims.reason
    assert claims.findings == () and claims.files_changed == ("value",)


def test_set_up_that_fails_on_the_result_is_a_failure_of_the_change(run: Any) -> None:
    claims = run("touch broken")
    assert claims.failure is FailureKind.GATE_FAILED and claims.gates == ()
    assert claims.reason.startswith("set-up, which succeeded before, fails on the result: setup 1: exit 1")


def test_a_node_agent_that_comes_back_goes_on_with_the_gates(world: NodeWorld, run: Any) -> None:
    slow = (Gate(name="slow", argv=("sh", "-c", "sleep 1; lib/check")),)
    job = world.job(f"{FAKE} echo more >> value", runtime="shell", setup=MAKE, gates=slow)
    world.coordinator.push(job)
    world.marked(job.identity, "committed")
    world.leave()
    world.start()
    assert world.ended(job.identity).outcome is Outcome.DONE
    assert list((world.home.root / "work" / ".aside").iterdir()) == []


def test_a_gate_that_needs_what_the_agent_installed_names_it(world: NodeWorld, run: Any) -> None:
    venv = (Gate(name="venv", argv=("sh", "-c", ".venv/bin/check > report && cat value")),)
    world.repo.write(".gitignore", "lib/\n.venv/\nreport\n")
    world.repo.commit()
    world.taken = snap(world.repo, world.depot, RUN)
    task = "mkdir -p .venv/bin; cp check.sh .venv/bin/check; chmod +x .venv/bin/check; echo more >> value"
    claims = run(task, gates=venv, setup=())
    assert claims.failure is FailureKind.GATE_FAILED and [one.exit_code for one in claims.gates] == [127]
    assert claims.reason.endswith(
        "exit 127; it passes only with ignored files that the agent made: .venv; add to pancode.yaml: setup: "
        "[python3 -m venv .venv]"
    )
    assert b"good" not in world.log(claims.identity, "gates.log")


def test_a_gate_reads_what_it_names_of_the_agent(world: NodeWorld, run: Any) -> None:
    world.without_sandbox()
    test = "test -s lib/out/model && test $(stat -c %a lib/out/model) = 444 && test ! -e lib/out/link"
    gate = (Gate(name="model", argv=("sh", "-c", f"{test} && test ! -e lib/other")),)
    task = "mkdir -p lib/out; echo m > lib/out/model; ln -s /etc/passwd lib/out/link; touch lib/other"
    claims = run(f"{task}; echo more >> value", gates=gate, setup=(), reads=("lib/out", "absent"))
    assert claims.outcome is Outcome.DONE, claims.reason
    assert claims.findings == ("the gates judged what the agent left at lib/out, absent",)
