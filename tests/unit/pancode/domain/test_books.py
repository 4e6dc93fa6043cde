"""The books under every order of events: balances are sums of entries, holds stay below the ceiling."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta, timezone
from decimal import Decimal
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pancode.domain import books
from pancode.domain.books import Account, Spent, Stamp
from pancode.domain.records import Balance, Entry, EntryKind

DAY, AGENT, NODE = "day:2026-11-20", "agent:builder", "node:desk"
CENTS = st.integers(0, 300).map(lambda cents: Decimal(cents) / 100)


def stamps() -> Callable[[], Stamp]:
    numbers = count(1)
    return lambda: Stamp(1, lambda: f"e{next(numbers)}")


class Books(RuleBasedStateMachine):
    """Attempts that are held, bound, settled, lost, released and corrected in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Entry] = []
        self.balances: dict[str, Balance] = {}
        self.stamp = stamps()
        self.open: list[Account] = []
        self.unknown: list[Account] = []
        self.actual: dict[str, Decimal] = {}
        self.ceiling = Decimal(5)
        self.runs = 0

    def book(self, made: list[Entry]) -> None:
        for entry in made:
            self.entries.append(entry)
            before = self.balances.get(entry.scope, Balance(entry.scope))
            self.balances[entry.scope] = books.apply(before, entry)

    def of(self, account: Account) -> list[Entry]:
        return [entry for entry in self.entries if entry.run == account.run]

    def balance(self, scope: str) -> Balance:
        return self.balances.get(scope, Balance(scope))

    @initialize(ceiling=CENTS)
    def set_ceiling(self, ceiling: Decimal) -> None:
        self.ceiling = ceiling

    @rule(usd=CENTS)
    def admit(self, usd: Decimal) -> None:
        balance = self.balance(DAY)
        committed = balance.spent_usd + balance.held_usd
        if not books.fits(balance, self.ceiling, usd):
            assert committed + usd > self.ceiling
            return
        self.runs += 1
        account = Account(f"r-{self.runs}", 1, 1)
        self.book(books.hold((DAY, AGENT), Account(account.run, 1), usd, self.stamp()))
        self.book(books.hold((NODE,), account, usd, self.stamp()))
        self.open.append(account)
        assert self.balance(DAY).spent_usd + self.balance(DAY).held_usd <= self.ceiling

    @precondition(lambda self: self.open)
    @rule(usd=st.none() | CENTS, data=st.data())
    def settle(self, usd: Decimal | None, data: st.DataObject) -> None:
        account = self._take(self.open, data)
        self.book(books.settle(self.of(account), account, Spent(usd, 10, 20, "reported"), self.stamp()))
        if usd is None:
            self.unknown.append(account)
        else:
            self.actual[account.run] = usd

    @precondition(lambda self: self.open)
    @rule(usd=st.none() | CENTS, data=st.data())
    def lose(self, usd: Decimal | None, data: st.DataObject) -> None:
        account = self._take(self.open, data)
        self.book(books.lose(self.of(account), account, Spent(usd), self.stamp()))
        self.actual[account.run] = usd or Decimal(0)
        self.unknown.append(account)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        account = self._take(self.open, data)
        self.book(books.release(self.of(account), account, self.stamp(), "never started"))

    @precondition(lambda self: self.unknown)
    @rule(usd=CENTS, data=st.data())
    def learn(self, usd: Decimal, data: st.DataObject) -> None:
        account = self._take(self.unknown, data)
        self.book(books.settle_unknown(self.of(account), account, Spent(usd), self.stamp()))
        self.actual[account.run] = usd

    def _take(self, accounts: list[Account], data: st.DataObject) -> Account:
        return accounts.pop(data.draw(st.integers(0, len(accounts) - 1)))

    @invariant()
    def balances_are_sums_of_entries(self) -> None:
        for scope, balance in self.balances.items():
            assert balance == books.total(scope, [e for e in self.entries if e.scope == scope])

    @invariant()
    def every_scope_tells_the_same_story(self) -> None:
        told = {
            (b.spent_usd, b.held_usd, b.unknown_runs, b.tokens)
            for b in (self.balance(DAY), self.balance(AGENT), self.balance(NODE))
        }
        assert len(told) == 1
        assert self.balance(DAY).runs == self.balance(AGENT).runs == self.runs

    @invariant()
    def what_was_really_spent_is_booked_and_unknown_is_never_zero(self) -> None:
        balance = self.balance(DAY)
        assert balance.spent_usd == sum(self.actual.values(), Decimal(0))
        assert balance.unknown_runs == len(self.unknown)
        assert balance.held_usd >= 0
        if not self.open and not self.unknown:
            assert balance.held_usd == 0

    @invariant()
    def ids_are_unique(self) -> None:
        assert len({entry.id for entry in self.entries}) == len(self.entries)


Books.TestCase.settings = settings(max_examples=120, stateful_step_count=25, deadline=None)
TestBooks = Books.TestCase


def test_a_day_is_the_coordinators_own() -> None:
    midnight_utc = 1_795_132_800_000
    assert books.day_scope(midnight_utc, timezone(timedelta(hours=1))) == "day:2026-11-20"
    assert books.day_scope(midnight_utc, timezone(timedelta(hours=-1))) == "day:2026-11-19"
    assert books.day_scope(midnight_utc - 1, timezone(timedelta(0))) == "day:2026-11-19"


def test_a_lost_hold_stands_less_what_was_sworn_to() -> None:
    stamp, account = stamps(), Account("r-1", 1, 1)
    held = books.hold((DAY,), account, Decimal("0.75"), stamp())
    lost = books.lose(held, account, Spent(Decimal("0.20")), stamp())
    balance = books.total(DAY, [*held, *lost])
    assert (balance.spent_usd, balance.held_usd, balance.unknown_runs) == (
        Decimal("0.20"),
        Decimal("0.55"),
        1,
    )


def test_a_cost_above_the_hold_is_booked_in_full() -> None:
    stamp, account = stamps(), Account("r-1", 1, 1)
    held = books.hold((DAY,), account, Decimal("0.75"), stamp())
    spent = books.settle(held, account, Spent(Decimal(12), 5, 6, "reported"), stamp())
    balance = books.total(DAY, [*held, *spent])
    assert (balance.spent_usd, balance.held_usd, balance.tokens, balance.agent_ms) == (
        Decimal(12),
        Decimal(0),
        5,
        6,
    )
    assert not books.fits(balance, Decimal(10), Decimal(0))


def test_settling_twice_changes_nothing_more() -> None:
    stamp, account = stamps(), Account("r-1", 1, 1)
    entries = books.hold((DAY,), account, Decimal(1), stamp())
    entries += books.settle(entries, account, Spent(Decimal("0.5")), stamp())
    assert books.settle(entries, account, Spent(Decimal("0.5")), stamp()) == []
    assert books.release(entries, account, stamp(), "x") == []
    assert books.settle_unknown(entries, account, Spent(Decimal(3)), stamp()) == []


def test_attempts_of_a_run_are_held_apart_and_counted_once() -> None:
    stamp, first = stamps(), Account("r-1", 1, 1)
    entries = books.hold((DAY,), Account("r-1", 1), Decimal(1), stamp())
    entries += books.hold((DAY,), Account("r-1", 2), Decimal(2), stamp())
    entries += books.settle(entries, first, Spent(Decimal("0.25")), stamp())
    balance = books.total(DAY, entries)
    assert (balance.spent_usd, balance.held_usd, balance.runs) == (Decimal("0.25"), Decimal(2), 1)


def test_the_refusal_has_the_numbers() -> None:
    balance = Balance(DAY, Decimal("9.5"), Decimal("0.1"))
    assert books.refusal(balance, Decimal(10), Decimal("0.75")) == (
        "Dispatch blocked: Budget ceiling would be exceeded "
        "(spent: $9.50, held: $0.10, estimated next: $0.75, ceiling: $10.00)"
    )


@pytest.mark.parametrize("kind", list(EntryKind))
def test_every_kind_of_entry_changes_the_balance_in_its_own_way(kind: EntryKind) -> None:
    entry = Entry("e", 1, DAY, kind, "r-1", 1, 1, Decimal(1), tokens=2)
    after = books.apply(Balance(DAY, Decimal(5), Decimal(5), 1), entry)
    changed = [after.spent_usd - 5, after.held_usd - 5, after.unknown_runs - 1, after.tokens]
    expected = {
        EntryKind.HOLD: [0, 1, 0, 0],
        EntryKind.RELEASE: [0, -1, 0, 0],
        EntryKind.SPEND: [1, 0, 0, 2],
        EntryKind.CORRECT: [1, 0, 0, 2],
        EntryKind.UNKNOWN: [0, 0, 1, 2],
    }
    assert changed == [Decimal(change) for change in expected[kind]]
