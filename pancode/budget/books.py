"""The books: reservations, costs, ceilings and their periods."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import reduce
from typing import Any, assert_never

from pancode.kernel.formatting import format_usd
from pancode.kernel.records import Balance, BookEntry, EntryKind, Run
from pancode.kernel.values import EXACT, replace

PERIODS = ("week", "month")
"""Periods whose balances are sums of days; nothing is booked in them, which saves rows per dispatch."""


def scope_of(period: str, wall_ms: int, tz: tzinfo | None = None) -> str:
    """Return the scope of the period with the coordinator's local day: `week:2026-W47`, `month:2026-11`."""
    day = datetime.fromtimestamp(wall_ms / 1000, UTC).astimezone(tz).date()
    year, week, _ = day.isocalendar()
    return f"week:{year}-W{week:02}" if period == "week" else f"month:{day:%Y-%m}"


def is_period(scope: str) -> bool:
    return scope.partition(":")[0] in PERIODS


def days_of(scope: str) -> list[str]:
    """Return the scopes of the days in this week or month, in order."""
    period, _, name = scope.partition(":")
    if period == "week":
        year, _, week = name.partition("-W")
        first, many = date.fromisocalendar(int(year), int(week), 1), 7
    else:
        first = date.fromisoformat(f"{name}-01")
        many = monthrange(first.year, first.month)[1]
    return [f"day:{first + timedelta(days=number)}" for number in range(many)]


def sum_balances(scope: str, balances: Iterable[Balance]) -> Balance:
    """Return the sum of these balances as the balance of this scope."""
    total = Balance(scope)
    for one in balances:
        total = Balance(
            scope,
            spent_usd=add_amounts(total.spent_usd, one.spent_usd),
            reserved_usd=add_amounts(total.reserved_usd, one.reserved_usd),
            unknown_runs=total.unknown_runs + one.unknown_runs,
            tokens=total.tokens + one.tokens,
            agent_ms=total.agent_ms + one.agent_ms,
            runs=total.runs + one.runs,
            reserved_tokens=total.reserved_tokens + one.reserved_tokens,
            reserved_ms=total.reserved_ms + one.reserved_ms,
            disputed_usd=add_amounts(total.disputed_usd, one.disputed_usd),
        )
    return total


ZERO = Decimal(0)
MOST_SUM = 2**63 - 1
"""The largest value of a column. Larger sums are capped to it, so that no receipt is refused for them."""
DISPUTED = "disputed_usd"
"""The usage key, in the ledger, of the amount claimed beyond the job's limit; the cost excludes it."""
NewId = Callable[[], str]
_SIGN = {EntryKind.RESERVE: 1, EntryKind.RELEASE: -1}
MINUTE_MS = 60_000
CHECK = "check"
"""The source of reservations of runs that check another run, and that therefore do not count as runs."""
_SPENDS = (EntryKind.SPEND, EntryKind.CORRECT)


@dataclass(frozen=True, slots=True)
class Account:
    """The run, attempt and lease of a book entry; `lease` is 0 before the attempt is bound to a node."""

    run: str
    attempt: int
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Spent:
    """The actual usage of an attempt; `usd` None: unknown."""

    usd: Decimal | None
    tokens: int = 0
    agent_ms: int = 0
    source: str = "unknown"


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount in the three currencies: USD, tokens, and agent milliseconds."""

    usd: Decimal = ZERO
    tokens: int = 0
    ms: int = 0

    def __add__(self, more: Amount) -> Amount:
        return Amount(add_amounts(self.usd, more.usd), self.tokens + more.tokens, self.ms + more.ms)


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The ceilings of a scope, by currency; None: no ceiling in that currency."""

    usd: Decimal | None = None
    tokens: int | None = None
    ms: int | None = None


NO_CEILING = Ceilings()


@dataclass(frozen=True, slots=True)
class BudgetScope:
    """A budget scope with its balance and its ceilings. `is_booked` False: it has no entries of its own,
    because its balance is the sum of other scopes."""

    balance: Balance
    ceilings: Ceilings
    is_booked: bool = True


@dataclass(frozen=True, slots=True)
class Stamp:
    """The time and the id generator of new entries."""

    at_ms: int
    new_id: NewId


def add_amounts(*amounts: Decimal) -> Decimal:
    """Return the exact sum."""
    return reduce(EXACT.add, amounts, ZERO)


def subtract_amount(amount: Decimal, less: Decimal) -> Decimal:
    """Return the exact difference."""
    return EXACT.subtract(amount, less)


def day_scope(wall_ms: int, tz: tzinfo | None = None) -> str:
    """Return the scope of the coordinator's local day; `tz` None: the machine's time zone."""
    return f"day:{datetime.fromtimestamp(wall_ms / 1000, UTC).astimezone(tz).date()}"


def is_day(scope: str) -> bool:
    """Whether the scope is a day, which ends by itself."""
    return scope.startswith("day:")


def node_scope(name: str) -> str:
    return f"node:{name}"


def is_node(scope: str) -> bool:
    """Whether the scope is a node."""
    return scope.startswith("node:")


def agent_scope(name: str) -> str:
    return f"agent:{name}"


def workflow_scope(workflow: str) -> str:
    return f"workflow:{workflow}"


def is_workflow(scope: str) -> bool:
    """Whether the scope covers the runs of one workflow."""
    return scope.startswith("workflow:")


def session_scope(session: str) -> str:
    """Return the scope of a session; `session`: the id of its first run."""
    return f"session:{session}"


def is_session(scope: str) -> bool:
    """Whether the scope covers the interactive runs of one session."""
    return scope.startswith("session:")


def repo_scope(project: str) -> str:
    return f"repo:{project}"


def counted_usd(balance: Balance) -> Decimal:
    """Return the USD that count against the ceiling; for a session, disputed claims are included."""
    beyond = balance.disputed_usd if is_session(balance.scope) else ZERO
    return add_amounts(balance.spent_usd, balance.reserved_usd, beyond)


def with_room(ceiling: Decimal | None, balance: Balance, usd: Decimal) -> Decimal | None:
    """Return the ceiling, raised if needed to fit a reservation of `usd`; None: no ceiling."""
    return None if ceiling is None else max(ceiling, add_amounts(counted_usd(balance), usd))


def in_words(balance: Balance) -> str:
    """Format the USD that count against the ceiling, itemized."""
    parts = {"spent": balance.spent_usd, "reserved": balance.reserved_usd}
    if is_session(balance.scope) and balance.disputed_usd:
        parts["disputed"] = balance.disputed_usd
    return ", ".join(f"{name}: {format_usd(usd)}" for name, usd in parts.items())


def is_within_ceilings(balance: Balance, ceilings: Ceilings, amount: Amount) -> bool:
    """Whether all ceilings still hold after a reservation of `amount`."""
    return not explain_refusal(balance, ceilings, amount)


def is_over(balance: Balance, ceilings: Ceilings) -> bool:
    """Whether used and reserved amounts already exceed a ceiling, as after the ceiling was lowered."""
    usd, tokens, ms = ceilings.usd, ceilings.tokens, ceilings.ms
    return (
        (usd is not None and counted_usd(balance) > usd)
        or (tokens is not None and balance.tokens + balance.reserved_tokens > tokens)
        or (ms is not None and balance.agent_ms + balance.reserved_ms > ms)
    )


def explain_refusal(balance: Balance, ceilings: Ceilings, amount: Amount) -> str:
    """Return why a reservation is refused, with the numbers; empty if it fits. A reservation of 0 in a
    currency is never refused for that currency."""
    if (
        amount.usd
        and ceilings.usd is not None
        and add_amounts(counted_usd(balance), amount.usd) > ceilings.usd
    ):
        return (
            f"Dispatch blocked: Budget ceiling would be exceeded ({in_words(balance)}, "
            f"estimated next: {format_usd(amount.usd)}, ceiling: {format_usd(ceilings.usd)})"
        )
    if (
        amount.tokens
        and ceilings.tokens is not None
        and balance.tokens + balance.reserved_tokens + amount.tokens > ceilings.tokens
    ):
        numbers = (balance.tokens, balance.reserved_tokens, amount.tokens, ceilings.tokens)
        return _format_refusal("Token ceiling", *(f"{number:,}" for number in numbers))
    used, more = balance.agent_ms, balance.reserved_ms
    if amount.ms and ceilings.ms is not None and used + more + amount.ms > ceilings.ms:
        times = (used, more, amount.ms, ceilings.ms)
        return _format_refusal("Agent-minute ceiling", *map(format_minutes, times))
    return ""


def _format_refusal(what: str, used: str, reserved: str, due: str, ceiling: str) -> str:
    return (
        f"Dispatch blocked: {what} would be exceeded "
        f"(used: {used}, reserved: {reserved}, estimated next: {due}, ceiling: {ceiling})"
    )


def reserve_amount(scopes: Iterable[str], account: Account, due: Amount, stamp: Stamp) -> list[BookEntry]:
    """Return entries for one reservation in each scope."""
    made = [_make_entry(EntryKind.RESERVE, scope, account, due.usd, stamp) for scope in scopes]
    return [replace(entry, reserved_tokens=due.tokens, reserved_ms=due.ms) for entry in made]


REPORTED = "the node has reported more than was reserved"
FOUND = "a node has this job, which the restored ledger lacked"
SPENT_ALREADY = (REPORTED, FOUND)
"""The notes of reservations for what is or may be spent already; only these may exceed a ceiling."""


def raise_reserved(
    entries: Sequence[BookEntry], account: Account, usd: Decimal, stamp: Stamp, note: str = ""
) -> list[BookEntry]:
    """Return entries that raise the attempt's reservation to `usd` in scopes where it is lower. Settling the
    attempt ends both entries."""
    more = find_reserved(entries, account.attempt).items()
    made = [
        _make_entry(EntryKind.RESERVE, scope, account, subtract_amount(usd, reserved), stamp)
        for scope, reserved in more
        if reserved < usd
    ]
    return [replace(entry, note=note) for entry in made]


def estimate_of(run: Run) -> Amount:
    """Return the estimated usage of an attempt of the run."""
    return Amount(run.estimate_usd, run.estimate_tokens, run.estimate_ms)


def used_by(usage: object) -> Amount:
    """Return the tokens and time of a usage as stored in the ledger (plain JSON); 0 for missing values."""
    if not isinstance(usage, Mapping):
        return Amount()
    read, written, ms = (int(usage.get(name) or 0) for name in ("input_tokens", "output_tokens", "agent_ms"))
    return Amount(tokens=read + written, ms=ms)


def format_minutes(ms: int) -> str:
    """Return a duration in minutes for users; a short one is never shown as 0."""
    return f"{ms / MINUTE_MS:.1f}" if ms >= MINUTE_MS // 10 or not ms else f"{ms / MINUTE_MS:.4f}"


def release_reserved(
    entries: Sequence[BookEntry], account: Account, stamp: Stamp, note: str, only: str | None = None
) -> list[BookEntry]:
    """Return entries that release the attempt's reservations unspent; `only`: in that scope only."""
    reserved = find_reserved(entries, account.attempt)
    due = {scope: usd for scope, usd in reserved.items() if only in (None, scope)}
    back = [one for scope, usd in due.items() for one in _make_releases(entries, account, scope, usd, stamp)]
    return [replace(entry, note=note) for entry in back]


def lower_reserved(
    entries: Sequence[BookEntry], account: Account, usd: Decimal, stamp: Stamp, note: str
) -> list[BookEntry]:
    """Return entries that undo `raise_reserved`: only `usd` stays reserved.

    If `usd` is 0 and no reservation of 0 is open, a new reservation of 0 is made; because the account's lease
    is not 0, it does not count as a run.
    """
    more = {scope: due for scope, due in find_reserved(entries, account.attempt).items() if due > usd}
    back = [
        _make_entry(EntryKind.RELEASE, scope, account, subtract_amount(reserved, usd), stamp)
        for scope, reserved in more.items()
    ]
    open_zeros = _open_zeros(entries, account.attempt)
    bare = [scope for scope in more if not usd and not open_zeros.get(scope)]
    nothing = reserve_amount(bare, account, Amount(), stamp)
    return [*(replace(entry, note=note) for entry in back), *nothing]


def settle_attempt(
    entries: Sequence[BookEntry], account: Account, spent: Spent, stamp: Stamp
) -> list[BookEntry]:
    """Return entries that replace the attempt's reservation with its usage; unknown USD stay reserved."""
    made: list[BookEntry] = []
    for scope, usd in find_reserved(entries, account.attempt).items():
        if spent.usd is None:
            unknown = _make_entry(EntryKind.UNKNOWN, scope, account, ZERO, stamp, spent)
            made.append(_release_reserved(unknown, entries, spent=spent))
            continue
        made += _make_releases(entries, account, scope, usd, stamp)
        made.append(_make_entry(EntryKind.SPEND, scope, account, spent.usd, stamp, spent))
    return made


def settle_lost(
    entries: Sequence[BookEntry], account: Account, known: Spent, stamp: Stamp
) -> list[BookEntry]:
    """Return entries for an attempt on a lost node: the last reported usage is spent, the rest is unknown."""
    made: list[BookEntry] = []
    for scope, reserved in find_reserved(entries, account.attempt).items():
        unknown = _make_entry(EntryKind.UNKNOWN, scope, account, ZERO, stamp, replace(known, usd=None))
        made.append(_release_reserved(unknown, entries, Amount(tokens=known.tokens, ms=known.agent_ms)))
        if known.usd:
            made.append(_make_entry(EntryKind.RELEASE, scope, account, min(reserved, known.usd), stamp))
            so_far = Spent(known.usd, source="reported")
            made.append(_make_entry(EntryKind.SPEND, scope, account, known.usd, stamp, so_far))
    return made


def unknown_runs(entries: Sequence[BookEntry]) -> tuple[str, ...]:
    """Return the runs of unknown cost among one scope's entries, in the order of their first entries."""
    known = {(e.run, e.attempt) for e in entries if e.source == "unknown" and e.kind is EntryKind.RELEASE}
    unknown = [e for e in entries if e.kind is EntryKind.UNKNOWN and (e.run, e.attempt) not in known]
    return tuple(dict.fromkeys(e.run for e in unknown))


def sum_reserved(entries: Sequence[BookEntry]) -> dict[str, Decimal]:
    """Return the USD that each run reserves in one scope, largest first."""
    sums: dict[str, Decimal] = {}
    for entry in entries:
        sums[entry.run] = add_amounts(sums.get(entry.run, ZERO), _apply_sign(entry, _SIGN.get(entry.kind, 0)))
    return {run: usd for run, usd in sorted(sums.items(), key=lambda one: -one[1]) if usd > 0}


def settle_unknown(
    entries: Sequence[BookEntry], account: Account, spent: Spent, stamp: Stamp
) -> list[BookEntry]:
    """Return entries that replace the reservation of an attempt of unknown cost with its usage, from a user
    or a late receipt. Amounts already booked are not booked again. `spent.usd` must be known."""
    if spent.usd is None:
        raise ValueError("cannot settle with an unknown cost")
    made: list[BookEntry] = []
    sums = _sum_reserved(entries, account.attempt)
    for scope in _unknown_scopes(entries, account.attempt):
        back, *zeros = _make_releases(entries, account, scope, sums.get(scope, ZERO), stamp)
        made += [replace(back, source="unknown"), *zeros]
        mine = [e for e in entries if e.scope == scope and e.attempt == account.attempt]
        usd, rest = _subtract_booked(spent, mine)
        kind = EntryKind.SPEND if usd == spent.usd else EntryKind.CORRECT
        made.append(_make_entry(kind, scope, account, usd, stamp, rest))
    return made


def _subtract_booked(spent: Spent, booked: Sequence[BookEntry]) -> tuple[Decimal, Spent]:
    """Return the part of `spent` that is not in these entries: the USD (maybe negative) and the rest."""
    usd = subtract_amount(spent.usd or ZERO, add_amounts(*(e.usd for e in booked if e.kind in _SPENDS)))
    tokens = max(0, spent.tokens - sum(e.tokens for e in booked))
    return usd, replace(
        spent, tokens=tokens, agent_ms=max(0, spent.agent_ms - sum(e.agent_ms for e in booked))
    )


def book_dispute(made: Iterable[BookEntry], account: Account, usd: Decimal, stamp: Stamp) -> list[BookEntry]:
    """Return entries for a node's claim beyond its job's limit, in each scope where `made` books a cost."""
    scopes = dict.fromkeys(entry.scope for entry in made if entry.kind in _SPENDS) if usd else {}
    return [_make_entry(EntryKind.DISPUTED, scope, account, usd, stamp) for scope in scopes]


def find_disputed(entries: Iterable[BookEntry]) -> dict[str, Decimal]:
    """Return the USD of unsettled disputed claims among one scope's entries, by run."""
    sums: dict[str, Decimal] = {}
    for entry in entries:
        if entry.kind is EntryKind.DISPUTED:
            sums[entry.run] = add_amounts(sums.get(entry.run, ZERO), entry.usd)
    return {run: usd for run, usd in sums.items() if usd}


def settle_disputed(
    entries: Sequence[BookEntry], account: Account, usd: Decimal, stamp: Stamp
) -> list[BookEntry]:
    """Return entries that settle an attempt's disputed claim at the cost that a user stated."""
    mine = [entry for entry in entries if entry.attempt == account.attempt]
    made: list[BookEntry] = []
    for scope in dict.fromkeys(entry.scope for entry in mine):
        here = [entry for entry in mine if entry.scope == scope]
        claim = find_disputed(here).get(account.run, ZERO)
        if claim:
            booked = add_amounts(*(entry.usd for entry in here if entry.kind in _SPENDS))
            spent = Spent(usd, source="settled")
            made.append(_make_entry(EntryKind.DISPUTED, scope, account, claim.copy_negate(), stamp))
            made.append(
                _make_entry(EntryKind.CORRECT, scope, account, subtract_amount(usd, booked), stamp, spent)
            )
    return made


def add_unknown(
    entries: Sequence[BookEntry], account: Account, spent: Spent, stamp: Stamp
) -> list[BookEntry]:
    """Return entries for a late receipt without a cost: new tokens and time only; the USD stay reserved."""
    made: list[BookEntry] = []
    for scope in _unknown_scopes(entries, account.attempt):
        mine = [e for e in entries if e.scope == scope and e.attempt == account.attempt]
        rest = replace(_subtract_booked(spent, mine)[1], usd=None)
        more = _release_reserved(
            _make_entry(EntryKind.CORRECT, scope, account, ZERO, stamp, rest), entries, spent=spent
        )
        if rest.tokens or rest.agent_ms or more.reserved_tokens or more.reserved_ms:
            made.append(more)
    return made


def add_second(entries: Sequence[BookEntry], account: Account, spent: Spent, stamp: Stamp) -> list[BookEntry]:
    """Return entries for the usage of an attempt's second lease, in the scopes of its reservation.

    This happens if two nodes ran the attempt, or if a node ran it although it seemed never to have started.
    Empty if this lease is already booked, a user has set the cost, or reservations are still unsettled.
    """
    mine = [e for e in entries if e.attempt == account.attempt]
    booked = {e.lease for e in mine if e.kind in _SPENDS}
    if account.lease in booked or booked == {0} or (not booked and find_reserved(entries, account.attempt)):
        return []
    scopes = dict.fromkeys(
        e.scope for e in mine if e.kind is EntryKind.RESERVE and e.lease in (0, account.lease)
    )
    usd = ZERO if spent.usd is None else spent.usd
    return [_make_entry(EntryKind.SPEND, scope, account, usd, stamp, spent) for scope in scopes]


def add_rest(entries: Sequence[BookEntry], account: Account, spent: Spent, stamp: Stamp) -> list[BookEntry]:
    """Return entries for a late receipt of an attempt that was counted as free, minus what was already booked
    when its node was lost."""
    booked: dict[str, list[BookEntry]] = {}
    for entry in entries:
        if entry.lease == account.lease and entry.kind in _SPENDS and entry.source == "local":
            booked.setdefault(entry.scope, []).append(entry)
    made = []
    for scope, mine in booked.items():
        usd, rest = _subtract_booked(spent, mine)
        if usd or rest.tokens or rest.agent_ms:
            made.append(_make_entry(EntryKind.CORRECT, scope, account, usd, stamp, rest))
    return made


OVER, SUSPENDED = (
    "the day on which the run was admitted is over",
    "the session is suspended, and the cost is unknown",
)


def release_unknown(
    entries: Sequence[BookEntry], account: Account, scope: str, stamp: Stamp, note: str = OVER
) -> list[BookEntry]:
    """Return entries that release an unknown cost's reservation in one scope, whose period is over; the cost
    stays unknown."""
    reserved = _sum_reserved(entries, account.attempt).get(scope, ZERO)
    back = _make_releases(entries, account, scope, reserved, stamp)
    nothing = not (reserved or back[0].reserved_tokens or back[0].reserved_ms)
    if nothing or scope not in _unknown_scopes(entries, account.attempt):
        return []
    return [replace(entry, note=note) for entry in back]


def lapse_all(entries: Sequence[BookEntry], account: Account, stamp: Stamp, note: str) -> list[BookEntry]:
    """Return entries that release an unknown cost's reservation in every scope; the cost stays unknown."""
    scopes = _unknown_scopes(entries, account.attempt)
    return [entry for scope in scopes for entry in release_unknown(entries, account, scope, stamp, note)]


def sum_used(entries: Iterable[BookEntry], before: int) -> Decimal:
    """Return the USD used by attempts before this one; an unknown cost counts as its reservation."""
    mine = [e for e in entries if is_day(e.scope) and e.attempt < before]
    return add_amounts(*(_apply_sign(e, _SIGN.get(e.kind, 1 if e.kind in _SPENDS else 0)) for e in mine))


def apply_entry(balance: Balance, entry: BookEntry) -> Balance:
    """Return the balance after one more entry of its scope."""
    more: dict[str, Any] = {
        "reserved_tokens": balance.reserved_tokens + entry.reserved_tokens,
        "reserved_ms": balance.reserved_ms + entry.reserved_ms,
    }
    match entry.kind:
        case EntryKind.RESERVE:
            more["reserved_usd"] = add_amounts(balance.reserved_usd, entry.usd)
            is_new = entry.attempt == 1 and entry.lease == 0 and entry.source != CHECK
            more["runs"] = balance.runs + is_new
        case EntryKind.RELEASE:
            more["reserved_usd"] = subtract_amount(balance.reserved_usd, entry.usd)
            more["unknown_runs"] = balance.unknown_runs - (1 if entry.source == "unknown" else 0)
        case EntryKind.SPEND | EntryKind.CORRECT:
            more |= {**_add_used(balance, entry), "spent_usd": add_amounts(balance.spent_usd, entry.usd)}
        case EntryKind.UNKNOWN:
            more |= {**_add_used(balance, entry), "unknown_runs": balance.unknown_runs + 1}
        case EntryKind.DISPUTED:
            more["disputed_usd"] = add_amounts(balance.disputed_usd, entry.usd)
        case _:
            assert_never(entry.kind)
    return replace(balance, **more)


def sum_entries(scope: str, entries: Iterable[BookEntry]) -> Balance:
    """Return the balance that results from these entries; it must equal the stored one."""
    balance = Balance(scope)
    for entry in entries:
        balance = apply_entry(balance, entry)
    return balance


def _add_used(balance: Balance, entry: BookEntry) -> dict[str, int]:
    """Return the new sums of tokens and time, capped at `MOST_SUM`; they never shrink, in any order."""
    tokens, ms = balance.tokens + entry.tokens, balance.agent_ms + entry.agent_ms
    return {"tokens": min(tokens, MOST_SUM), "agent_ms": min(ms, MOST_SUM)}


def _apply_sign(entry: BookEntry, sign: int) -> Decimal:
    return entry.usd.copy_negate() if sign < 0 else entry.usd if sign else ZERO


def _unknown_scopes(entries: Sequence[BookEntry], attempt: int) -> list[str]:
    """Return the scopes in which the attempt's cost is unknown and unsettled."""
    open_scopes: dict[str, int] = {}
    for entry in entries:
        if entry.attempt != attempt:
            continue
        if entry.kind is EntryKind.UNKNOWN:
            open_scopes[entry.scope] = open_scopes.get(entry.scope, 0) + 1
        elif entry.kind is EntryKind.RELEASE and entry.source == "unknown":
            open_scopes[entry.scope] = open_scopes.get(entry.scope, 0) - 1
    return [scope for scope, count in open_scopes.items() if count > 0]


def find_reserved(entries: Sequence[BookEntry], attempt: int) -> dict[str, Decimal]:
    """Return the USD reserved by scope, where a reservation is open (also of 0 USD) and the cost is known.

    The order of entries does not matter: a reservation is open if more USD, or more reservations of 0 USD,
    were reserved than released.
    """
    zeros, unknown = _open_zeros(entries, attempt), set(_unknown_scopes(entries, attempt))
    sums = _sum_reserved(entries, attempt).items()
    return {scope: usd for scope, usd in sums if (usd or zeros.get(scope)) and scope not in unknown}


def _open_zeros(entries: Sequence[BookEntry], attempt: int) -> dict[str, int]:
    """Return the number of open reservations of 0 USD by scope; a release of 0 USD closes one."""
    counts: dict[str, int] = {}
    for entry in entries:
        if entry.attempt == attempt and entry.kind in _SIGN and not entry.usd:
            counts[entry.scope] = counts.get(entry.scope, 0) + _SIGN[entry.kind]
    return {scope: count for scope, count in counts.items() if count > 0}


def _make_releases(
    entries: Sequence[BookEntry], account: Account, scope: str, usd: Decimal, stamp: Stamp
) -> list[BookEntry]:
    """Return entries that release the attempt's reservations in the scope: `usd`, and all those of 0 USD."""
    first = _release_reserved(_make_entry(EntryKind.RELEASE, scope, account, usd, stamp), entries)
    zeros = _open_zeros(entries, account.attempt).get(scope, 0) - (0 if usd else 1)
    return [first, *(_make_entry(EntryKind.RELEASE, scope, account, ZERO, stamp) for _ in range(zeros))]


def _sum_reserved(entries: Sequence[BookEntry], attempt: int) -> dict[str, Decimal]:
    """Return the USD reserved minus the USD released, by scope."""
    sums: dict[str, Decimal] = {}
    for entry in entries:
        if entry.attempt == attempt and entry.kind in _SIGN:
            sums[entry.scope] = add_amounts(
                sums.get(entry.scope, ZERO), _apply_sign(entry, _SIGN[entry.kind])
            )
    return sums


def _release_reserved(
    entry: BookEntry, entries: Sequence[BookEntry], most: Amount | None = None, spent: Spent | None = None
) -> BookEntry:
    """Return the entry with the release of the attempt's reserved tokens and time added; `most`: no more than
    this. `spent`: the usage of an attempt of unknown cost; amounts missing from it stay reserved."""
    mine = [e for e in entries if e.scope == entry.scope and e.attempt == entry.attempt]
    tokens, ms = sum(e.reserved_tokens for e in mine), sum(e.reserved_ms for e in mine)
    if spent is not None:
        tokens, ms = (tokens if spent.tokens else 0), (ms if spent.agent_ms else 0)
    if most is not None:
        tokens, ms = min(tokens, most.tokens), min(ms, most.ms)
    return replace(entry, reserved_tokens=-tokens, reserved_ms=-ms)


_NOTHING = Spent(None, source="")


def _make_entry(
    kind: EntryKind, scope: str, account: Account, usd: Decimal, stamp: Stamp, spent: Spent = _NOTHING
) -> BookEntry:
    return BookEntry(
        id=stamp.new_id(),
        at_ms=stamp.at_ms,
        scope=scope,
        kind=kind,
        run=account.run,
        attempt=account.attempt,
        lease=account.lease,
        usd=usd,
        tokens=spent.tokens,
        agent_ms=spent.agent_ms,
        source=spent.source,
    )


def known_cost(usage: dict[str, object]) -> Decimal | None:
    """Return the cost that a node has reported in a usage so far; None if it reported none."""
    cost = usage.get("cost_usd")
    return None if cost is None else Decimal(str(cost))
