"""How able a model is: by the owner's word, by size and usable context, by family; else unknown."""

from __future__ import annotations

import pytest

from pancode.agents.models import ModelRef, model_ref
from pancode.agents.tiers import ModelTier, parse_billions, tier_of


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("qwen2.5-coder:32b", 32),
        ("qwen3.5-35b-a3b", 35),
        ("mixtral-8x7b-instruct", 56),
        ("gemma-3-270m-it", 0.27),
        ("qwen3:0.6b", 0.6),
        ("gemma3n:e4b", 4),
        ("hf.co/unsloth/Qwen3-8B-GGUF:Q4_K_M", 8),
        ("claude-opus-5", None),
        ("gpt-4.1", None),
        ("phi4", None),
        ("llama3.2:latest", None),
    ],
)
def test_the_size_in_a_name(name: str, size: float | None) -> None:
    assert parse_billions(name) == size


@pytest.mark.parametrize(
    ("text", "parameters", "context", "tier"),
    [
        ("ollama/gemma:2b", None, 131_072, "small"),
        ("x", 2.0, 131_072, "small"),
        ("x", 8.0, None, "mid"),
        ("x", 8.0, 4096, "small"),
        ("x", 120.0, 131_072, "frontier"),
        ("gpt-oss:20b", None, None, "mid"),
        ("gpt-oss:120b", None, None, "frontier"),
        ("deepseek-r1:7b", None, None, "mid"),
        ("deepseek-r1", None, None, "frontier"),
        ("anthropic/claude-opus-5-5", None, None, "frontier"),
        ("anthropic/claude-haiku-4-5", None, None, "mid"),
        ("openai/gpt-5.4", None, None, "frontier"),
        ("openai/gpt-5.4-mini", None, None, "mid"),
        ("openai/gpt-5.4-nano", None, None, "small"),
        ("openai/o4-mini", None, None, "mid"),
        ("google/gemini-2.5-pro", None, None, "frontier"),
        ("google/gemini-2.5-flash", None, None, "mid"),
        ("google/gemini-2.5-flash-lite", None, None, "small"),
        ("openrouter/anthropic/claude-sonnet-4.5", None, None, "frontier"),
        ("somebody/new", None, None, None),
        ("somebody/new", None, 1_000_000, None),
    ],
)
def test_the_tier(text: str, parameters: float | None, context: int | None, tier: str | None) -> None:
    found = tier_of(model_ref(text), parameters, context)
    assert found.tier == tier
    assert found.why


def test_the_owner_has_the_first_word_by_any_of_the_models_names() -> None:
    ref = ModelRef("gpubox", "ollama", "tiny:1b")
    for pattern in ("tiny:*", "ollama/*", "gpubox/*"):
        found = tier_of(ref, overrides={"*": ModelTier.MID, pattern: ModelTier.FRONTIER})
        assert (found.tier, found.why) == (ModelTier.FRONTIER, f"models.tiers: {pattern}")
    assert tier_of(ref, overrides={"iny:*": ModelTier.FRONTIER}).tier is ModelTier.SMALL
