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
from pancode.config.agents import load_agents
from pancode.config.schema import Settings
from pancode.domain import agentchoice
from pancode.domain.account.track_records import (
    EXPLORE,
    TrackRecord,
    choose,
    counted,
    key_of,
    kind_of,
    summed,
)
from pancode.domain.records import Attempt
from pancode.domain.values import replace
from tests.unit.pancode.control.world import a_run

SHIPPED = load_agents(Path("/nonexistent"), Settings(), {}).agents


PAID = [Attempt("r-0001", 1, 0, Decimal(1), usage={"cost_usd": "0.5", "cost_source": "reported"})]


def ended(outcome: Outcome, failure: FailureKind | None = None, **more: Any) -> Any:
    usage = {"usage": {"cost_usd": "0.5"}}
    times = {"started_ms": 1_000, "finished_ms": 61_000}
    run = a_run("r-0001", 0, Decimal(1), outcome=outcome, failure=failure, result=usage, **times)
    return replace(run, **more)


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
        (Outcome.BLOCKED, FailureKind.NEEDS_PERSON, None),
    ],
)
def test_what_counts_for_or_against_an_agent(
    outcome: Outcome, failure: FailureKind | None, counts: tuple[int, int] | None
) -> None:
    found = counted(ended(outcome, failure), PAID)
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
    found = summed((key_of(run), record) for run in runs if (record := counted(run, PAID)) is not None)
    assert {key.kind: (r.runs, r.good, r.landed, r.usd) for key, r in found.items()} == {
        "change": (2, 1, 1, Decimal("1.0")),
        "review": (1, 1, 0, Decimal("0.5")),
    }


def play(rates: dict[str, float], seed: int, rounds: int, newcomer: str) -> tuple[int, dict[str, int]]:
    """How many of the rounds went well, and how often each was chosen; one comes only at half-time."""
    random, records = Random(seed), dict[str, TrackRecord]()
    for number in range(rounds):
        there = [name for name in rates if name != newcomer or number >= rounds // 2]
        name, _ = choose(there, records, random.random())
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
    name, why = choose(["a", "b"], {"a": TrackRecord(10, 9), "b": TrackRecord(10, 5)}, draw=0.5)
    assert (name, why) == ("a", "best record: 9 of 10 went well, rate 0.83 (0.60 to 0.98)")
    assert choose(["a", "b", "c"], {"a": TrackRecord(10, 9)}, draw=0.05)[0] == "b"


class Fleet:
    """Two agents of one's own with the same tag; `told` has the names that were to be chosen from."""

    def __init__(self) -> None:
        builder = replace(SHIPPED["builder"], tags=("parser",), own=True)
        self.agents = {**SHIPPED, "ann": replace(builder, name="ann"), "bob": replace(builder, name="bob")}
        self.told: list[tuple[str, ...]] = []

    def pick(self, names: Sequence[str], task: str) -> tuple[str, str]:
        self.told.append((*names, task))
        return "bob", "best record: 9 of 10"


def test_between_agents_that_fit_as_well_the_records_decide_and_say_so() -> None:
    fleet = Fleet()
    chosen = agentchoice.choose(fleet.agents, "mend the parser", Mode.BUILD, fleet.pick)
    assert chosen.agent.name == "bob" and "best record: 9 of 10" in chosen.why and "as of ann" in chosen.why
    assert fleet.told == [("ann", "bob", "mend the parser")]
    assert agentchoice.choose(fleet.agents, "mend the parser", Mode.BUILD).agent.name == "ann"
    assert agentchoice.choose(fleet.agents, "mend the lexer", Mode.BUILD, fleet.pick).agent.name == "builder"
    assert len(fleet.told) == 1, "nobody else is asked where only one fits"
