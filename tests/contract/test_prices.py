"""What the model gateway counts by is what the kept list of prices says, model by model."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from genai_prices.data import providers
from genai_prices.types import ModelInfo, TieredPrices

from node_agent.gateway.prices import PUBLIC, Rate

AFTER_OFFERS = datetime(2027, 1, 2, tzinfo=UTC)
"""The gateway counts by what lasts: an offer that ends with the year is no reason to hold too little."""
VENDORS = {"claude": "anthropic", "gemini": "google"}


def listed(name: str) -> ModelInfo:
    vendor = VENDORS.get(name.partition("-")[0], "openai")
    models = next(one for one in providers if one.id == vendor).models
    return next(model for model in models if model.is_match(name))


def amounts(prices: Any, step: int) -> list[Decimal | None]:
    """Of input, cache reads, cache writes, output; `step` 0: below the first threshold."""
    kinds = (prices.input_mtok, prices.cache_read_mtok, prices.cache_write_mtok, prices.output_mtok)
    return [_at(kind, step) for kind in kinds]


def _at(price: Decimal | TieredPrices | None, step: int) -> Decimal | None:
    if isinstance(price, TieredPrices):
        return price.tiers[step - 1].price if step else price.base
    return price


def same(rate: Rate, prices: list[Decimal | None]) -> bool:
    """What the list does not know, such as a write to a cache, the gateway counts as input."""
    counted = (rate.input, rate.cached, rate.written, rate.output)
    return all(theirs in (None, ours) for ours, theirs in zip(counted, prices, strict=True))


@pytest.mark.parametrize("name", PUBLIC)
def test_a_price_of_the_gateway_is_the_kept_lists(name: str) -> None:
    ours, theirs = PUBLIC[name], listed(name).get_prices(AFTER_OFFERS)
    assert same(ours.rate, amounts(theirs, 0)), (ours.rate, amounts(theirs, 0))
    steps = theirs.input_mtok.tiers if isinstance(theirs.input_mtok, TieredPrices) else []
    assert ([ours.above] if ours.dearer else []) == [step.start for step in steps]
    if ours.dearer is not None:
        assert same(ours.dearer, amounts(theirs, 1)), (ours.dearer, amounts(theirs, 1))
