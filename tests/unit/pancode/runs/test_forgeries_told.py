"""What a node would not believe was put there by somebody: it comes on record, once for each kind."""

from __future__ import annotations

from node_agent.wire.node import NodeProblem, ProblemCode
from pancode.kernel.records import Audit
from tests.unit.pancode.runs.world import Desk, Puppet, facts

FORGED = "a job was not accepted: bad_envelope: unknown_key: signed by {}, which is not enrolled ({} times)"


def _raised(coordinator: Desk) -> list[Audit]:
    return [row for row in coordinator.rows(Audit, domain="trust") if "sent to the node" in row.what]


def test_it_is_on_record_once_for_each_kind_whatever_an_enemy_varies() -> None:
    coordinator = Desk()
    node = Puppet(coordinator)
    node.breathe()
    assert _raised(coordinator) == []
    for number in range(1, 4):
        told = NodeProblem(what=FORGED.format(f"key{number}", number), code=ProblemCode.FORGED_JOB)
        other = NodeProblem(what="it was not believed: words alone raise no alarm", fix="free disk")
        node.heartbeat(facts=facts().model_copy(update={"problems": (told, other)}))
        coordinator.turn()
    (row,) = _raised(coordinator)
    assert (row.level, row.detail["node"]) == ("error", "n1")
    assert row.detail["code"] == "forged_order" and "key1" in str(row.detail["why"])
    words = "a control message was not accepted: tampered: the signature of 12 does not fit (1 times)"
    stop = NodeProblem(what=words, code=ProblemCode.FORGED_CONTROL)
    node.heartbeat(facts=facts().model_copy(update={"problems": (stop,)}))
    coordinator.turn()
    assert len(_raised(coordinator)) == 2
