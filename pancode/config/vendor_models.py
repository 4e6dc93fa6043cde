"""Lists the vendor models that a runtime can use, with tier and price; needs no coordinator or network."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from pancode.agents.models import ModelRef
from pancode.agents.price_list import cloud_models
from pancode.agents.tiers import CloudModel, ModelTier, list_capable, providers_of, tier_of
from pancode.config.agents.presets import NO_PRESET
from pancode.config.load import ConfigPlaces, load
from pancode.kernel.names import not_found


def models_of(
    runtime: str, tier: str | None, home: Path, environ: Mapping[str, str], now_ms: int
) -> list[dict[str, Any]]:
    """Return a row for each cloud model. NotFoundError, with the nearest name: unknown runtime or tier."""
    if tier is not None and tier not in list(ModelTier):
        raise not_found("tier", tier, ModelTier, "--tier small, mid or frontier")
    overrides = load(ConfigPlaces(home), environ, preset=NO_PRESET).settings.models.tiers
    rows = [
        _make_row(model, overrides) for model in list_capable(cloud_models(now_ms), providers_of(runtime))
    ]
    return [row for row in rows if tier in (None, row["tier"])]


def _make_row(model: CloudModel, overrides: dict[str, ModelTier]) -> dict[str, Any]:
    found = tier_of(ModelRef(None, model.provider, model.id), context=model.context, overrides=overrides)
    return {
        "model": f"{model.provider}/{model.id}",
        "tier": found.tier,
        "tier_by": found.why,
        "context": model.context,
        "input_usd": _format_usd(model.input_usd),
        "cached_usd": _format_usd(model.cached_usd),
        "output_usd": _format_usd(model.output_usd),
    }


def _format_usd(price: Decimal | None) -> str | None:
    return None if price is None else format(price.normalize(), "f")
