"""A running attempt asks for a larger reservation: it gets what its limit and every ceiling allow."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from node_agent.wire.control import BudgetAnswers
from node_agent.wire.event import BudgetAsked, Marked, Progress
from node_agent.wire.identity import Mark
from node_agent.wire.receipt import Usage
from pancode.budget import books
from pancode.budget.books import BudgetScope
from pancode.kernel.records import Balance, EntryKind
from pancode.kernel.values import replace
from pancode.runs.life.case import RunCase
from pancode.runs.life.changes import Changes
from pancode.runs.life.node_events import NodeReported
from tests.unit.pancode.runs.life.cases import AT, DAY, admitted, decide, offered, receipt, said

WEEK = "week:2026-W47"


def running(**run: object) -> RunCase:
    """An attempt that reserves $1 and works on n1 with a paid model."""
    case = said(offered(admitted(**{"runtime": "native", **run})), Marked(mark=Mark.SPAWNED)).case
    return replace(case, leases=case.leases)


def scope(name: str, ceiling: str | None, spent: str = "0", reserved: str = "1") -> BudgetScope:
    balance = Balance(name, spent_usd=Decimal(spent), reserved_usd=Decimal(reserved))
    return BudgetScope(balance, books.Ceilings(usd=None if ceiling is None else Decimal(ceiling)))


def ask(case: RunCase, usd: str, scopes: Sequence[BudgetScope], *earlier: Progress) -> Changes:
    bodies: tuple[Progress | BudgetAsked, ...] = (*earlier, BudgetAsked(number=3, usd=Decimal(usd)))
    first = case.lease.cursor + 1
    return decide(case, *(NodeReported(first + n, body, AT, tuple(scopes)) for n, body in enumerate(bodies)))


def answer_in(made: Changes) -> BudgetAnswers:
    (sent,) = (one.body for one in made.controls if isinstance(one.body, BudgetAnswers))
    assert sent.number == 3
    return sent


@pytest.mark.parametrize(
    ("asked", "scopes", "limit", "usd", "words"),
    [
        ("1.2", [scope(DAY, None)], None, "2", ""),
        ("3", [scope(DAY, "100")], None, "3", ""),
        ("1.2", [scope(DAY, "1.3")], None, "1.3", ""),
        ("1.2", [scope(DAY, "10", spent="8.9")], None, "1.1", DAY),
        ("1.2", [scope(DAY, "10", spent="9")], None, "1", DAY),
        ("1.2", [scope(DAY, "0.5")], None, "1", DAY),
        ("1.2", [scope(DAY, "100"), scope(WEEK, "1.1")], None, "1.1", WEEK),
        ("1.2", [scope(DAY, "100")], "1.5", "1.5", ""),
        ("1.6", [scope(DAY, "100")], "1.5", "1.5", "the limit of this run is $1.50"),
        ("11", [scope(DAY, "100")], None, "10", "the limit of this run is $10.00"),
        ("1.2", [scope(f"repo:/{'long/' * 200}", "1.1")], None, "1.1", "the ceiling of repo:/long/"),
    ],
)
def test_the_answer(asked: str, scopes: list[BudgetScope], limit: str | None, usd: str, words: str) -> None:
    case = running()
    if limit is not None:
        case = replace(case, run=replace(case.run, limits={**case.run.limits, "usd": limit}))
    made = ask(case, asked, scopes)
    answer = answer_in(made)
    assert answer.usd == Decimal(usd) and words in answer.words and bool(answer.words) is bool(words)
    assert made.attempt.reserved_usd == Decimal(usd)
    reserved = books.find_reserved([*case.entries, *made.booked], 1)
    assert reserved[DAY] == Decimal(usd), "the whole answer is reserved under the ceilings"


def test_what_was_reserved_for_an_earlier_event_of_the_same_message_is_not_given_twice() -> None:
    spent = Progress(input_tokens=1, output_tokens=1, cost_usd=Decimal("1.6"))
    made = ask(running(), "2", [scope(DAY, "1.8")], spent)
    assert answer_in(made).usd == made.attempt.reserved_usd == Decimal("1.8")


def test_what_was_spent_beyond_the_reservation_counts_at_once() -> None:
    case = running()
    made = said(case, Progress(input_tokens=1, output_tokens=1, cost_usd=Decimal("2.5")))
    assert books.find_reserved([*case.entries, *made.booked], 1)[DAY] == Decimal("2.5")
    made = said(case, Progress(input_tokens=1, output_tokens=1, cost_usd=Decimal(25)))
    assert books.find_reserved([*case.entries, *made.booked], 1)[DAY] == Decimal(10), "its limit"
    assert made.attempt.usage[books.DISPUTED] == "15", "the row says by how much it is over"


@pytest.mark.parametrize(("source", "booked"), [("metered", "10.9"), ("reported", "10")])
def test_the_last_call_that_a_gateway_metered_is_booked_and_not_disputed(source: str, booked: str) -> None:
    case = running()
    usage = Usage.model_validate({"cost_usd": Decimal("10.9"), "cost_source": source, "input_tokens": 10})
    made = decide(case, receipt(case, usage=usage))
    spent = [entry.usd for entry in made.booked if entry.kind is EntryKind.SPEND and entry.scope == DAY]
    assert spent == [Decimal(booked)]
