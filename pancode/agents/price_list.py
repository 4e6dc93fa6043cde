"""Reads the list of vendors' models and prices that is installed with PanCode; uses no network."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from genai_prices.data import providers
from genai_prices.types import ModelInfo, TieredPrices

from pancode.agents.models import CLOUD
from pancode.agents.tiers import CloudModel

_SOLD = Decimal(0)
"""A stand-in for prices where these do not matter."""


def cloud_models(now_ms: int) -> tuple[CloudModel, ...]:
    """Return every current model of the known vendors, at the prices valid at `now_ms`."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    return tuple(
        _make_model(provider.id, model, now)
        for provider in providers
        if provider.id in CLOUD
        for model in provider.models
        if not model.deprecated
    )


class KeptList:
    """The models of one vendor in the installed list (a pancode.agents.models.VendorList)."""

    def __init__(self, provider: str) -> None:
        self._models = tuple(model for one in providers if one.id == provider for model in one.models)
        known = (
            CloudModel(provider, m.id, None, _SOLD, None, _SOLD) for m in self._models if not m.deprecated
        )
        self.names = sorted(model.id for model in known if model.could_work)

    def knows(self, model: str) -> bool:
        return any(one.is_match(model) for one in self._models)


def _make_model(provider: str, model: ModelInfo, now: datetime) -> CloudModel:
    prices = model.get_prices(now)
    return CloudModel(
        provider,
        model.id,
        model.context_window,
        _find_base_price(prices.input_mtok),
        _find_base_price(prices.cache_read_mtok),
        _find_base_price(prices.output_mtok),
    )


def _find_base_price(price: Decimal | TieredPrices | None) -> Decimal | None:
    """Return the price; if it is tiered, the base price."""
    return price.base if isinstance(price, TieredPrices) else price
