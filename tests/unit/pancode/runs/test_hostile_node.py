"""A node with its own key that lies: it may cost itself its work, never the others theirs."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any

import pytest

from node_agent.wire.control import Reject
from node_agent.wire.event import Events, Finding, Progress, Refused
from node_agent.wire.failure import FailureKind, JobRefusal, Outcome
from node_agent.wire.identity import AttemptId, Mark
from node_agent.wire.job import Job
from node_agent.wire.model import MOST_USD
from node_agent.wire.node import FORGED, Heartbeat, JournalEntry, NodeProblem, ProblemCode
from node_agent.wire.receipt import GateResult, Receipt, Usage
from node_agent.wire.signing import WireRefusal, open_as
from pancode.budget import books
from pancode.kernel.errors import UsageError
from pancode.kernel.records import (
    Attempt,
    Audit,
    Balance,
    BookEntry,
    Decision,
    EntryKind,
    Run,
    RunState,
    StoredReceipt,
)
from pancode.runs.ceilings import settle_by_hand
from pancode.runs.nodes.heartbeats import MOST_RAISES
from pancode.runs.receipts.settlement import REASON_CHARS
from pancode.runs.unit_of_work import MOST_TOLD, TOLD_CHARS, unit_of_work
from tests.unit.pancode.runs.world import Desk, Fleet, facts

NESTED = b'{"v":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize("seen", [2**53 - 1, 30_000_000])
def test_an_epoch_that_never_was(seen: int) -> None:
    fleet = Fleet(Desk())
    before = fleet.coordinator.core.epoch
    fleet.bad.heartbeat(epoch_seen=seen)
    fleet.coordinator.turn()
    assert fleet.coordinator.core.epoch == before and len(fleet.alarms()) == 1
    fleet.still_works()


def test_a_control_number_that_never_was() -> None:
    fleet = Fleet(Desk())
    fleet.bad.heartbeat(control_seen=2**53 - 1)
    fleet.coordinator.turn()
    assert len(fleet.alarms()) == 1
    fleet.still_works()


def test_facts_that_the_heartbeat_does_not_name_are_not_believed() -> None:
    fleet = Fleet(Desk())
    ours = fleet.bad.facts
    told = ours.model_copy(update={"repositories": ("app",)})
    core = fleet.coordinator.core

    def beat(text: bytes, digest: str) -> tuple[str, ...]:
        made = fleet.bad.heartbeat(facts=ours.without_profile(), profile=digest)
        fleet.bad.uplink.set_heartbeat(made.signed(fleet.bad.key).model_dump_json(), text.decode())
        fleet.coordinator.turn()
        return core.live.contacts.last_heartbeats[fleet.bad.tag].heartbeat.facts.repositories

    assert beat(told.make_profile().canonical(), ours.make_profile().digest()) == ()
    assert beat(told.make_profile().canonical(), told.make_profile().digest()) == ("app",)
    assert beat(b"{}", told.make_profile().digest()) == ("app",), "the same facts are not read again"
    assert beat(b"", "0" * 64) == ("app",), "lost facts leave those of before"
    assert beat(b"{}", hashlib.sha256(b"{}").hexdigest()) == ("app",) and len(fleet.alarms()) == 1
    fleet.still_works()


def test_one_node_cannot_raise_the_epoch_for_ever() -> None:
    fleet = Fleet(Desk())
    before = fleet.coordinator.core.epoch
    for _ in range(4 * MOST_RAISES):
        fleet.bad.heartbeat(epoch_seen=fleet.coordinator.core.epoch + 1)
        fleet.coordinator.turn()
    assert fleet.coordinator.core.epoch <= before + 2 * MOST_RAISES
    assert [a.detail["code"] for a in fleet.alarms()] == ["impossible"]
    fleet.still_works()


@pytest.mark.parametrize("lease", [999_999_999, 500_000_001, 200_000])
def test_a_lease_that_never_was_leaves_the_run_its_numbers(lease: int) -> None:
    fleet = Fleet(Desk())
    due = fleet.taken()
    fleet.bad.say(due.identity, Refused(why=JobRefusal.CEILING, detail="no"))
    strange = AttemptId(run=due.identity.run, attempt=1, lease=lease)
    fleet.bad.journal = [JournalEntry(identity=strange, job="1" * 64, mark=Mark.REFUSED, last_event=1)]
    for _ in range(4):
        fleet.bad.breathe()
    assert fleet.coordinator.row(Run, due.identity.run).lease < 10
    assert len(fleet.alarms()) == 1
    fleet.still_works()


@pytest.mark.parametrize("kind", [Events, Receipt])
def test_nesting_without_end_in_a_signed_message(kind: type[Events] | type[Receipt]) -> None:
    fleet = Fleet(Desk())
    fleet.bad.uplink.send(fleet.bad.key.sign(kind.payload_type(), NESTED).model_dump_json())
    fleet.bad.uplink.send('{"payloadType":"x","payload":"é","signatures":[]}')
    fleet.coordinator.turn()
    fleet.still_works()


def test_nesting_without_end_in_a_signed_heartbeat() -> None:
    fleet = Fleet(Desk())
    envelope = fleet.bad.key.sign(Heartbeat.payload_type(), NESTED)
    fleet.bad.uplink.set_heartbeat(envelope.model_dump_json())
    fleet.coordinator.turn()
    fleet.bad.uplink.set_heartbeat(envelope.model_copy(update={"payload": "é"}).model_dump_json())
    fleet.coordinator.turn()
    fleet.still_works()


def test_a_receipt_that_is_about_something_else_than_it_claims() -> None:
    fleet = Fleet(Desk())
    due = fleet.taken()
    fleet.bad.start(due)
    honest = fleet.bad.receipt(due)
    body = json.loads(honest.body())
    body["subject"] = [{"name": "main", "digest": {"gitCommit": "f" * 40}}]
    forged = fleet.bad.key.sign(Receipt.payload_type(), json.dumps(body).encode())
    with pytest.raises(WireRefusal, match="subjects"):
        open_as(Receipt, forged, {fleet.bad.key.public.keyid: fleet.bad.key.public})
    fleet.bad.uplink.send(forged.model_dump_json())
    fleet.coordinator.turn()
    assert fleet.coordinator.rows(StoredReceipt) == [] and len(fleet.alarms()) == 1
    fleet.bad.uplink.send(honest.model_dump_json())
    fleet.coordinator.turn()
    assert len(fleet.coordinator.rows(StoredReceipt)) == 1


def test_what_a_liar_says_of_costs_stays_a_number() -> None:
    fleet = Fleet(Desk())
    due = fleet.taken()
    fleet.bad.start(due)
    body = json.loads(fleet.bad.receipt(due).body())
    for usage in ({"cost_usd": "1E+9999999"}, {"input_tokens": 10**30}):
        body["predicate"]["usage"] |= usage
        fleet.bad.uplink.send(
            fleet.bad.key.sign(Receipt.payload_type(), json.dumps(body).encode()).model_dump_json()
        )
        fleet.coordinator.turn()
    assert fleet.coordinator.rows(StoredReceipt) == []
    fleet.coordinator.check_books()
    fleet.still_works()


def test_a_node_that_never_stops_talking_does_not_fill_the_ledger() -> None:
    fleet = Fleet(Desk())
    due = fleet.taken()
    fleet.bad.start(due)
    fleet.coordinator.turn()
    for _ in range(3):
        fleet.bad.say(due.identity, Finding(level="info", text="x" * 1_000_000))
    fleet.coordinator.turn()
    told = fleet.coordinator.rows(Decision, run=due.identity.run)
    assert max(len(one.detail) for one in told) == TOLD_CHARS
    core = fleet.coordinator.core
    with core.ports.ledger.transaction() as tx:
        tx.insert(Decision(due.identity.run, MOST_TOLD, 0, "node", "n", "v", ""))
    for _ in range(3):
        fleet.bad.say(due.identity, Finding(level="info", text="one more"))
    fleet.coordinator.turn()
    fleet.bad.deliver(due)
    fleet.coordinator.turn()
    kinds = [
        one.kind for one in fleet.coordinator.rows(Decision, run=due.identity.run) if one.number > MOST_TOLD
    ]
    assert kinds == ["settle"]
    fleet.still_works()


@pytest.mark.parametrize("what", ["exit_code", "signal", "epoch", "started_wall_ms", "last_event"])
def test_a_number_that_no_column_holds_is_not_believed(what: str) -> None:
    fleet = Fleet(Desk())
    due = fleet.taken()
    fleet.bad.start(due)
    body = json.loads(fleet.bad.receipt(due).body())
    body["predicate"][what] = 2**70
    forged = fleet.bad.key.sign(Receipt.payload_type(), json.dumps(body).encode())
    with pytest.raises(WireRefusal, match=what):
        open_as(Receipt, forged, {fleet.bad.key.public.keyid: fleet.bad.key.public})
    fleet.bad.uplink.send(forged.model_dump_json())
    fleet.coordinator.turn()
    assert len(fleet.alarms()) == 1
    fleet.still_works()


MOST_COST = Usage(cost_usd=MOST_USD, cost_source="reported", input_tokens=10**12, output_tokens=10**12)


LIMITS = {"wall_ms": 60_000, "idle_ms": 60_000, "output_bytes": 1_000_000}


@pytest.mark.parametrize(
    ("runtime", "limit", "counts"),
    [
        ("claude", "0.50", "0.50"),
        ("claude", None, "7.50"),
        ("shell", None, "0"),
        ("shell", "0.50", "0"),
        ("scripted", None, "0"),
        ("scripted", "0.50", "0.50"),
    ],
)
def test_what_is_claimed_beyond_its_job_is_disputed_and_no_ceiling_counts_it(
    runtime: str, limit: str | None, counts: str
) -> None:
    """One receipt shut admission for the whole fleet and the whole day: a claim of 10^15 counted as $105."""
    fleet = Fleet(Desk())
    due = fleet.taken(runtime=runtime, limits={**LIMITS, "usd": limit})
    fleet.bad.carry_out(due, usage=MOST_COST.model_copy(update={"agent_ms": 10**11}))
    run = fleet.coordinator.row(Run, due.identity.run)
    assert run.state is RunState.ENDED and run.outcome is Outcome.DONE
    counted, claimed = Decimal(counts), MOST_USD
    for balance in fleet.coordinator.rows(Balance):
        assert (balance.spent_usd, balance.disputed_usd) == (counted, claimed - counted), balance.scope
        assert (balance.reserved_usd, balance.agent_ms) == (0, 60_000 + 600_000)
    assert [a.what for a in fleet.alarms()] == ["claim disputed"]
    assert any(one.verdict == "claim disputed" for one in fleet.coordinator.rows(Decision, run=run.id))
    usage = fleet.coordinator.row(Attempt, run.id, 1).usage
    assert (usage["cost_usd"], usage["disputed_usd"]) == (f"{counted:f}", f"{claimed - counted:f}")
    fleet.coordinator.check_books()
    fleet.still_works()


def test_an_honest_claim_within_its_job_is_not_disputed() -> None:
    fleet = Fleet(Desk())
    due = fleet.taken(runtime="claude", limits={**LIMITS, "usd": "0.50"})
    fleet.bad.carry_out(
        due, usage=MOST_COST.model_copy(update={"cost_usd": Decimal("0.5"), "input_tokens": 9})
    )
    balance = fleet.coordinator.row(Balance, "node:bad")
    assert (balance.spent_usd, balance.disputed_usd) == (Decimal("0.5"), 0)
    (alarm,) = fleet.alarms()
    assert alarm.what == "claim cut" and alarm.detail["why"].endswith(" counted as 10000000"), "its tokens"


def test_the_last_call_passes_a_limit_and_that_is_no_attack() -> None:
    fleet = Fleet(Desk())
    due = fleet.taken(runtime="claude", limits={**LIMITS, "usd": "0.50"})
    fleet.bad.carry_out(due, usage=Usage(cost_usd=Decimal("0.53"), cost_source="reported"))
    assert fleet.coordinator.row(Balance, "node:bad").disputed_usd == Decimal("0.03")
    said = [(a.domain, a.level) for a in fleet.coordinator.rows(Audit) if a.what == "claim disputed"]
    assert said == [("budget", "warning")] and fleet.alarms() == []


@pytest.mark.parametrize("real", ["0", "0.50", "3.25"])
def test_a_user_says_what_a_disputed_run_has_cost_and_that_is_the_end_of_it(real: str) -> None:
    fleet = Fleet(Desk())
    due = fleet.taken(runtime="claude", limits={**LIMITS, "usd": "0.50"})
    fleet.bad.carry_out(due, usage=MOST_COST)
    core, run = fleet.coordinator.core, due.identity.run
    assert settle_by_hand(core, run, Decimal(real), "ana") == 1
    for balance in fleet.coordinator.rows(Balance):
        assert (balance.spent_usd, balance.disputed_usd) == (Decimal(real), 0), balance.scope
    usage = fleet.coordinator.row(Attempt, run, 1).usage
    assert (usage["cost_usd"], usage["cost_source"]) == (real, "settled") and "disputed_usd" not in usage
    with pytest.raises(UsageError, match="neither unknown nor disputed"):
        settle_by_hand(core, run, Decimal(1), "ana")
    fleet.coordinator.check_books()


def test_the_disputed_claim_of_a_lost_node_that_comes_late_stands_beside_its_limit() -> None:
    fleet = Fleet(Desk())
    due = fleet.taken(runtime="claude", limits={**LIMITS, "usd": "0.50"})
    fleet.bad.start(due)
    for _ in range(100):
        fleet.coordinator.turn(10_000)
    assert fleet.coordinator.row(Run, due.identity.run).outcome is Outcome.LOST
    fleet.bad.deliver(due, usage=MOST_COST)
    fleet.bad.breathe()
    balance = fleet.coordinator.row(Balance, "node:bad")
    assert (balance.spent_usd, balance.disputed_usd) == (Decimal("0.50"), MOST_USD - Decimal("0.50"))
    assert balance.unknown_runs == 0 and balance.reserved_usd == 0
    fleet.coordinator.check_books()


def test_what_is_told_on_the_way_is_cut_too() -> None:
    fleet = Fleet(Desk())
    due = fleet.taken()
    fleet.bad.start(due)
    fleet.bad.say(due.identity, Progress(input_tokens=1, output_tokens=1, cost_usd=MOST_USD))
    fleet.coordinator.turn()
    assert fleet.coordinator.row(Attempt, due.identity.run, 1).usage["cost_usd"] == "7.50"


def test_no_sum_of_claims_refuses_the_receipt_of_another_node() -> None:
    """Defect 4: 512 receipts of one node brought a scope to 2^63, and the 513th, of another, was dropped."""
    fleet = Fleet(Desk(ceiling="100000"))
    core = fleet.coordinator.core
    with unit_of_work(core) as work:
        earlier = BookEntry(
            "e-1", 0, "agent:builder", EntryKind.SPEND, "r-none", 1, 1, Decimal(0), 2**63 - 10**7
        )
        work.book([earlier])
    due = fleet.taken()
    fleet.bad.carry_out(due, usage=MOST_COST)
    assert fleet.coordinator.row(Balance, "agent:builder").tokens == books.MOST_SUM
    fleet.still_works()
    fleet.coordinator.check_books()


def test_a_rejection_quotes_no_more_than_a_line_of_a_long_claim() -> None:
    fleet = Fleet(Desk())
    due = fleet.taken()
    fleet.bad.start(due)
    gate = GateResult(name="g", argv=("x" * 500_000,), passed=True, exit_code=0, duration_ms=1)
    fleet.bad.deliver(due, gates=(gate,))
    fleet.coordinator.turn()
    assert len(fleet.coordinator.row(Run, due.identity.run).reason) <= REASON_CHARS


def test_a_node_finds_no_end_of_reasons_for_the_record() -> None:
    fleet = Fleet(Desk())
    for number in range(100):
        code = list(ProblemCode)[number % len(ProblemCode)]
        problem = NodeProblem(what=f"job {number} was not believed: late ({number} times)", code=code)
        fleet.bad.facts = facts(problems=(problem,))
        fleet.bad.heartbeat()
        fleet.coordinator.turn()
    assert len(fleet.alarms()) == len(FORGED)
    fleet.still_works()


def invalid(fleet: Fleet, due: Job, **changes: Any) -> Any:
    """A receipt with a value that none may have, signed by the liar as it is."""
    made = json.loads(fleet.bad.receipt(due).body())
    made["predicate"] |= changes
    return fleet.bad.key.sign(Receipt.payload_type(), json.dumps(made).encode())


@pytest.mark.parametrize("changes", [{"reason": None}, {"last_event": -1}, {"outcome": "splendid"}])
def test_a_receipt_with_an_invalid_field_ends_its_run(changes: dict[str, Any]) -> None:
    """Rightly signed, and none that anybody could show: the run does not collect for ever."""
    fleet = Fleet(Desk())
    due = fleet.taken()
    fleet.bad.start(due)
    envelope = invalid(fleet, due, **changes)
    for _ in range(3):
        fleet.bad.uplink.send(envelope.model_dump_json())
        fleet.coordinator.turn()
    run = fleet.coordinator.row(Run, due.identity.run)
    assert (run.state, run.outcome, run.failure) == (
        RunState.ENDED,
        Outcome.INFRA,
        FailureKind.RECEIPT_REJECTED,
    )
    assert run.reason.startswith(f"its receipt cannot be read: predicate.{next(iter(changes))}: ")
    told = [c.body for c in fleet.bad.controls() if isinstance(c.body, Reject)]
    assert [(one.identity, one.receipt) for one in told] == [(due.identity, envelope.digest())]
    assert [(a.what, a.detail["code"]) for a in fleet.alarms()] == [("message refused", "invalid_field")]
    assert fleet.coordinator.rows(StoredReceipt) == []
    fleet.still_works()
    fleet.coordinator.check_books()


def test_an_invalid_receipt_ends_nothing_of_another_and_nothing_that_is_over() -> None:
    fleet = Fleet(Desk())
    due = fleet.taken()
    fleet.bad.carry_out(due, exit_code=0)
    before = fleet.coordinator.row(Run, due.identity.run)
    fleet.coordinator.dispatch("r-hers", node="good")
    fleet.good.breathe()
    hers = fleet.good.take()
    fleet.good.start(hers)
    fleet.coordinator.turn()
    running = fleet.coordinator.row(Run, "r-hers")
    for identity in (due.identity.model_dump(), hers.identity.model_dump(), {"run": 7}, None):
        envelope = invalid(fleet, due, reason=None, identity=identity)
        fleet.bad.uplink.send(envelope.model_dump_json())
    fleet.coordinator.turn()
    assert (fleet.coordinator.row(Run, due.identity.run), fleet.coordinator.row(Run, "r-hers")) == (
        before,
        running,
    )
    assert not [c for c in fleet.good.controls() if isinstance(c.body, Reject)]
