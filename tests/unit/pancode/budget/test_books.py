"""The books under every order of events: balances are sums of entries, and reservations fit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta, timezone
from decimal import Decimal
from itertools import count, permutations
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pancode.budget import books
from pancode.budget.books import Account, Amount, Ceilings, Spent, Stamp
from pancode.kernel.records import Balance, BookEntry, EntryKind

DAY, AGENT, NODE = "day:2026-11-20", "agent:builder", "node:desk"
CENTS = st.integers(0, 300).map(lambda cents: Decimal(cents) / 100)
FEW = st.integers(0, 50)


def stamps() -> Callable[[], Stamp]:
    numbers = count(1)
    return lambda: Stamp(1, lambda: f"e{next(numbers)}")


class Books(RuleBasedStateMachine):
    """Attempts that are reserved, bound, settled, lost, released and corrected in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[BookEntry] = []
        self.balances: dict[str, Balance] = {}
        self.stamp = stamps()
        self.open: list[Account] = []
        self.unknown: list[Account] = []
        self.disputed: dict[Account, Decimal] = {}
        self.due: dict[Account, Amount] = {}
        self.actual: dict[str, Decimal] = {}
        self.ceiling = Ceilings(Decimal(5))
        self.runs = 0

    def book(self, made: list[BookEntry]) -> None:
        for entry in made:
            self.entries.append(entry)
            before = self.balances.get(entry.scope, Balance(entry.scope))
            self.balances[entry.scope] = books.apply_entry(before, entry)

    def of(self, account: Account) -> list[BookEntry]:
        """In any order: a ledger promises none, and ids are random."""
        mine = [entry for entry in self.entries if entry.run == account.run]
        self.order.shuffle(mine)
        return mine

    def balance(self, scope: str) -> Balance:
        return self.balances.get(scope, Balance(scope))

    @initialize(ceiling=CENTS, tokens=st.none() | FEW, ms=st.none() | FEW, order=st.randoms())
    def set_ceiling(self, ceiling: Decimal, tokens: int | None, ms: int | None, order: Any) -> None:
        self.order = order
        self.ceiling = Ceilings(ceiling, tokens, ms)

    def over(self, more: Amount) -> bool:
        """Whether it would be more than one of the ceilings, reckoned by hand."""
        balance, ceiling = self.balance(DAY), self.ceiling
        sums = (
            (balance.spent_usd + balance.reserved_usd, more.usd, ceiling.usd),
            (balance.tokens + balance.reserved_tokens, more.tokens, ceiling.tokens),
            (balance.agent_ms + balance.reserved_ms, more.ms, ceiling.ms),
        )
        return any(most is not None and due and all_ + due > most for all_, due, most in sums)

    @rule(usd=CENTS, tokens=FEW, ms=FEW)
    def admit(self, usd: Decimal, tokens: int, ms: int) -> None:
        due = Amount(usd, tokens, ms)
        assert books.is_within_ceilings(self.balance(DAY), self.ceiling, due) is not self.over(due)
        if self.over(due):
            return
        self.runs += 1
        account = Account(f"r-{self.runs}", 1, 1)
        self.book(books.reserve_amount((DAY, AGENT), Account(account.run, 1), due, self.stamp()))
        self.book(books.reserve_amount((NODE,), account, due, self.stamp()))
        self.open.append(account)
        self.due[account] = due
        assert not self.over(Amount())

    @precondition(lambda self: self.open)
    @rule(usd=CENTS, data=st.data())
    def hand_over(self, usd: Decimal, data: st.DataObject) -> None:
        """It holds its whole limit from then on, where that fits."""
        account = data.draw(st.sampled_from(self.open))
        made = books.raise_reserved(self.of(account), account, usd, self.stamp())
        if not self.over(Amount(max((entry.usd for entry in made), default=Decimal(0)))):
            self.book(made)
            assert books.raise_reserved(self.of(account), account, usd, self.stamp()) == []

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        """It holds its estimate again, and is bound anew."""
        account = data.draw(st.sampled_from(self.open))
        due = self.due[account]
        self.book(books.release_reserved(self.of(account), account, self.stamp(), "taken back", NODE))
        self.book(books.lower_reserved(self.of(account), account, due.usd, self.stamp(), "taken back"))
        held = books.find_reserved(self.of(account), account.attempt)
        assert held == {DAY: due.usd, AGENT: due.usd}
        self.book(books.reserve_amount((NODE,), account, due, self.stamp()))

    @precondition(lambda self: self.open)
    @rule(usd=st.none() | CENTS, beyond=CENTS, data=st.data())
    def settle(self, usd: Decimal | None, beyond: Decimal, data: st.DataObject) -> None:
        account = self._take(self.open, data)
        made = books.settle_attempt(self.of(account), account, Spent(usd, 10, 20, "reported"), self.stamp())
        self.book([*made, *books.book_dispute(made, account, beyond, self.stamp())])
        if usd is not None and beyond:
            self.disputed[account] = beyond
        if usd is None:
            self.unknown.append(account)
        else:
            self.actual[account.run] = usd
            assert books.settle_attempt(self.of(account), account, Spent(usd), self.stamp()) == [], (
                "settled once"
            )

    @precondition(lambda self: self.open)
    @rule(usd=st.none() | CENTS, data=st.data())
    def lose(self, usd: Decimal | None, data: st.DataObject) -> None:
        account = self._take(self.open, data)
        self.book(books.settle_lost(self.of(account), account, Spent(usd), self.stamp()))
        self.actual[account.run] = usd or Decimal(0)
        self.unknown.append(account)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        account = self._take(self.open, data)
        self.book(books.release_reserved(self.of(account), account, self.stamp(), "never started"))

    @precondition(lambda self: self.unknown)
    @rule(usd=CENTS, data=st.data())
    def learn(self, usd: Decimal, data: st.DataObject) -> None:
        account = self._take(self.unknown, data)
        self.book(books.settle_unknown(self.of(account), account, Spent(usd), self.stamp()))
        self.actual[account.run] = usd

    @precondition(lambda self: self.disputed)
    @rule(usd=CENTS)
    def look(self, usd: Decimal) -> None:
        account = next(iter(self.disputed))
        del self.disputed[account]
        hand = Account(account.run, account.attempt)
        self.book(books.settle_disputed(self.of(account), hand, usd, self.stamp()))
        assert books.settle_disputed(self.of(account), hand, usd, self.stamp()) == []
        self.actual[account.run] = usd

    @invariant()
    def a_disputed_claim_stands_beside_what_is_spent(self) -> None:
        found = books.find_disputed(e for e in self.entries if e.scope == DAY)
        assert found == {account.run: usd for account, usd in self.disputed.items()}
        assert {self.balance(one).disputed_usd for one in (DAY, AGENT, NODE)} == {sum(found.values())}

    def _take(self, accounts: list[Account], data: st.DataObject) -> Account:
        return accounts.pop(data.draw(st.integers(0, len(accounts) - 1)))

    @invariant()
    def balances_are_sums_of_entries(self) -> None:
        for scope, balance in self.balances.items():
            assert balance == books.sum_entries(scope, [e for e in self.entries if e.scope == scope])

    @invariant()
    def every_scope_tells_the_same_story(self) -> None:
        told = {
            (
                b.spent_usd,
                b.reserved_usd,
                b.unknown_runs,
                b.tokens,
                b.agent_ms,
                b.reserved_tokens,
                b.reserved_ms,
            )
            for b in (self.balance(DAY), self.balance(AGENT), self.balance(NODE))
        }
        assert len(told) == 1
        assert self.balance(DAY).runs == self.balance(AGENT).runs == self.runs

    @invariant()
    def what_was_really_spent_is_booked_and_unknown_is_never_zero(self) -> None:
        balance = self.balance(DAY)
        assert balance.spent_usd == sum(self.actual.values(), Decimal(0))
        assert balance.unknown_runs == len(self.unknown)
        told = books.unknown_runs([e for e in self.entries if e.scope == DAY])
        assert set(told) == {account.run for account in self.unknown}
        assert balance.reserved_usd >= 0 and balance.reserved_tokens >= 0 and balance.reserved_ms >= 0
        if not self.open and not self.unknown:
            assert (balance.reserved_usd, balance.reserved_tokens, balance.reserved_ms) == (Decimal(0), 0, 0)

    @invariant()
    def ids_are_unique(self) -> None:
        assert len({entry.id for entry in self.entries}) == len(self.entries)


Books.TestCase.settings = settings(max_examples=120, stateful_step_count=25, deadline=None)
TestBooks = Books.TestCase


@pytest.mark.parametrize("usd", [Decimal(0), Decimal("0.5")])
def test_a_job_that_a_node_gave_back_is_booked_once_whatever_the_order_of_entries(usd: Decimal) -> None:
    stamp, amount = stamps(), Amount(usd, 0, 600_000)
    first, second = Account("r-1", 1, 1), Account("r-1", 1, 2)
    made = books.reserve_amount((NODE,), first, amount, stamp())
    made += books.release_reserved(made, first, stamp(), "given back", NODE)
    made += books.reserve_amount((NODE,), second, amount, stamp())
    for entries in permutations(made):
        done = books.settle_attempt(entries, second, Spent(usd, 10, 5_000), stamp())
        assert [entry.kind for entry in done] == [EntryKind.RELEASE, EntryKind.SPEND]
        balance = books.sum_entries(NODE, [*entries, *done])
        assert (balance.reserved_usd, balance.reserved_ms, balance.agent_ms) == (Decimal(0), 0, 5_000)


@pytest.mark.parametrize("estimate", [Decimal(0), Decimal("0.5")])
def test_a_hold_that_was_raised_is_released_whole_whatever_the_order_of_entries(estimate: Decimal) -> None:
    stamp, account = stamps(), Account("r-1", 1, 1)
    made = books.reserve_amount((DAY,), Account("r-1", 1), Amount(estimate), stamp())
    made += books.raise_reserved(made, account, Decimal(2), stamp())
    for entries in permutations(made):
        done = books.settle_attempt(entries, account, Spent(Decimal(1)), stamp())
        assert books.find_reserved([*entries, *done], 1) == {}
        assert books.sum_entries(DAY, [*entries, *done]).reserved_usd == 0


def test_a_day_is_the_coordinators_own() -> None:
    midnight_utc = 1_795_132_800_000
    assert books.day_scope(midnight_utc, timezone(timedelta(hours=1))) == "day:2026-11-20"
    assert books.day_scope(midnight_utc, timezone(timedelta(hours=-1))) == "day:2026-11-19"
    assert books.day_scope(midnight_utc - 1, timezone(timedelta(0))) == "day:2026-11-19"


def test_a_lost_hold_stands_less_what_was_sworn_to() -> None:
    stamp, account = stamps(), Account("r-1", 1, 1)
    held = books.reserve_amount((DAY,), account, Amount(Decimal("0.75")), stamp())
    lost = books.settle_lost(held, account, Spent(Decimal("0.20")), stamp())
    balance = books.sum_entries(DAY, [*held, *lost])
    assert (balance.spent_usd, balance.reserved_usd, balance.unknown_runs) == (
        Decimal("0.20"),
        Decimal("0.55"),
        1,
    )


def test_tokens_and_time_of_a_receipt_take_the_place_of_their_hold_although_nobody_knows_the_cost() -> None:
    stamp, account = stamps(), Account("r-1", 1, 1)
    held = books.reserve_amount((DAY,), account, Amount(Decimal("0.75"), 100, 60_000), stamp())
    spent = books.settle_attempt(held, account, Spent(None, 30, 5_000), stamp())
    balance = books.sum_entries(DAY, [*held, *spent])
    assert (balance.reserved_usd, balance.reserved_tokens, balance.reserved_ms) == (Decimal("0.75"), 0, 0)
    assert (balance.tokens, balance.agent_ms) == (30, 5_000)
    rejected = books.settle_attempt(held, account, Spent(None), stamp())  # no receipt that could be believed
    balance = books.sum_entries(DAY, [*held, *rejected])
    assert (balance.reserved_tokens, balance.reserved_ms, balance.tokens) == (100, 60_000, 0)
    over = books.release_unknown([*held, *rejected], account, DAY, stamp())
    balance = books.sum_entries(DAY, [*held, *rejected, *over])
    assert (balance.reserved_usd, balance.reserved_tokens, balance.reserved_ms) == (Decimal(0), 0, 0)


def test_all_holds_of_an_unknown_cost_go_back_at_once_and_the_cost_stays_unknown() -> None:
    stamp, account = stamps(), Account("r-1", 1, 1)
    entries = books.reserve_amount((DAY, AGENT), account, Amount(Decimal(2), 100, 60_000), stamp())
    entries += books.settle_attempt(entries, account, Spent(None, 30, 5_000), stamp())
    entries += books.lapse_all(entries, account, stamp(), books.SUSPENDED)
    for scope in (DAY, AGENT):
        balance = books.sum_entries(scope, [entry for entry in entries if entry.scope == scope])
        assert (balance.reserved_usd, balance.unknown_runs, balance.tokens) == (Decimal(0), 1, 30)
    assert books.lapse_all(entries, account, stamp(), books.SUSPENDED) == []
    entries += books.settle_unknown(entries, account, Spent(Decimal(1)), stamp())
    balance = books.sum_entries(DAY, [entry for entry in entries if entry.scope == DAY])
    assert (balance.spent_usd, balance.reserved_usd, balance.unknown_runs) == (Decimal(1), Decimal(0), 0)


def test_what_an_attempt_of_unknown_cost_did_not_tell_stays_held() -> None:
    stamp, account = stamps(), Account("r-1", 1, 1)
    held = books.reserve_amount((DAY,), account, Amount(Decimal("0.75"), 100, 60_000), stamp())
    for spent, left in ((Spent(None, 0, 5_000), (100, 0)), (Spent(None, 30, 0), (0, 60_000))):
        balance = books.sum_entries(DAY, [*held, *books.settle_attempt(held, account, spent, stamp())])
        assert (balance.reserved_tokens, balance.reserved_ms) == left
        assert (balance.tokens, balance.agent_ms, balance.reserved_usd) == (*_work(spent), Decimal("0.75"))


def _work(spent: Spent) -> tuple[int, int]:
    return spent.tokens, spent.agent_ms


def test_a_late_receipt_without_a_cost_books_its_tokens_and_time_once() -> None:
    stamp, account = stamps(), Account("r-1", 1, 1)
    entries = books.reserve_amount((DAY,), account, Amount(Decimal("0.75"), 100, 60_000), stamp())
    entries += books.settle_lost(entries, account, Spent(None, 30, 5_000), stamp())
    late = Spent(None, 5_000, 90_000)
    entries += books.add_unknown(entries, account, late, stamp())
    assert books.add_unknown(entries, account, late, stamp()) == []
    balance = books.sum_entries(DAY, entries)
    assert (balance.tokens, balance.reserved_tokens, balance.agent_ms, balance.reserved_ms) == (
        5_000,
        0,
        90_000,
        0,
    )
    assert (balance.reserved_usd, balance.unknown_runs) == (Decimal("0.75"), 1)
    entries += books.settle_unknown(entries, account, Spent(Decimal(4), source="settled"), stamp())
    balance = books.sum_entries(DAY, entries)
    assert (balance.spent_usd, balance.reserved_usd, balance.unknown_runs) == (Decimal(4), Decimal(0), 0)
    assert (balance.tokens, balance.agent_ms) == (5_000, 90_000)


def test_what_a_second_node_used_for_the_same_attempt_is_booked_once_and_beside() -> None:
    stamp, first, second = stamps(), Account("r-1", 1, 1), Account("r-1", 1, 2)
    entries = books.reserve_amount((DAY, AGENT), Account("r-1", 1), Amount(Decimal("0.75")), stamp())
    entries += books.reserve_amount((NODE,), first, Amount(Decimal("0.75")), stamp())
    entries += books.reserve_amount(("node:other",), second, Amount(Decimal("0.75")), stamp())
    spent, other = Spent(Decimal(1), 10, 1_000), Spent(Decimal(2), 20, 2_000)
    assert books.add_second(entries, first, spent, stamp()) == []
    entries += books.release_reserved(entries, first, stamp(), "refused", NODE)
    entries += books.settle_attempt(entries, second, other, stamp())
    entries += books.add_second(entries, first, spent, stamp())
    assert books.add_second(entries, first, spent, stamp()) == []
    sums = {
        s: books.sum_entries(s, [e for e in entries if e.scope == s])
        for s in (DAY, AGENT, NODE, "node:other")
    }
    assert [total.spent_usd for total in sums.values()] == [3, 3, 1, 2]
    assert sums[DAY].tokens == 30


def test_what_an_attempt_used_that_was_believed_to_have_never_begun_is_booked_once() -> None:
    """A ledger that was put back does not know that a node has the order."""
    stamp, account = stamps(), Account("r-1", 1, 1)
    entries = books.reserve_amount((DAY, AGENT), Account("r-1", 1), Amount(Decimal("0.75")), stamp())
    entries += books.release_reserved(entries, Account("r-1", 1), stamp(), "stopped")
    for _ in range(2):
        entries += books.add_second(entries, account, Spent(Decimal(1), 10, 1_000), stamp())
    assert [books.sum_entries(s, [e for e in entries if e.scope == s]).spent_usd for s in (DAY, AGENT)] == [
        1,
        1,
    ]


def test_what_a_user_has_settled_is_not_booked_again() -> None:
    stamp, account = stamps(), Account("r-1", 1, 1)
    entries = books.reserve_amount((DAY,), Account("r-1", 1), Amount(Decimal("0.75")), stamp())
    entries += books.settle_lost(entries, account, Spent(None), stamp())
    entries += books.settle_unknown(entries, Account("r-1", 1), Spent(Decimal(4)), stamp())
    assert books.add_second(entries, account, Spent(Decimal(5)), stamp()) == []


def test_what_a_lost_machine_swore_to_is_booked_and_the_rest_stands() -> None:
    stamp, account = stamps(), Account("r-1", 1, 1)
    entries = books.reserve_amount((DAY,), account, Amount(Decimal("0.75"), 100, 60_000), stamp())
    entries += books.settle_lost(entries, account, Spent(None, 30, 5_000), stamp())
    balance = books.sum_entries(DAY, entries)
    assert (balance.tokens, balance.reserved_tokens, balance.agent_ms, balance.reserved_ms) == (
        30,
        70,
        5_000,
        55_000,
    )
    late = books.settle_unknown(entries, account, Spent(Decimal("0.2"), 90, 80_000), stamp())
    balance = books.sum_entries(DAY, [*entries, *late])
    assert (balance.tokens, balance.reserved_tokens, balance.agent_ms, balance.reserved_ms) == (
        90,
        0,
        80_000,
        0,
    )


def test_a_cost_above_the_hold_is_booked_in_full() -> None:
    stamp, account = stamps(), Account("r-1", 1, 1)
    held = books.reserve_amount((DAY,), account, Amount(Decimal("0.75")), stamp())
    spent = books.settle_attempt(held, account, Spent(Decimal(12), 5, 6, "reported"), stamp())
    balance = books.sum_entries(DAY, [*held, *spent])
    assert (balance.spent_usd, balance.reserved_usd, balance.tokens, balance.agent_ms) == (
        Decimal(12),
        Decimal(0),
        5,
        6,
    )
    assert not books.is_within_ceilings(balance, Ceilings(Decimal(10)), Amount(Decimal("0.01")))
    assert books.is_within_ceilings(balance, Ceilings(Decimal(10)), Amount(tokens=5, ms=6)), (
        "what costs nothing passes"
    )


def test_settling_twice_changes_nothing_more() -> None:
    stamp, account = stamps(), Account("r-1", 1, 1)
    entries = books.reserve_amount((DAY,), account, Amount(Decimal(1)), stamp())
    entries += books.settle_attempt(entries, account, Spent(Decimal("0.5")), stamp())
    assert books.settle_attempt(entries, account, Spent(Decimal("0.5")), stamp()) == []
    assert books.release_reserved(entries, account, stamp(), "x") == []
    assert books.settle_unknown(entries, account, Spent(Decimal(3)), stamp()) == []


def test_attempts_of_a_run_are_held_apart_and_counted_once() -> None:
    stamp, first = stamps(), Account("r-1", 1, 1)
    entries = books.reserve_amount((DAY,), Account("r-1", 1), Amount(Decimal(1)), stamp())
    entries += books.reserve_amount((DAY,), Account("r-1", 2), Amount(Decimal(2)), stamp())
    entries += books.settle_attempt(entries, first, Spent(Decimal("0.25")), stamp())
    balance = books.sum_entries(DAY, entries)
    assert (balance.spent_usd, balance.reserved_usd, balance.runs) == (Decimal("0.25"), Decimal(2), 1)


def test_the_refusal_has_the_numbers() -> None:
    balance = Balance(DAY, Decimal("9.5"), Decimal("0.1"))
    assert books.explain_refusal(balance, Ceilings(Decimal(10)), Amount(Decimal("0.75"))) == (
        "Dispatch blocked: Budget ceiling would be exceeded "
        "(spent: $9.50, reserved: $0.10, estimated next: $0.75, ceiling: $10.00)"
    )


def test_each_currency_is_refused_in_its_own_words() -> None:
    balance = Balance(DAY, tokens=9_500, agent_ms=90_000, reserved_tokens=100, reserved_ms=30_000)
    ceilings = Ceilings(Decimal(10), 10_000, 600_000)
    assert books.explain_refusal(balance, ceilings, Amount(tokens=400, ms=480_000)) == ""
    assert books.explain_refusal(balance, ceilings, Amount(tokens=401, ms=480_001)) == (
        "Dispatch blocked: Token ceiling would be exceeded "
        "(used: 9,500, reserved: 100, estimated next: 401, ceiling: 10,000)"
    )
    assert books.explain_refusal(balance, ceilings, Amount(ms=480_001)) == (
        "Dispatch blocked: Agent-minute ceiling would be exceeded "
        "(used: 1.5, reserved: 0.5, estimated next: 8.0, ceiling: 10.0)"
    )


@pytest.mark.parametrize("kind", list(EntryKind))
def test_every_kind_of_entry_changes_the_balance_in_its_own_way(kind: EntryKind) -> None:
    entry = BookEntry("e", 1, DAY, kind, "r-1", 1, 1, Decimal(1), tokens=2)
    after = books.apply_entry(Balance(DAY, Decimal(5), Decimal(5), 1), entry)
    changed = [after.spent_usd - 5, after.reserved_usd - 5, after.unknown_runs - 1, after.tokens]
    expected = {
        EntryKind.RESERVE: [0, 1, 0, 0],
        EntryKind.RELEASE: [0, -1, 0, 0],
        EntryKind.SPEND: [1, 0, 0, 2],
        EntryKind.CORRECT: [1, 0, 0, 2],
        EntryKind.UNKNOWN: [0, 0, 1, 2],
        EntryKind.DISPUTED: [0, 0, 0, 0],
    }
    assert changed == [Decimal(change) for change in expected[kind]]
    assert after.disputed_usd == (1 if kind is EntryKind.DISPUTED else 0)


def test_sums_of_money_are_exact_however_large() -> None:
    """Defect 22: Decimal rounds at 28 digits, and eleven of these have 29."""
    large, stamp = Decimal("999999999999999.999999999999"), stamps()
    entries: list[BookEntry] = []
    for number in range(11):
        account = Account(f"r-{number}", 1)
        held = books.reserve_amount((DAY,), account, Amount(Decimal("0.75")), stamp())
        entries += [*held, *books.settle_attempt(held, account, Spent(large), stamp())]
    assert books.sum_entries(DAY, entries).spent_usd == Decimal("10999999999999999.999999999989")
    assert books.sum_entries(DAY, entries).reserved_usd == 0
    assert books.sum_used([entry for entry in entries if entry.run == "r-0"], 2) == large


def test_counts_stop_where_a_column_ends_in_any_order() -> None:
    entries = [
        BookEntry(str(n), 0, DAY, EntryKind.SPEND, "r", 1, 1, Decimal(0), t)
        for n, t in enumerate((2**62,) * 3)
    ]
    assert (
        books.sum_entries(DAY, entries).tokens
        == books.sum_entries(DAY, reversed(entries)).tokens
        == books.MOST_SUM
    )


@pytest.mark.parametrize("dues", [("1", "2"), ("0", "2"), ("2", "0"), ("0", "0")])
def test_two_holds_of_one_attempt_are_settled_once(dues: tuple[str, str]) -> None:
    """The second settlement finds nothing open, and books no cost twice."""
    stamp, account = stamps(), Account("r-1", 1)
    entries: list[BookEntry] = []
    for due in dues:
        entries += books.reserve_amount((DAY,), account, Amount(Decimal(due)), stamp())
    spent = Spent(Decimal("1.5"), 10, 20, "reported")
    entries += books.settle_attempt(entries, account, spent, stamp())
    assert books.settle_attempt(entries, account, spent, stamp()) == []
    assert books.release_reserved(entries, account, stamp(), "again") == []
    balance = books.sum_entries(DAY, entries)
    assert (balance.reserved_usd, balance.spent_usd) == (Decimal(0), Decimal("1.5"))
