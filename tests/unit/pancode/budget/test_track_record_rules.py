"""Records that decide: what counts, how sure one can be, and that choosing by them beats any fixed choice."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from random import Random  # noqa: TID251 - seeded
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.policy import Mode
from pancode.agents import agents
from pancode.budget.track_record_rules import (
    EXPLORE,
    TrackRecord,
    WorkKey,
    choose_name,
    describe_worker,
    key_of,
    kind_of,
    of_agents,
    of_models,
    poor_nodes,
    record_of,
    size_of,
    sum_records,
)
from pancode.config.agents.definitions import load_agents
from pancode.config.schema import Settings
from pancode.kernel.records import Attempt, BookEntry, EndedRun, EntryKind, RunState
from pancode.kernel.values import replace
from pancode.runs.live import RecentRuns
from pancode.runs.receipts.trust import REVERTED
from pancode.runs.unit_of_work import ended_run
from tests.unit.pancode.runs.world import a_run

SHIPPED = load_agents(Path("/nonexistent"), Settings(), {}).agents


PAID = [Attempt("r-0001", 1, 0, Decimal(1), usage={"cost_usd": "0.5", "cost_source": "reported"})]


BOOKED = [BookEntry("e1", 5, "day:2026-11-22", EntryKind.SPEND, "r-0001", 1, 1, Decimal("0.5"))]


def ended(outcome: Outcome, failure: FailureKind | None = None, **more: Any) -> EndedRun:
    result = {"receipt": "d" * 64, **more.pop("result", {})}
    times = {"started_ms": 1_000, "finished_ms": 61_000, "state": RunState.ENDED}
    run = a_run("r-0001", 0, Decimal(1), outcome=outcome, failure=failure, result=result, **times)
    row = ended_run(replace(run, **more), PAID, BOOKED)
    assert row is not None
    return row


@pytest.mark.parametrize(
    ("outcome", "failure", "counts"),
    [
        (Outcome.DONE, None, (1, 1)),
        (Outcome.ERROR, FailureKind.AGENT_FAILED, (1, 0)),
        (Outcome.VERIFY_FAILED, FailureKind.GATE_FAILED, (1, 0)),
        (Outcome.TIMEOUT, FailureKind.WALL_LIMIT, (1, 0)),
        (Outcome.INTERRUPTED, FailureKind.STOPPED, None),
        (Outcome.LOST, FailureKind.NODE_LOST, None),
        (Outcome.INFRA, FailureKind.MODEL_BUSY, None),
        (Outcome.INFRA, FailureKind.DISK_FULL, None),
        (Outcome.BLOCKED, FailureKind.NEEDS_USER, None),
    ],
)
def test_what_counts_for_or_against_an_agent(
    outcome: Outcome, failure: FailureKind | None, counts: tuple[int, int] | None
) -> None:
    found = record_of(ended(outcome, failure))
    assert (None if found is None else (found.runs, found.good)) == counts
    if found is not None:
        assert (found.usd, found.unknown, found.ms) == (Decimal("0.5"), 0, 60_000)


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ("Please review the login code", "review"),
        ("review the code for security holes", "attack"),
        ("plan the migration", "plan"),
        ("document the API", "docs"),
        ("where is the parser?", "look"),
        ("fix the failing test", "change"),
        ("find the bug and fix it", "change"),
    ],
)
def test_the_kind_of_a_task_is_how_it_begins(task: str, kind: str) -> None:
    assert kind_of(task) == kind


@given(st.integers(0, 500), st.integers(0, 500))
def test_the_interval_holds_the_share_and_narrows_with_evidence(good: int, bad: int) -> None:
    record = TrackRecord(good + bad, good)
    low, high = record.interval
    assert 0 <= low <= high <= 1 and 0 < record.rate < 1
    if record.runs:
        assert low - 1e-9 <= good / record.runs <= high + 1e-9
    more = TrackRecord(10 * record.runs, 10 * record.good).interval
    assert more[1] - more[0] <= high - low + 1e-9


def test_sums_are_by_who_did_which_kind_of_work_where() -> None:
    runs = [
        ended(Outcome.DONE, task="fix it", landed="c" * 40),
        ended(Outcome.ERROR, FailureKind.AGENT_FAILED, task="add it"),
        ended(Outcome.DONE, task="review it"),
    ]
    found = sum_records((key_of(row), record) for row in runs if (record := record_of(row)) is not None)
    assert {key.kind: (r.runs, r.good, r.landed, r.usd) for key, r in found.items()} == {
        "change": (2, 1, 1, Decimal("1.0")),
        "review": (1, 1, 0, Decimal("0.5")),
    }


def play(rates: dict[str, float], seed: int, rounds: int, newcomer: str) -> tuple[int, dict[str, int]]:
    """How many of the rounds went well, and how often each was chosen; one comes only at half-time."""
    random, records = Random(seed), dict[str, TrackRecord]()
    for number in range(rounds):
        there = [name for name in rates if name != newcomer or number >= rounds // 2]
        name, _ = choose_name(there, records, random.random())
        good = random.random() < rates[name]
        records[name] = records.get(name, TrackRecord()) + TrackRecord(1, int(good))
    return sum(r.good for r in records.values()), {name: r.runs for name, r in records.items()}


@pytest.mark.parametrize("seed", range(20))
def test_choosing_by_records_beats_a_fixed_choice_and_starves_no_newcomer(seed: int) -> None:
    """Nobody knows beforehand who is good, and at half-time somebody comes who is better than all."""
    rates, rounds = {"able": 0.6, "middling": 0.45, "poor": 0.2, "newcomer": 0.9}, 2_000
    good, runs = play(rates, seed, rounds, "newcomer")
    fixed = {name: rate * rounds for name, rate in rates.items() if name != "newcomer"}
    assert good > max(fixed.values()), (good, fixed)
    assert runs["newcomer"] > rounds // 4, "it was found"
    assert min(runs.values()) >= EXPLORE * rounds / len(rates) / 2, runs


def test_the_words_have_the_numbers() -> None:
    name, why = choose_name(["a", "b"], {"a": TrackRecord(10, 9), "b": TrackRecord(10, 5)}, draw=0.5)
    assert (name, why) == ("a", "best record: 9 of 10 succeeded, rate 0.83 (0.60 to 0.98)")
    assert choose_name(["a", "b", "c"], {"a": TrackRecord(10, 9)}, draw=0.05)[0] == "b"


class TaggedAgents:
    """Two agents of one's own with the same tag; `told` has the names that were to be chosen from."""

    def __init__(self) -> None:
        builder = replace(SHIPPED["builder"], tags=("parser",), own=True)
        self.agents = {**SHIPPED, "ann": replace(builder, name="ann"), "bob": replace(builder, name="bob")}
        self.told: list[tuple[str, ...]] = []

    def pick(self, names: Sequence[str], task: str) -> tuple[str, str]:
        self.told.append((*names, task))
        return "bob", "best record: 9 of 10"


def test_between_agents_that_fit_as_well_the_records_decide_and_say_so() -> None:
    fleet = TaggedAgents()
    chosen = agents.choose(fleet.agents, "repair the parser", Mode.BUILD, fleet.pick)
    assert chosen.agent.name == "bob" and "best record: 9 of 10" in chosen.why and "as of ann" in chosen.why
    assert fleet.told == [("ann", "bob", "repair the parser")]
    assert agents.choose(fleet.agents, "repair the parser", Mode.BUILD).agent.name == "ann"
    assert agents.choose(fleet.agents, "repair the lexer", Mode.BUILD, fleet.pick).agent.name == "builder"
    assert len(fleet.told) == 1, "nobody else is asked where only one fits"


def test_a_reverted_change_is_no_good_run_and_no_landed_one() -> None:
    row = ended(Outcome.DONE, landed="c" * 40, result={REVERTED: "d" * 40})
    record = record_of(row)
    assert record is not None and (record.good, record.landed, record.reverted) == (0, 0, 1)


def test_what_ended_without_an_accepted_receipt_says_nothing() -> None:
    assert record_of(ended(Outcome.DONE, result={"receipt": None})) is None
    assert record_of(ended(Outcome.DONE, terms={"judges": "r-0002"})) is None


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 300)), max_size=60))
def test_sums_that_are_kept_up_are_those_that_are_read_anew(told: list[tuple[int, bool, int]]) -> None:
    row = ended(Outcome.DONE)
    rows = [
        replace(row, run=f"r-{n}", outcome=Outcome.DONE if good else Outcome.ERROR, usd=Decimal(cents) / 100)
        for n, good, cents in told
    ]
    kept = RecentRuns(rows, most=6)
    newest: dict[str, EndedRun] = {}
    for one in rows:
        newest[one.run] = one
        if len(newest) > 6:
            del newest[next(iter(newest))]
    assert kept.sums == sum_records((key_of(r), found) for r in newest.values() if (found := record_of(r)))


NODES = {"slow": 0.35, "fine": 0.85, "new": 0.8}


def placed(
    rates: dict[str, float], seed: int, explore: float, rounds: int = 600
) -> tuple[int, dict[str, int]]:
    """Nodes with a free slot each are chosen as placement does: not the poor ones, but for a share."""
    random, records = Random(seed), dict[str, TrackRecord]()
    for number in range(rounds):
        there = sorted(name for name in rates if name != "new" or number >= rounds // 2)
        random.shuffle(there)  # which node has most free slots
        poor = {} if random.random() < explore else poor_nodes(records, there)
        name = next(name for name in there if name not in poor)
        good = random.random() < rates[name]
        records[name] = records.get(name, TrackRecord()) + TrackRecord(1, int(good))
    return sum(r.good for r in records.values()), {name: r.runs for name, r in records.items()}


@pytest.mark.parametrize("seed", range(10))
def test_placement_leaves_poor_nodes_alone_and_gives_newcomers_their_share(seed: int) -> None:
    by_records, tried = placed(NODES, seed, EXPLORE)
    blindly, _ = placed(NODES, seed, 1.0)
    assert by_records > blindly * 1.05
    assert tried["new"] > 60 and tried["slow"] > 10, "nobody is left out for ever"


def test_a_newcomer_is_never_poor() -> None:
    known = {"good": TrackRecord(100, 99), "bad": TrackRecord(20, 2)}
    assert set(poor_nodes(known, ["good", "bad", "unknown"])) == {"bad"}
    assert poor_nodes(known, ["bad", "unknown"]) == {} and poor_nodes({}, []) == {}


def test_evidence_of_the_repository_counts_where_there_is_enough() -> None:
    def key(agent: str, repository: str) -> WorkKey:
        return WorkKey(agent, None, "claude", "change", repository)

    records = {key("ann", "/p"): TrackRecord(10, 2), key("ann", "/q"): TrackRecord(30, 30)}
    records[key("bob", "/q")] = TrackRecord(10, 7)
    here, elsewhere = of_agents(records, "fix it", "/p"), of_agents(records, "fix it", "/new")
    assert choose_name(["ann", "bob"], here, 0.9)[0] == "bob"
    assert choose_name(["ann", "bob"], elsewhere, 0.9)[0] == "ann"


@pytest.mark.parametrize("status", ["denied", "dropped", "nothing to land"])
def test_a_change_that_somebody_has_decided_on_is_not_left(status: str) -> None:
    changed = {"commit": "c" * 40, "files_changed": ["a"]}
    assert ended(Outcome.DONE, result=changed).left
    assert not ended(Outcome.DONE, result=changed, landing={"status": status}).left
    assert ended(Outcome.DONE, terms={"carries": True}).left


def test_evidence_of_the_size_counts_first_and_too_little_is_unknown() -> None:
    def key(model: str, size: str) -> WorkKey:
        return WorkKey("builder", model, "native", "change", "/p", None, size)

    records = {key("qwen", "small"): TrackRecord(10, 9), key("qwen", "large"): TrackRecord(10, 1)}
    records |= {key("opus", "small"): TrackRecord(10, 7), key("opus", "large"): TrackRecord(2, 2)}
    small, large = "fix it", "fix it " + "x" * 2_000
    names = {"qwen": "qwen", "opus": "opus"}
    assert choose_name(["qwen", "opus"], of_models(records, "builder", small, names), 0.9)[0] == "qwen"
    assert choose_name(["qwen", "opus"], of_models(records, "builder", large, names), 0.9)[0] == "opus"
    assert "and size large: 1 of 10 succeeded" in describe_worker(records, "builder", "native", "qwen", large)
    assert "kind change: 9 of 12 succeeded" in describe_worker(records, "builder", "native", "opus", large)
    unknown = describe_worker(records, "builder", "native", "haiku", small)
    assert unknown.endswith("unknown: 0 runs so far, 3 needed") and "rate" not in unknown


@pytest.mark.parametrize(
    ("length", "size"), [(1, "small"), (300, "small"), (301, "medium"), (1_501, "large")]
)
def test_the_size_of_a_task_is_how_much_has_to_be_said(length: int, size: str) -> None:
    assert size_of(f" {'x' * length} ") == size
