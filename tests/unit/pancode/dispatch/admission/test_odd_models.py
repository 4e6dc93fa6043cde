"""What the routing gate lets pass and says nevertheless: of levels and of models."""

from __future__ import annotations

from dataclasses import replace

from node_agent.wire.order import Reasoning
from pancode.agents.request import AdmissionView, Defaults
from pancode.dispatch.admission.routing import judge
from tests.unit.pancode.core.fleets import node, resolved

VIEW = AdmissionView(())


def test_a_level_that_the_settings_wish_and_the_runtime_does_not_take_is_a_warning() -> None:
    settings = {"defaults": Defaults(reasoning=Reasoning.OFF)}
    chosen = resolved(node("desk", {"gemini": "ok"}), settings=settings, runtime="gemini")
    verdict = judge(chosen, VIEW)
    assert verdict.passed and verdict.warning
    words = "reasoning off of your settings is not asked for, gemini takes minimal, low, medium, high"
    assert words in verdict.words


def test_an_unheard_of_model_and_a_level_that_is_left_out_are_both_said() -> None:
    settings = {"defaults": Defaults(reasoning=Reasoning.OFF)}
    chosen = resolved(node("desk", {"gemini": "ok"}), settings=settings, runtime="gemini")
    verdict = judge(replace(chosen, unlisted="x-1 is not on the list"), VIEW)
    assert verdict.passed and verdict.warning
    assert "is not asked for" in verdict.words and "; x-1 is not on the list" in verdict.words
    assert verdict.fix == "name a level that it takes with --reasoning; pancode models --runtime gemini"
