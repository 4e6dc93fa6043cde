"""The promises of pancode.kernel.ports.Ledger, kept by the ledger in memory and the one on disk alike."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from node_agent.wire.failure import Outcome
from node_agent.wire.job import Reasoning
from node_agent.wire.policy import Mode, Safety
from pancode.app.schema import SCHEMA
from pancode.kernel.errors import ConflictError, UnavailableError
from pancode.kernel.ports import Grouped, Grouping, Ledger
from pancode.kernel.records import (
    Action,
    ActionKind,
    Attempt,
    Audit,
    Balance,
    BookEntry,
    Closed,
    ControlMessage,
    Decision,
    EntryKind,
    EventKind,
    FeedEvent,
    GpuHold,
    KnownKey,
    Lease,
    LeaseState,
    Node,
    Record,
    Run,
    RunState,
    SessionRow,
    Setting,
    StoredMessage,
    StoredReceipt,
)
from pancode.kernel.values import replace
from pancode.runs.row_cache import KeptRows
from pancode.store.ledger import SqlLedger
from pancode.workflows.records import Workflow, WorkflowKind, WorkflowStep
from tests.contract.more_rows import MORE
from tests.fakes.ledger import MemoryLedger

RUN = Run(
    id="r-7f3k2q",
    created_ms=1_700_000_000_000,
    created_by="ana",
    task="add a --json flag: naïve ‘quotes’; DROP TABLE runs",
    argv=("sh", "-eu", "a b"),
    agent="builder",
    prompt="",
    tools=("read", "edit"),
    read_only=False,
    runtime="claude",
    model=None,
    mode=Mode.BUILD,
    safety=Safety.AUTO_EDIT,
    told_only=False,
    node=None,
    require={"gpu": "yes"},
    priority=-3,
    project="/home/ana/shop",
    workspace={"kind": "git", "base": None, "nested": [1, {"a": True}]},
    setup=(("npm", "ci"), ("make",)),
    cache=("node_modules", "web/node_modules"),
    gates=({"name": "pytest -q", "argv": ["pytest", "-q"]},),
    limits={"wall_ms": 1, "usd": "0.75"},
    env=(),
    secrets=("KEY",),
    depth=0,
    estimate_usd=Decimal("0.750"),
    on_lost="ask",
    max_attempts=3,
    trace="t",
    state=RunState.ENDED,
    outcome=Outcome.DONE,
    exit_code=0,
    result={"commit": None},
)
SAMPLES: tuple[Record, ...] = (
    Setting("epoch", [1, {"a": None}], 5, "ana"),
    Setting("nothing", None, 5, "ana"),
    Node("gpubox", 1, {"host": "10.0.0.2", "port": 22}, {"gpu": "24g"}, 4, tag="0123456789"),
    RUN,
    Workflow(
        "w-1", 1, "ana", WorkflowKind.RACE, "fix", "", None, 2, budget=Decimal("1.5"), race={"by": "first"}
    ),
    *MORE,
    WorkflowStep("w-1", 0, "plan", ("a", "b"), {"task": "x"}, ("*.md",), outputs={"files": [{"path": "a"}]}),
    SessionRow(
        *("r-1", "r-2", 7, "two\nlines", Mode.BUILD, Safety.SUGGEST, None, Reasoning.HIGH, "", "ask"),
        ceiling=Decimal("0.10"),
        news=("(no)",),
        points=({"name": "1", "at_ms": 5},),
        backs={"r-2": "r-1"},
    ),
    StoredMessage("r-2", 1, 7, "ana", "straße 💡", "with its task", turn=1, for_next=True),
    Attempt("r-7f3k2q", 1, 7, Decimal("0.1") + Decimal("0.2"), usage={"input_tokens": 3}),
    Lease("r-7f3k2q", 1, 1, "gpubox", "0123456789", "{}", "d", 1, 2, 3, closed=Closed.RECEIPT),
    GpuHold("r-7f3k2q", 1, "gpubox", ("GPU-0", "GPU-1")),
    BookEntry("e1", 1, "day:2026-11-20", EntryKind.RESERVE, "r-7f3k2q", 1, 1, Decimal("123456789.123456789")),
    Balance("day:2026-11-20", Decimal(-1), Decimal(0), 1, 2**62, 3, 4),
    Decision("r-7f3k2q", 1, 1, "gate", "mode", "passed", "mode build dispatches"),
    Audit(1, 2, "budget", "info", "held", {"usd": "0.75"}),
    Action("a", ActionKind.LAND, "r-1", 1, "ana"),
    FeedEvent(1, 2, EventKind.RUN_ENDED, "r-1", None, {"outcome": "done"}),
    StoredReceipt("d" * 64, "r-7f3k2q", 1, 1, "0123456789", "{}", 9, orphan=True),
    KnownKey("e" * 64, "gpubox", "node", "ed25519 AA==", 1, until_ms=2),
    ControlMessage("0123456789", 1, "{}", 2),
)
Open = Callable[[], Ledger]


@pytest.fixture(params=["memory", "memory-strict", "nodes-kept", "sqlite", "postgresql"])
def open_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """What opens the ledger under test."""
    if request.param == "postgresql":
        database = request.getfixturevalue("postgres").database()
        return lambda: SqlLedger(database, SCHEMA)
    openings: dict[str, Open] = {
        "memory": MemoryLedger,
        "memory-strict": lambda: MemoryLedger(strict=True),
        "nodes-kept": lambda: KeptRows(MemoryLedger()),
        "sqlite": lambda: SqlLedger(tmp_path / "home" / "ledger.db", SCHEMA),
    }
    return openings[request.param]


@pytest.fixture
def ledger(open_ledger: Open) -> Iterator[Ledger]:
    opened = open_ledger()
    yield opened
    opened.close()


def entry(number: int, run: str = "r-1", scope: str = "day:1") -> BookEntry:
    return BookEntry(f"e{number:03}", 100 - number, scope, EntryKind.RESERVE, run, 1, 1, Decimal(number))


def write(ledger: Ledger, *records: Record) -> None:
    with ledger.transaction() as tx:
        for record in records:
            tx.put(record)


def test_every_kind_of_record_is_in_the_samples() -> None:
    assert {type(record) for record in SAMPLES} == set(SCHEMA.tables)


def key_of(record: Record) -> tuple[str | int, ...]:
    return tuple(getattr(record, name) for name in record.TABLE.key)


@pytest.mark.parametrize("record", SAMPLES, ids=lambda record: type(record).__name__)
def test_a_record_comes_back_equal_with_its_types(ledger: Ledger, record: Record) -> None:
    write(ledger, record)
    with ledger.transaction() as tx:
        found = tx.get(type(record), *key_of(record))
        assert found == record
        assert repr(found) == repr(record)
        assert tx.find(type(record)) == [record]


def test_what_is_not_there_is_none(ledger: Ledger) -> None:
    with ledger.transaction() as tx:
        assert tx.get(Run, "r-none") is None
        assert tx.find(Run, {"state": RunState.PENDING}) == []
        tx.delete(Run, "r-none")


def test_a_transaction_sees_its_own_changes(ledger: Ledger) -> None:
    with ledger.transaction() as tx:
        tx.insert(entry(1))
        assert tx.get(BookEntry, "e001") == entry(1)
        assert tx.find(BookEntry, {"run": "r-1"}) == [entry(1)]
        tx.delete(BookEntry, "e001")
        assert tx.get(BookEntry, "e001") is None
        assert tx.find(BookEntry, {"run": "r-1"}) == []


def test_insert_of_a_taken_key_is_a_conflict_at_the_latest_at_the_end(ledger: Ledger) -> None:
    write(ledger, Balance("day:1", Decimal(1)))
    with pytest.raises(ConflictError, match="balances day:1"), ledger.transaction() as tx:
        tx.put(entry(1))
        tx.insert(entry(2))
        tx.insert(Balance("day:1", Decimal(2)))
    with ledger.transaction() as tx:
        assert tx.get(Balance, "day:1") == Balance("day:1", Decimal(1))
        assert tx.find(BookEntry, {"run": "r-1"}) == []
        tx.insert(entry(1))
    with pytest.raises(ConflictError, match="entries e001"), ledger.transaction() as tx:
        tx.insert(entry(1))
        assert tx.get(BookEntry, "e002") is None, "what is read next tells it, too"
    with pytest.raises(ConflictError, match="entries e001"), ledger.transaction() as tx:
        for number in range(1, 200):  # the word of it comes in the midst of these
            tx.insert(entry(number))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, ConflictError])
def test_an_exception_undoes_everything(ledger: Ledger, error: type[BaseException]) -> None:
    write(ledger, entry(1), entry(2), Balance("day:1", Decimal(1)))
    with pytest.raises(error), ledger.transaction() as tx:
        tx.put(Balance("day:1", Decimal(5)))
        tx.put(Balance("day:1", Decimal(6)))
        tx.put(entry(1, run="r-2"))
        tx.delete(BookEntry, "e002")
        tx.insert(entry(3))
        raise error
    with ledger.transaction() as tx:
        assert tx.get(Balance, "day:1") == Balance("day:1", Decimal(1))
        assert tx.find(BookEntry) == [entry(1), entry(2)]
        assert tx.find(BookEntry, {"run": "r-1"}) == [entry(1), entry(2)]
        assert tx.find(BookEntry, {"run": "r-2"}) == []


def test_find_follows_a_field_that_changes(ledger: Ledger) -> None:
    lease = Lease("r-1", 1, 1, "desk", "0123456789", "{}", "d", 1, 2, 3)
    write(ledger, lease)
    closed = Lease("r-1", 1, 1, "desk", "0123456789", "{}", "d", 1, 2, 3, state=LeaseState.CLOSED)
    write(ledger, closed)
    with ledger.transaction() as tx:
        assert tx.find(Lease, {"state": LeaseState.OFFERED}) == []
        assert tx.find(Lease, {"state": LeaseState.CLOSED, "node": "desk"}) == [closed]
        assert tx.find(Lease, {"state": LeaseState.CLOSED, "node": "gpubox"}) == []


def test_find_by_a_part_of_the_key_by_the_whole_key_and_by_none(ledger: Ledger) -> None:
    first, second = Attempt("r-1", 1, 1, Decimal(1)), Attempt("r-1", 2, 1, Decimal(1))
    heard = Audit(1, 1, "budget", "info", "held", {}, run="r-1")
    write(
        ledger, second, first, Attempt("r-2", 1, 1, Decimal(1)), heard, Audit(2, 1, "node", "info", "up", {})
    )
    with ledger.transaction() as tx:
        assert tx.find(Attempt, {"run": "r-1"}) == [first, second]
        assert tx.find(Attempt, {"run": "r-1", "attempt": 2}) == [second]
        assert tx.find(Audit, {"number": 1}) == [heard]
        assert tx.find(Audit, {"number": 3}) == []
        assert [row.number for row in tx.find(Audit, {"run": None})] == [2]


def test_rows_come_by_key_and_numbers_count(ledger: Ledger) -> None:
    write(ledger, *(Decision("r-1", n, 1, "gate", "a", "b", "c") for n in (10, 9, 2, 1)))
    with ledger.transaction() as tx:
        assert [d.number for d in tx.find(Decision, {"run": "r-1"})] == [1, 2, 9, 10]
        assert [d.number for d in tx.find(Decision, descending=True, limit=2)] == [10, 9]
        assert tx.find(Decision, limit=0) == []


def test_order_puts_none_first_and_equal_rows_by_key(ledger: Ledger) -> None:
    rows = [Node(f"n{i}", i // 2, {}, {}, 1, tag=None if i == 3 else f"t{9 - i}") for i in range(4)]
    write(ledger, *reversed(rows))
    with ledger.transaction() as tx:
        assert [n.name for n in tx.find(Node, order="tag")] == ["n3", "n2", "n1", "n0"]
        assert [n.name for n in tx.find(Node, order="tag", descending=True)] == ["n0", "n1", "n2", "n3"]
        assert [n.name for n in tx.find(Node, order="added_ms")] == ["n0", "n1", "n2", "n3"]
        assert [n.name for n in tx.find(Node, order="added_ms", descending=True)] == ["n3", "n2", "n1", "n0"]


def test_text_is_ordered_by_code_point(ledger: Ledger) -> None:
    names = ["Zoe", "a", "b", "é", "\U0001f600"]
    write(ledger, *(Setting(name, 1, 1, "x") for name in reversed(names)))
    with ledger.transaction() as tx:
        assert [s.name for s in tx.find(Setting)] == names
        assert tx.get(Setting, "ZOE") is None


def test_keys_that_start_alike_come_in_order_and_no_more_than_asked(ledger: Ledger) -> None:
    with ledger.transaction() as tx:
        for name in ("a", "ab", "abé", "ab\U0001f600", "ac", "b", "a%", "a_"):
            tx.put(Setting(name, None, 1, "t"))
        assert tx.starting(Setting, "ab", 9) == [("ab",), ("abé",), ("ab\U0001f600",)]
        assert tx.starting(Setting, "a%", 9) == [("a%",)]
        assert tx.starting(Setting, "a", 2) == [("a",), ("a%",)]
        assert tx.starting(Setting, "x", 9) == []
        tx.put(Attempt("r-7f3k2q", 2, 7, Decimal(0)))
        tx.put(Attempt("r-7f3k2q", 10, 7, Decimal(0)))
        assert tx.starting(Attempt, "r-7f", 9) == [("r-7f3k2q", 2), ("r-7f3k2q", 10)]


def test_a_search_that_is_not_promised_is_refused(ledger: Ledger) -> None:
    with ledger.transaction() as tx:
        with pytest.raises(ValueError, match="has no index on task"):
            tx.find(Run, {"task": "x"})
        with pytest.raises(ValueError, match="limits"):
            tx.find(Run, order="limits")
        with pytest.raises(ValueError, match="estimate_usd"):
            tx.find(Run, order="estimate_usd")
        with pytest.raises(ValueError, match="key"):
            tx.get(Attempt, "r-1")
        with pytest.raises(ValueError, match="key"):
            tx.delete(Attempt, "r-1")


def test_no_transaction_inside_another(ledger: Ledger) -> None:
    with ledger.transaction() as outer:
        with pytest.raises(RuntimeError, match="already has an open"), ledger.transaction():
            pass
        outer.put(entry(1))
    with ledger.transaction() as tx:
        assert tx.get(BookEntry, "e001") == entry(1)


def test_a_transaction_is_of_no_use_after_its_end(ledger: Ledger) -> None:
    with ledger.transaction() as kept:
        pass
    with pytest.raises(RuntimeError, match="has ended"):
        kept.get(Run, "r-1")
    with pytest.raises(RuntimeError, match="has ended"):
        kept.put(entry(1))


def test_threads_take_turns_and_no_change_is_lost(ledger: Ledger) -> None:
    write(ledger, Balance("day:1"))

    def spend() -> None:
        for _ in range(20):
            with ledger.transaction() as tx:
                balance = tx.get(Balance, "day:1")
                assert balance is not None
                tx.put(Balance("day:1", balance.spent_usd + 1))

    threads = [threading.Thread(target=spend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with ledger.transaction() as tx:
        assert tx.get(Balance, "day:1") == Balance("day:1", Decimal(80))


def test_a_closed_ledger_is_unavailable(ledger: Ledger) -> None:
    ledger.close()
    ledger.close()
    with pytest.raises(UnavailableError, match="closed"), ledger.transaction():
        pass


def test_what_was_not_there_and_what_was_found_follow_every_write(ledger: Ledger) -> None:
    """Whoever remembers an answer has to forget it: in this transaction, in a later one, after an undo."""

    def looks() -> tuple[bool, int]:
        with ledger.transaction() as tx:
            return tx.get(Setting, "a") is not None, len(tx.find(Setting))

    assert looks() == looks() == (False, 0)
    with ledger.transaction() as tx:
        tx.insert(Setting("a", 1, 1, "me"))
        assert tx.get(Setting, "a") is not None and len(tx.find(Setting)) == 1
    assert looks() == (True, 1)
    with ledger.transaction() as tx:
        tx.put(Setting("a", 2, 1, "me"))
        assert [found.value for found in tx.find(Setting)] == [2]
        tx.delete(Setting, "a")
        assert tx.find(Setting) == [] and tx.get(Setting, "a") is None
    assert looks() == (False, 0)
    with pytest.raises(KeyError), ledger.transaction() as tx:
        tx.put(Setting("a", 3, 1, "me"))
        assert len(tx.find(Setting)) == 1
        raise KeyError
    assert looks() == (False, 0)


def spend(number: int, run: str, scope: str, usd: str, tokens: int = 0) -> BookEntry:
    kind = EntryKind.UNKNOWN if usd == "?" else EntryKind.SPEND
    amount = Decimal(0) if usd == "?" else Decimal(usd)
    return BookEntry(f"s{number}", number, scope, kind, run, 1, 1, amount, tokens=tokens)


def tallied(ledger: Ledger, grouping: Grouping) -> list[Grouped]:
    with ledger.transaction() as tx:
        return sorted(tx.tally(BookEntry, grouping), key=lambda group: str(group.key))


def test_groups_are_counted_and_summed_exactly(ledger: Ledger) -> None:
    large = "12345678901234567890.000000000001"
    write(
        ledger,
        spend(1, "r-1", "day:1", large, 2**62),
        spend(2, "r-1", "day:1", "0.1", 2**62),
        spend(3, "r-2", "day:1", "0.2", 2**62),
        spend(4, "r-2", "day:2", "?", 1),
        spend(5, "r-3", "node:n", "7", 1),
    )
    by_scope = Grouping(("scope", "kind"), ("usd", "tokens"), distinct="run", prefix=("scope", "day:"))
    assert tallied(ledger, by_scope) == [
        Grouped(("day:1", EntryKind.SPEND), 2, (Decimal("12345678901234567890.300000000001"), 3 * 2**62)),
        Grouped(("day:2", EntryKind.UNKNOWN), 1, (Decimal(0), 1)),
    ]
    late = Grouping(("run",), ("usd",), least=("at_ms", 3), among={"kind": (EntryKind.SPEND,)})
    assert tallied(ledger, late) == [
        Grouped(("r-2",), 1, (Decimal("0.2"),)),
        Grouped(("r-3",), 1, (Decimal(7),)),
    ]
    assert tallied(ledger, Grouping(("kind",), among={"run": ("r-9",)})) == []


def test_what_is_null_is_a_value_to_group_by_and_sums_as_nothing(ledger: Ledger) -> None:
    write(ledger, RUN, replace(RUN, id="r-2", model="m", started_ms=5), replace(RUN, id="r-3", started_ms=7))
    with ledger.transaction() as tx:
        found = {g.key: (g.count, g.sums) for g in tx.tally(Run, Grouping(("model",), ("started_ms",)))}
        none = tx.tally(Run, Grouping(("outcome",), among={"model": (None, "x")}))
    assert found == {(None,): (2, (7,)), ("m",): (1, (5,))}
    assert none == [Grouped((Outcome.DONE,), 2)]
