"""Vendors' models: which could do the work of a run, and which runtime can use which vendor's."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pancode.agents.models import CLOUD
from pancode.agents.tiers import CloudModel, list_capable, providers_of
from pancode.kernel.errors import NotFoundError, UsageError


def model(text: str, price: str | None = "1") -> CloudModel:
    provider, _, name = text.partition("/")
    usd = None if price is None else Decimal(price)
    return CloudModel(provider, name, 100_000, usd, None, usd)


@pytest.mark.parametrize(
    ("name", "could"),
    [
        ("anthropic/claude-opus-5", True),
        ("openai/gpt-5.4", True),
        ("openai/o3", True),
        ("google/gemini-2.5-pro", True),
        ("groq/qwen/qwen3-32b", True),
        ("google/claude-opus-4-5", False),
        ("google/gemini-2.5-pro-tts", False),
        ("openai/text-embedding-3-large", False),
        ("openai/gpt-4o-mini-2024-07-18.ft-", False),
        ("openai/ada", False),
        ("openrouter/anthropic/claude-opus-5:batch", False),
        ("mistral/voxtral-mini-2602", False),
    ],
)
def test_which_models_could_work(name: str, could: bool) -> None:
    assert model(name).could_work is could


def test_a_model_without_a_price_is_none_that_is_sold() -> None:
    assert not model("openai/gpt-5.4", None).could_work


def test_only_a_runtimes_own_vendors_in_their_order() -> None:
    every = [model("openai/gpt-5"), model("groq/x"), model("anthropic/claude-b"), model("anthropic/claude-a")]
    assert [m.id for m in list_capable(every, providers_of("cli:claude-code"))] == ["claude-a", "claude-b"]
    assert [m.id for m in list_capable(every, ("groq", "openai"))] == ["x", "gpt-5"]
    assert providers_of("native") == tuple(CLOUD)


def test_what_nobody_can_say() -> None:
    said = {}
    for name in ("opencode", "copilot", "acp:vibe"):
        with pytest.raises(UsageError, match=f"for runtime {name}") as asked:
            providers_of(name)
        said[name] = asked.value.why
    assert said["acp:vibe"].endswith("on its node, which lists its own models")
    assert said["copilot"].endswith("or, with a subscription, GitHub, where your plan determines the models")
    assert "with a subscription, OpenAI" in said["opencode"]
    with pytest.raises(UsageError, match="for runtime shell") as own:
        providers_of("shell")
    assert "calls no model" in own.value.why
    with pytest.raises(NotFoundError) as near:
        providers_of("claud")
    assert "claude?" in near.value.why
