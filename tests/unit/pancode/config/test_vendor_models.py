"""The table of vendors' models, from the list that is installed: tiers, prices, the owner's own word."""

from __future__ import annotations

from pathlib import Path

import pytest

from pancode.agents.models import CLOUD
from pancode.agents.price_list import cloud_models
from pancode.agents.vendor_lists import KeptLists
from pancode.config.vendor_models import models_of
from pancode.kernel.errors import NotFoundError

NOV_2026 = 1_795_132_800_000
JAN_2027 = 1_798_848_000_000


def test_a_runtimes_models_with_tier_and_price(tmp_path: Path) -> None:
    rows = {row["model"]: row for row in models_of("claude", None, tmp_path, {}, NOV_2026)}
    assert rows["anthropic/claude-opus-4-5"] == {
        "model": "anthropic/claude-opus-4-5",
        "tier": "frontier",
        "tier_by": "its family, claude-opus-*",
        "context": 200_000,
        "input_usd": "5",
        "cached_usd": "0.5",
        "output_usd": "25",
    }
    assert rows["anthropic/claude-haiku-4-5"]["tier"] == "mid"
    assert rows["anthropic/claude-2"]["cached_usd"] is None and rows["anthropic/claude-2"]["tier"] is None
    assert all(name.startswith("anthropic/") for name in rows)


def test_one_tier_and_the_owners_own_word(tmp_path: Path) -> None:
    (tmp_path / "pancode.yaml").write_text('models: {tiers: {"anthropic/claude-haiku-*": small}}')
    small = [row["model"] for row in models_of("claude", "small", tmp_path, {}, NOV_2026)]
    assert "anthropic/claude-haiku-4-5" in small and "anthropic/claude-opus-4-5" not in small
    with pytest.raises(NotFoundError, match="tier 'mdi' not found") as wrong:
        models_of("claude", "mdi", tmp_path, {}, NOV_2026)
    assert "mid?" in wrong.value.why


def test_a_price_is_that_of_its_day() -> None:
    def price(now_ms: int) -> str:
        found = next(m for m in cloud_models(now_ms) if m.id == "gemini-3.8-flash")
        return str(found.input_usd)

    assert (price(NOV_2026), price(JAN_2027)) == ("0.75", "1.5")


def test_a_list_knows_a_models_other_names_and_reads_only_vendors() -> None:
    lists = KeptLists()
    assert set(lists) == set(CLOUD) and len(lists) == len(CLOUD) and "ollama" not in lists
    claude = lists["anthropic"]
    assert lists["anthropic"] is claude
    assert claude.knows("claude-sonnet-4-5-20250929") and claude.knows("claude-opus-5-5")
    assert not claude.knows("claude-opsu-5")
    assert "claude-opus-5-5" in claude.names and "text-embedding-3-small" not in lists["openai"].names


def test_every_vendor_is_on_the_list() -> None:
    assert {model.provider for model in cloud_models(NOV_2026) if model.could_work} == set(CLOUD)
