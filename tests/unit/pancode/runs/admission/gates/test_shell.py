"""The gate `safety` says where an agent has no shell."""

from __future__ import annotations

from node_agent.wire.policy import Isolation
from tests.unit.pancode.kernel.fleets import node
from tests.unit.pancode.runs.admission.gates.test_gates import gate


def test_what_an_agent_cannot_do_at_auto_edit_without_a_sandbox_is_said_with_the_cure() -> None:
    walled, bare = node("a", isolation=Isolation.SANDBOX), node("b")
    assert not gate("safety", nodes=(walled,)).warning
    told = gate("safety", nodes=(walled, bare))
    assert told.passed and told.warning
    assert "b has no sandbox, so claude can edit files but cannot run commands or tests" in told.words
    assert told.fix.endswith("--safety full-auto --allow-told-only")
    codex = node("b", runtimes={"codex": "ok"})
    assert not gate("safety", nodes=(codex,), runtime="codex").warning, "its own sandbox bounds its shell"
