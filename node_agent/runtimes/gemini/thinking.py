"""The reasoning effort of the Gemini CLI: newer models take a level, older ones a budget of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from node_agent.wire.job import Reasoning

LEVELS: Mapping[Reasoning, tuple[str, int]] = {
    Reasoning.MINIMAL: ("MINIMAL", 512),
    Reasoning.LOW: ("LOW", 2048),
    Reasoning.MEDIUM: ("MEDIUM", 8192),
    Reasoning.HIGH: ("HIGH", 24_576),
}
"""The effort levels. Not every model of this vendor can stop thinking, and none has a level above `high`."""
_BUDGETED = "gemini-2.5"


def build_overrides(reasoning: Reasoning | None, model: str | None) -> dict[str, Any]:
    """Return the settings of the effort for both kinds of model, because the program may choose the model."""
    return {"modelConfigs": {"customOverrides": list(_list_overrides(reasoning, model))}} if reasoning else {}


def _list_overrides(reasoning: Reasoning, model: str | None) -> Iterator[dict[str, Any]]:
    level, budget = LEVELS[reasoning]
    yield _make_override("chat-base-2.5", {"thinkingBudget": budget})
    yield _make_override("chat-base-3", {"thinkingLevel": level})
    if model is not None:  # a model that is in none of the program's own lists
        budgeted = model.startswith(_BUDGETED)
        yield _make_override(model, {"thinkingBudget": budget} if budgeted else {"thinkingLevel": level})


def _make_override(model: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"match": {"model": model}, "modelConfig": {"generateContentConfig": {"thinkingConfig": config}}}
