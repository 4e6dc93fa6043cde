"""Every value that a node may say has a bound, in every field that there is or will be."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from node_agent.wire.event import Events, Finding
from node_agent.wire.job import Job
from node_agent.wire.model import MOST_TOKENS, MOST_USD, YEAR_3000_MS
from node_agent.wire.node import Heartbeat, Hello, Inventory, NodeProblem
from node_agent.wire.receipt import Claims, Receipt, Usage
from node_agent.wire.signing import Envelope, Message, Signature, Signed
from tests.unit.node_agent.wire import samples
from tests.unit.node_agent.wire.anyvalue import AnyValue, schema_of, without_bound

SAID_BY_NODES = (Receipt, Events, Heartbeat, Inventory, Hello)


@pytest.mark.parametrize("kind", SAID_BY_NODES)
def test_every_field_has_a_bound(kind: type[Signed]) -> None:
    assert without_bound(schema_of(kind)) == []


def test_a_field_without_a_bound_is_seen() -> None:
    class Open(Message):
        text: str
        number: int
        many: tuple[int, ...]
        table: dict[str, int]

    assert sorted(set(without_bound(schema_of(Open)))) == [".many", ".number", ".table", ".text"]


@pytest.mark.parametrize("kind", SAID_BY_NODES)
def test_any_value_of_the_schema_is_one_of_the_wire(kind: type[Signed]) -> None:
    """What the properties are tried with is believed, or they would show nothing."""
    believed = 0
    for seed in range(40):
        made = {**AnyValue(kind, seed).make(), **dict([kind.VERSION])}
        read, raw = (Claims, made["predicate"]) if kind is Receipt else (kind, made)
        try:
            read.model_validate_json(json.dumps(raw))
            believed += 1
        except ValidationError as wrong:
            errors = {error["type"] for error in wrong.errors()}
            assert errors <= {"value_error", "finite_number", "too_long", "too_short"}
    assert believed > 5


@pytest.mark.parametrize(
    "text", ["1_000", " 1 ", "1 ", "٣", "1e3", "+1", "-0", "01", ".5", "1.", "1\n", "NaN", "1" * 16]
)
def test_money_has_one_form(text: str) -> None:
    with pytest.raises(ValidationError):
        Usage.model_validate_json(json.dumps({"cost_usd": text}))


@pytest.mark.parametrize("raw", ["1", "0.5", "1e400", "true", "[]"])
def test_money_is_no_number_of_json(raw: str) -> None:
    with pytest.raises(ValidationError):
        Usage.model_validate_json(f'{{"cost_usd":{raw}}}')


def test_money_that_is_written_is_read_again() -> None:
    for amount in ("0", "0.10", "1E+2", "999999999999999.999999999999", "0.12345678901234567", "1e40"):
        told = Usage(cost_usd=Decimal(amount), cost_source="reported").canonical()
        assert Usage.model_validate_json(told).cost_usd == Decimal(f"{min(MOST_USD, Decimal(amount)):.12f}")


def test_what_an_honest_node_has_too_much_of_is_cut_and_still_believed() -> None:
    claims: Any = samples.receipt()
    fields = dict(claims.predicate)
    big = Claims(
        **{
            **fields,
            "answer": "x" * 10**6,
            "reason": "\ud83d\0" * 10**4,
            "findings": ("y" * 5_000,) * 1_000,
            "files_changed": ("a/" * 1_000,) * 1_000,
            "usage": Usage(input_tokens=10**30, agent_ms=10**30),
            "finished_wall_ms": 10**20,
        }
    )
    assert Claims.model_validate_json(big.canonical()) == big
    assert len(big.answer) == 4_000 and big.usage.input_tokens == MOST_TOKENS
    assert big.finished_wall_ms == YEAR_3000_MS and "\0" not in big.reason
    assert len(NodeProblem(what="w" * 10**5).what) == 1_000
    assert len(Finding(level="info", text="t" * 10**5).text) == 4_000


def test_what_an_older_side_does_not_know_is_not_written_where_there_is_none() -> None:
    heartbeat, job = samples.samples()["heartbeat"], samples.job()
    assert isinstance(heartbeat, Heartbeat)
    bare = heartbeat.model_copy(update={"gpus": (), "facts": heartbeat.facts.model_copy(update={"gpus": ()})})
    assert b'"gpus"' in heartbeat.canonical() and b'"gpus"' not in bare.canonical()
    assert Heartbeat.model_validate_json(bare.canonical()) == bare
    assert b'"gpus"' not in job.model_copy(update={"gpus": None}).canonical()
    none = job.model_copy(update={"gpus": ()})
    assert Job.model_validate_json(none.canonical()).gpus == (), "no GPU is not the same as no word"


@pytest.mark.parametrize("load", [math.nan, math.inf, 1e308, -1.0])
def test_a_load_is_a_number(load: float) -> None:
    made = json.loads(samples.samples()["heartbeat"].canonical())
    made["facts"]["load_1m"] = load
    with pytest.raises(ValidationError, match="load_1m"):
        Heartbeat.model_validate_json(json.dumps(made))


def test_a_signature_has_a_bound() -> None:
    with pytest.raises(ValidationError):
        Signature(keyid="0" * 64, sig="A" * 1_000)
    with pytest.raises(ValidationError):
        Envelope(payloadType="x", payload="", signatures=(Signature(keyid="0" * 64, sig=""),) * 5)
