"""What the routing gate lets pass and says nevertheless: of levels, of models and of variables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from node_agent.wire.job import Reasoning
from pancode.kernel.node import NodeState, NodeView
from pancode.runs.admission.gates.capacity import judge_routing
from pancode.runs.admission.plan import GateVerdict
from pancode.runs.request import AdmissionView, Defaults, Project
from tests.unit.pancode.kernel.fleets import node, resolved

VIEW = AdmissionView(())


def test_a_level_that_the_settings_wish_and_the_runtime_does_not_take_is_a_warning() -> None:
    settings = {"defaults": Defaults(reasoning=Reasoning.OFF)}
    chosen = resolved(node("desk", {"gemini": "ok"}), settings=settings, runtime="gemini")
    verdict = judge_routing(chosen, VIEW)
    assert verdict.passed and verdict.warning
    words = "reasoning level off of your settings is ignored: gemini supports minimal, low, medium, high"
    assert words in verdict.words


def test_an_unheard_of_model_and_a_level_that_is_left_out_are_both_said() -> None:
    settings = {"defaults": Defaults(reasoning=Reasoning.OFF)}
    chosen = resolved(node("desk", {"gemini": "ok"}), settings=settings, runtime="gemini")
    verdict = judge_routing(replace(chosen, unlisted="x-1 is not on the list"), VIEW)
    assert verdict.passed and verdict.warning
    assert "is ignored" in verdict.words and "; x-1 is not on the list" in verdict.words
    assert "pancode models --runtime gemini" in verdict.fix


def with_env(*nodes: NodeView, **options: Any) -> GateVerdict:
    """The verdict on a request in a project that names PIP_CERT and CI in its `env:`."""
    settings = {"project": Project(env=("PIP_CERT", "CI"))}
    return judge_routing(resolved(*nodes, settings=settings, **options), VIEW)


def test_a_variable_that_no_machine_has_is_said_with_the_machines_and_what_gives_it_a_value() -> None:
    verdict = with_env(node("a", variables=("CI", "PATH")), node("b", variables=()))
    assert verdict.passed and verdict.warning
    assert verdict.words.endswith("claude on a, b; env: PIP_CERT has no value on a, b")
    assert verdict.fix == "pancode node secret a PIP_CERT; pancode node secret b PIP_CERT"
    far = with_env(node("a", state=NodeState.UNREACHABLE, variables=("CI",)))
    assert "it would wait" in far.words and "env: PIP_CERT has no value on a" in far.words


def test_one_machine_that_has_it_or_does_not_tell_is_enough_unless_another_is_named() -> None:
    poor, rich = node("a", variables=("PATH",)), node("b", variables=("CI", "PIP_CERT"))
    assert not with_env(poor, rich).warning
    named = with_env(poor, rich, node="a")
    assert named.warning and "env: PIP_CERT, CI have no value on a" in named.words and " b" not in named.words
    older = node("b")
    assert not with_env(poor, older).warning and not with_env(older).warning
