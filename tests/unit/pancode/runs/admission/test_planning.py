"""After the snapshot only the gates are asked again whose facts change by themselves, and they refuse."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import Isolation
from pancode.config.user_environment import FileSurroundings
from pancode.kernel.errors import RefusedError
from pancode.kernel.ports import SnapshotRequest, SnapshotTaken
from pancode.kernel.records import Decision, Node, Run, Setting
from pancode.kernel.values import replace
from pancode.runs.admission import gates
from pancode.runs.admission.plan import GateVerdict, Plan
from pancode.runs.core import CEILING
from pancode.runs.dispatch import dispatch_run, dry_run
from pancode.runs.facts import Provision
from pancode.runs.request import AdmissionView, DispatchRequest
from tests.unit.pancode.runs.world import Desk, HonestDepot, Puppet, facts


class Meanwhile(HonestDepot):
    """Something happens while its snapshot is taken."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__()
        self.happens = happens

    def snapshot(self, wanted: SnapshotRequest) -> SnapshotTaken:
        self.happens()
        return super().snapshot(wanted)


def begun(tmp_path: Path, happens: Callable[[Desk], None]) -> tuple[Desk, Callable[[], Run]]:
    desk = Desk("100")
    desk.depot = Meanwhile(lambda: happens(desk))
    desk.restart()
    node = Puppet(desk)
    node.facts = facts(isolation=Isolation.SANDBOX, runtimes=(RuntimeFact(name="claude", state="ok"),))
    node.breathe()
    (tmp_path / "pancode.yaml").write_text("verify: [make test]")
    around = FileSurroundings(tmp_path, {}, {}, tmp_path / "none.yaml", None)
    request = DispatchRequest("fix it", "ana", project=str(tmp_path), runtime="claude")
    return desk, lambda: dispatch_run(desk.core, around, request).run


def drain(desk: Desk) -> None:
    with desk.core.ports.ledger.transaction() as tx:
        tx.put(Setting("draining", "for the night", 1, "ana"))


def spend(desk: Desk) -> None:
    with desk.core.ports.ledger.transaction() as tx:
        tx.put(Setting(f"{CEILING}day", "0.01", 1, "ana"))


def lose(desk: Desk) -> None:
    with desk.core.ports.ledger.transaction() as tx:
        for node in tx.find(Node):
            tx.put(replace(node, removed="removed"))


@pytest.mark.parametrize(("happens", "gate"), [(drain, "drain"), (spend, "budget"), (lose, "routing")])
def test_what_happens_during_the_snapshot_still_refuses(
    tmp_path: Path, happens: Callable[[Desk], None], gate: str
) -> None:
    desk, queue = begun(tmp_path, happens)
    with pytest.raises(RefusedError) as refused:
        queue()
    assert refused.value.code == f"refused_{gate}"
    assert desk.rows(Run) == [] and desk.core.live.taking == {}
    desk.check_books()


def test_the_other_gates_are_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def counted(name: str, gate: gates.Gate) -> gates.Gate:
        def judge(plan: Plan, view: AdmissionView) -> GateVerdict:
            asked.append(name)
            return gate(plan, view)

        return judge

    every = {name: counted(name, gate) for name, gate in gates.ORDER.items()}
    monkeypatch.setattr(gates, "ORDER", every)
    desk, queue = begun(tmp_path, lambda desk: asked.append("snapshot"))
    run = queue()
    after = asked.index("snapshot") + 1
    assert set(asked[: after - 1]) == set(gates.NAMES) and asked[after:] == ["drain", "budget", "routing"]
    told = [one.what for one in desk.rows(Decision, run=run.id) if one.kind == "gate"]
    assert told[:10] == list(gates.NAMES), "the story has one verdict of each"


def test_copies_are_read_before_the_lock_and_only_for_a_checkout(tmp_path: Path) -> None:
    desk, _ = begun(tmp_path, lambda desk: None)
    read = list[bool]()

    def is_free() -> bool:
        free = desk.core.lock.acquire(blocking=False)
        if free:
            desk.core.lock.release()
        return free

    class Copies(FileSurroundings):
        def seal_copied(self, project: str) -> str:
            with ThreadPoolExecutor() as other:
                read.append(other.submit(is_free).result())
            return "sealed"

    around = Copies(tmp_path, {}, {}, tmp_path / "none.yaml", None)
    asked = DispatchRequest("fix it", "ana", project=str(tmp_path), runtime="claude")
    dry_run(desk.core, around, replace(asked, workspace="none"))
    assert read == []
    run = dispatch_run(desk.core, around, asked).run
    assert read == [True] and Provision.of(run).copied == "sealed"
