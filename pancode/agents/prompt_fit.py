"""Decides what a prompt leaves out so that the first call fits its model; the task is never left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pancode.agents.agents import Agent
from pancode.agents.endpoints import context_of
from pancode.agents.model_profiles import endpoints_of
from pancode.agents.models import ModelRef
from pancode.agents.prompts import Category, Prompt, Situation, compile_prompt
from pancode.kernel.formatting import count_noun
from pancode.kernel.node import NodeView

SHARE = 2
"""The first call takes at most one part in so many of the window: the work has to fit, too."""
SHORTENED = {
    Category.IDENTITY: "who the agent is: its name and description stand in place of its own prompt",
    Category.REPORT: "the form of its report: only the names of the parts are told",
}
"""What is left out, in this order, after the notes of earlier runs; by category, in words."""


@dataclass(frozen=True, slots=True)
class FittedPrompt:
    """The prompt, and what it leaves out, in words, in the order in which that was left out."""

    prompt: Prompt
    left_out: tuple[str, ...] = ()
    notes: int = 0
    """How many of the notes the prompt has: the first ones."""


def fit_prompt(agent: Agent, situation: Situation, task: str, context: int | None) -> FittedPrompt:
    """Return the first prompt that leaves the model enough room, else the shortest. `context`: tokens of the
    model's window; None: not known, so nothing is left out.

    Mode, safety, rules, tools and the constitution are always told.
    """
    made = FittedPrompt(compile_prompt(agent, situation), notes=len(situation.notes))
    for one in _shorter(agent, situation) if context is not None else ():
        if is_within_context(made.prompt, task, situation.runtime, context):
            break
        made = one
    return made


def is_within_context(prompt: Prompt, task: str, runtime: str, context: int | None) -> bool:
    return context is None or context_of(runtime, prompt.text, task) <= context // SHARE


def _shorter(agent: Agent, situation: Situation) -> Iterator[FittedPrompt]:
    """Yield prompts that leave out ever more: the last notes first, then parts that can be said in short."""
    many, left_out = len(situation.notes), tuple[str, ...]()
    for kept in reversed(range(many)):
        left_out = (f"{count_noun(many - kept, 'note')} of earlier runs",)
        shorter = replace(situation, notes=situation.notes[:kept])
        yield FittedPrompt(compile_prompt(agent, shorter), left_out, kept)
    situation = replace(situation, notes=())
    for category, words in SHORTENED.items():
        longer = compile_prompt(agent, situation)
        situation = replace(situation, short=situation.short | {category})
        prompt = compile_prompt(agent, situation)
        if len(prompt.text) < len(longer.text):
            left_out = (*left_out, words)
            yield FittedPrompt(prompt, left_out)


def window_of(ref: ModelRef | None, endpoint: str | None, nodes: Sequence[NodeView]) -> int | None:
    """Return the largest window that a fleet's server gives the model, in tokens; None: none is known."""
    if ref is None or endpoint is None:
        return None
    places = (view for view in nodes if ref.node in (None, view.node.name))
    servers = (one for view in places for one in endpoints_of(view) if one.name == endpoint)
    models = (one.model(ref.model) for one in servers)
    return max((one.ctx_usable for one in models if one is not None and one.ctx_usable), default=None)
