"""What the settings say of models: names, tiers, how hard they think."""

from __future__ import annotations

import pytest

from node_agent.wire.job import Reasoning
from node_agent.wire.policy import Mode, NetworkAccess
from pancode.agents.tiers import ModelTier
from pancode.kernel.errors import ConfigError
from tests.unit.pancode.conftest import Load


@pytest.mark.parametrize(("word", "level"), [("off", Reasoning.OFF), ("xhigh", Reasoning.XHIGH)])
def test_a_reasoning_level_in_a_file(loaded: Load, word: str, level: Reasoning) -> None:
    """YAML reads a bare `off` as false."""
    assert loaded(user=f"dispatch: {{reasoning: {word}}}").settings.dispatch.reasoning is level


@pytest.mark.parametrize(
    ("word", "words"),
    [("hihg", "high?"), ("true", "reasoning level True not found"), ("5", "levels: off, minimal")],
)
def test_a_reasoning_level_that_is_none(loaded: Load, word: str, words: str) -> None:
    with pytest.raises(ConfigError, match=r"pancode.yaml:1: dispatch.reasoning") as caught:
        loaded(user=f"dispatch: {{reasoning: {word}}}")
    assert words in caught.value.why


def test_tiers_of_models(loaded: Load) -> None:
    found = loaded(machine='models: {tiers: {"a*": small}}', user='models:\n  tiers:\n    "b*": frontier\n')
    assert found.settings.models.tiers == {"a*": ModelTier.SMALL, "b*": ModelTier.FRONTIER}
    assert ("models.tiers", "{a*: small, b*: frontier}") in [(key, value) for key, value, _ in found.rows()]


def test_tiers_are_the_owners_and_one_of_three(loaded: Load) -> None:
    with pytest.raises(ConfigError, match=r"models.tiers.a\*"):
        loaded(user='models: {tiers: {"a*": huge}}')
    with pytest.raises(ConfigError, match="models.tiers"):
        loaded(project='models: {tiers: {"a*": mid}}')


def test_the_network_of_a_mode(loaded: Load) -> None:
    found = loaded(user="dispatch: {network: {review: gateway}}")
    assert found.settings.defaults().network == {Mode.REVIEW: NetworkAccess.GATEWAY}
    assert ("dispatch.network", "{review: gateway}") in [(key, value) for key, value, _ in found.rows()]
    with pytest.raises(ConfigError, match=r"dispatch.network"):
        loaded(user="dispatch: {network: {reviewing: gateway}}")
    with pytest.raises(ConfigError, match="dispatch.network"):
        loaded(project="dispatch: {network: {review: machine}}")


@pytest.mark.parametrize("model", ["ollama/", " x", "''"])
def test_a_model_that_is_none(loaded: Load, model: str) -> None:
    with pytest.raises(ConfigError, match=r"pancode.yaml:1: models.worker") as caught:
        loaded(user=f'models: {{worker: "{model}"}}' if model != "''" else "models: {worker: ''}")
    assert "is not a valid model" in caught.value.why
