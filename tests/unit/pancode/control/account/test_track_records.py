"""Records out of the ledger: only accepted receipts count, and a dispatch chooses by them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from node_agent.wire.failure import FailureKind, Outcome
from pancode.config.surroundings import FileSurroundings
from pancode.control.account.track_records import KEPT_MS, early_picker, lately, picker
from pancode.control.query.track_records import track_records
from pancode.domain.records import Run, StoredReceipt
from pancode.domain.request import DispatchRequest
from pancode.domain.values import replace
from tests.unit.pancode.control.account.test_cost import play
from tests.unit.pancode.control.world import Desk, Puppet


def played() -> Desk:
    coordinator = Desk("100")
    node = Puppet(coordinator)
    node.breathe()
    for number, end in enumerate(("done", "done", "failed", "stopped")):
        play(coordinator, node, f"r-000{number}", end, Decimal("0.2"), agent="ann", task="fix it")
    play(coordinator, node, "r-0009", "done", Decimal("0.1"), agent="bob", task="review it")
    return coordinator


def test_rates_are_of_what_was_proven_and_of_the_agents_own_doing() -> None:
    coordinator = played()
    rows = track_records(coordinator.plane.core, None, False, 10)
    assert [(r["agent"], r["kind"], r["runs"], r["good"], r["rate"]) for r in rows] == [
        ("bob", "review", 1, 1, 0.6667),
        ("ann", "change", 3, 2, 0.6),
    ]
    assert rows[0]["usd_each_landed"] is None, "nothing was landed"
    assert [r["agent"] for r in track_records(coordinator.plane.core, "ann", True, 10)] == ["ann"]


def test_a_receipt_that_is_not_accepted_counts_for_nobody() -> None:
    coordinator = played()
    with coordinator.ledger.transaction() as tx:
        run = tx.get(Run, "r-0009")
        assert run is not None
        stored = tx.get(StoredReceipt, str(run.result["receipt"]))
        assert stored is not None
        tx.put(replace(stored, rejected="not what was signed"))
    assert [r["agent"] for r in track_records(coordinator.plane.core, None, False, 10)] == ["ann"]


def test_what_a_landed_change_cost_counts_failures_too() -> None:
    coordinator = played()
    with coordinator.ledger.transaction() as tx:
        run = tx.get(Run, "r-0000")
        assert run is not None
        tx.put(replace(run, landed="c" * 40))
    (row, *_) = track_records(coordinator.plane.core, "ann", True, 10)
    assert (row["landed"], row["usd_each_landed"]) == (1, 0.6)


def test_a_dispatch_draws_once_and_chooses_by_records_of_that_kind() -> None:
    coordinator = played()
    pick = picker(coordinator.plane.core)
    before = coordinator.ids.count
    first = pick(["ann", "bob"], "fix the parser")
    assert coordinator.ids.count == before + 1 and pick(["ann", "bob"], "fix the parser") == first
    assert coordinator.ids.count == before + 1, "one draw for the whole dispatch"
    assert "went well" in first[1]


def test_faults_of_a_machine_are_nobodys() -> None:
    coordinator = Desk("100")
    node = Puppet(coordinator)
    node.breathe()
    play(coordinator, node, "r-0001", "retried", Decimal("0.2"), agent="ann")
    assert coordinator.row(Run, "r-0001").outcome is Outcome.DONE
    (row,) = track_records(coordinator.plane.core, None, True, 10)
    assert (row["runs"], row["good"]) == (1, 1), FailureKind.PROCESS_VANISHED


def test_a_burst_of_dispatches_reads_the_records_once_a_minute() -> None:
    coordinator = played()
    core = coordinator.plane.core
    first = lately(core)
    with coordinator.ledger.transaction() as tx:
        for stored in tx.find(StoredReceipt):
            tx.put(replace(stored, rejected="not what was signed"))
    assert lately(core) is first
    coordinator.turn(KEPT_MS)
    assert lately(core) == {} != first


def request(task: str, agent: str | None = None) -> DispatchRequest:
    return DispatchRequest(task=task, created_by="ana", agent=agent)


def test_a_choice_between_agents_that_fit_as_well_is_made_before_the_lock(tmp_path: Path) -> None:
    coordinator = played()
    (tmp_path / "panagents.yaml").write_text("agents: {ann: {tags: [parser]}, bob: {tags: [parser]}}")
    around, core = FileSurroundings(tmp_path, {}, {}, tmp_path / "none.yaml", None), coordinator.plane.core
    early_picker(core, around, request("fix the docs"))
    early_picker(core, around, request("fix the parser", agent="ann"))
    assert core.live.track_records is None, "read only where they decide"
    pick, before = early_picker(core, around, request("fix the parser")), coordinator.ids.count
    assert core.live.track_records is not None
    assert "went well" in pick(["ann", "bob"], "fix the parser")[1] and coordinator.ids.count == before
