"""Records out of the ledger: only accepted receipts count, and a dispatch chooses by them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import Isolation
from pancode.config.user_environment import FileSurroundings
from pancode.kernel.records import Decision, Run
from pancode.kernel.values import replace
from pancode.landing.rules import Landed
from pancode.reports.track_records import track_records
from pancode.runs.admission.planning import RecordsPicker, read_records
from pancode.runs.dispatch import dispatch_run
from pancode.runs.request import DispatchRequest
from pancode.runs.unit_of_work import unit_of_work
from tests.unit.pancode.reports.test_cost import play
from tests.unit.pancode.runs.world import Desk, Puppet, facts


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
    rows = track_records(coordinator.core, None, False, 10)
    assert [(r["agent"], r["kind"], r["runs"], r["good"], r["rate"]) for r in rows] == [
        ("bob", "review", 1, 1, 0.6667),
        ("ann", "change", 3, 2, 0.6),
    ]
    assert rows[0]["usd_each_landed"] is None, "nothing was landed"
    assert [r["agent"] for r in track_records(coordinator.core, "ann", True, 10)] == ["ann"]


def test_what_a_landed_change_cost_counts_failures_too() -> None:
    coordinator = played()
    with unit_of_work(coordinator.core) as work:
        run = work.tx.get(Run, "r-0000")
        assert run is not None
        work.signal(run, Landed("me", "c" * 40, 1, ""))
    (row, *_) = track_records(coordinator.core, "ann", True, 10)
    assert (row["landed"], row["usd_each_landed"]) == (1, 0.6)


def test_a_dispatch_draws_once_and_chooses_by_records_of_that_kind() -> None:
    coordinator = played()
    picker = RecordsPicker(coordinator.core, None, explore=1.0)
    before = coordinator.ids.count
    first = picker.agent(["ann", "bob"], "fix the parser")
    assert coordinator.ids.count == before + 1 and picker.agent(["ann", "bob"], "fix the parser") == first
    picker.model("ann", ["opus", "sonnet"], "fix the parser")
    assert coordinator.ids.count == before + 1, "one draw for the whole dispatch"
    assert "0 runs so far, 3 needed" in first[1]
    assert "2 of 3 succeeded, rate 0.60" in picker.figure("ann", "claude", None, "fix it")


def test_faults_of_a_machine_are_nobodys() -> None:
    coordinator = Desk("100")
    node = Puppet(coordinator)
    node.breathe()
    play(coordinator, node, "r-0001", "retried", Decimal("0.2"), agent="ann")
    assert coordinator.row(Run, "r-0001").outcome is Outcome.DONE
    (row,) = track_records(coordinator.core, None, True, 10)
    assert (row["runs"], row["good"]) == (1, 1), FailureKind.PROCESS_VANISHED


def test_what_ends_counts_at_once_and_after_a_restart() -> None:
    coordinator = played()
    core = coordinator.core
    assert sum(record.runs for record in read_records(core).values()) == 4
    node = Puppet(coordinator, "n2")
    node.breathe()
    kept = read_records(core)
    coordinator.restart()
    assert read_records(coordinator.core) == kept == read_records(core)


WITH_MODELS = "models: {choices: [opus, sonnet]}\nrecords: {explore: 0}\nverify: [make test]"


def test_records_choose_the_model_and_the_estimate_and_say_so(tmp_path: Path) -> None:
    coordinator = Desk("1000")
    node = Puppet(coordinator)
    node.facts = facts(isolation=Isolation.SANDBOX, runtimes=(RuntimeFact(name="claude", state="ok"),))
    node.breathe()
    for number, (model, end) in enumerate([("opus", "failed"), ("opus", "failed"), ("sonnet", "done")] * 3):
        words: dict[str, Any] = {"agent": "builder", "task": "fix it", "runtime": "claude"}
        play(coordinator, node, f"r-000{number}", end, Decimal("0.3"), model=model, **words)
    (tmp_path / "pancode.yaml").write_text(WITH_MODELS)
    around = FileSurroundings(tmp_path, {}, {}, tmp_path / "none.yaml", None)
    request = DispatchRequest("fix the parser", "ana", workspace="none", runtime="claude")
    run = dispatch_run(coordinator.core, around, request).run
    assert run.model == "sonnet" and run.estimate_usd == Decimal("0.30")
    told = {d.kind: (d.what, d.detail) for d in coordinator.rows(Decision, run=run.id) if d.kind != "gate"}
    assert "3 of 3 succeeded" in told["model"][1]
    known = "builder with sonnet at tasks of kind change and size small: 3 of 3 succeeded, rate 0.80"
    assert told["records"][0] == "builder" and told["records"][1].startswith(known)
    large = dispatch_run(
        coordinator.core, around, replace(request, task="fix " + "x" * 2_000, model="haiku")
    ).run
    (record,) = [d.detail for d in coordinator.rows(Decision, run=large.id) if d.kind == "records"]
    assert record == "builder with haiku at tasks of kind change: unknown: 0 runs so far, 3 needed"
    assert told["estimate"][0] == "$0.30" and told["estimate"][1].startswith("3 runs of builder")
