"""What a run cost is what all its attempts cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from pancode.kernel.records import Attempt
from pancode.runs.receipts.rules import MIXED, cost_of, usage_of_all

PAID: dict[str, Any] = {"cost_usd": "1", "cost_source": "reported", "input_tokens": 7, "output_tokens": 3}
UNKNOWN: dict[str, Any] = {"cost_usd": None, "cost_source": "unknown", "input_tokens": 7}
NEVER: dict[str, Any] = {"cost_usd": "0", "cost_source": "not started"}


def attempt(usage: dict[str, Any], outcome: Outcome | None = Outcome.INFRA, **more: Any) -> Attempt:
    return Attempt("r-0001", more.pop("number", 1), 0, Decimal(1), outcome=outcome, usage=usage, **more)


@pytest.mark.parametrize(
    ("attempts", "cost"),
    [
        ([attempt(PAID), attempt(PAID), attempt(PAID, Outcome.DONE)], ("3", False)),
        ([attempt(PAID), attempt(UNKNOWN, Outcome.DONE)], ("1", True)),
        ([attempt(PAID), attempt(NEVER)], ("1", False)),
        ([attempt(PAID), attempt({}, None)], ("1", False)),
        ([attempt({"cost_usd": "0.4"}, Outcome.LOST), attempt(PAID)], ("1", True)),
        ([attempt({}, Outcome.LOST)], ("0", True)),
        ([attempt({}, failure=FailureKind.RECEIPT_REJECTED)], ("0", True)),
        ([attempt({"cost_usd": "0.4"}, None)], ("0.4", False)),
        ([], ("0", False)),
    ],
)
def test_the_costs_of_those_that_began_are_added(attempts: list[Attempt], cost: tuple[str, bool]) -> None:
    assert cost_of(attempts) == (Decimal(cost[0]), cost[1])


def test_usage_is_the_sum_and_names_the_source_that_all_have() -> None:
    both = usage_of_all([attempt(PAID), attempt(NEVER), attempt(PAID)])
    assert both == {**PAID, "input_tokens": 14, "output_tokens": 6, "cost_usd": "2"}
    settled = attempt({**PAID, "cost_source": "settled"})
    assert usage_of_all([attempt(PAID), settled])["cost_source"] == MIXED
    assert usage_of_all([attempt(PAID), attempt(UNKNOWN)])["cost_usd"] is None


def test_of_one_that_never_began_it_is_told_so() -> None:
    assert usage_of_all([attempt(NEVER)]) == NEVER and usage_of_all([]) == {}
