"""Routes of agents: their definitions, and the prompts of their runs."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from node_agent.wire.policy import Mode, Safety
from pancode.agents import answers
from pancode.agents.agents import ORCHESTRATOR, Agent, find_agent
from pancode.agents.prompts import Situation, fit_prompt, tokens_of
from pancode.agents.runtimes import RUNTIMES, no_runtime
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, Verb
from pancode.kernel.declared import make_answer
from pancode.kernel.names import not_found
from pancode.runs.prompt_history import program_for, read_prompt

E = TypeVar("E", bound=StrEnum)


@Verb(answers.AGENTS, command="agents ls", query=("cwd", "name"))
def _agents(context: ApiContext, call: ApiCall) -> answers.AgentsAnswer:
    """List agent definitions."""
    agents = context.coordinator.around({}).agents(context.project_of(call.query.get("cwd")))
    name = call.query.get("name")
    chosen = [find_agent(agents, name)] if name is not None else list(agents.values())
    talks = ORCHESTRATOR if find_agent(agents, ORCHESTRATOR).enabled else None
    return {"agents": [_shape(agent) for agent in chosen], "talks": talks}


def _shape(agent: Agent) -> answers.AgentShape:
    sampling = None if agent.sampling is None else agent.sampling.model_dump(mode="json", exclude_none=True)
    return make_answer(answers.AgentShape, agent, isolation=agent.isolations.value, sampling=sampling)


@Verb(answers.PROMPT, command="agents prompt", query=("cwd", "mode", "safety", "runtime", "model", "task"))
def _prompt(context: ApiContext, call: ApiCall) -> answers.PromptAnswer:
    """Show the prompt of an agent.

    The prompt is compiled as for a dispatch from this folder; the node adds the repository's AGENTS.md.
    """
    around, project = context.coordinator.around({}), context.project_of(call.query.get("cwd"))
    agent, defaults = find_agent(around.agents(project), call.path["agent"]), around.defaults(project)
    usual, model = agent.runtime or defaults.runtime, call.query.get("model")
    named = call.query.get("runtime")
    runtime, window = program_for(context.core, model, named, usual, defaults.tiers)
    if runtime not in RUNTIMES:
        raise no_runtime(runtime)
    mode = _one_of(Mode, call.query.get("mode"), defaults.mode)
    safety = _one_of(Safety, call.query.get("safety"), defaults.safety)
    task = call.query.get("task") or ""
    prd = "" if project is None else around.prd_for_agents(project)
    prompt = fit_prompt(agent, Situation(mode, safety, runtime, around.rules(project), prd=prd), task, window)
    return {
        "agent": agent.name,
        "mode": mode.value,
        "safety": safety.value,
        "runtime": runtime,
        "window": window,
        "digest": prompt.prompt.digest,
        "tokens": tokens_of(prompt.prompt, task, around.project(project).guide_chars),
        "left_out": list(prompt.left_out),
        "pieces": [{"category": piece.category, "text": piece.text} for piece in prompt.prompt.pieces],
    }


@Verb(answers.RUN_PROMPT, command="agents prompt")
def _told(context: ApiContext, call: ApiCall) -> answers.RunPromptAnswer:
    """Show the prompt that a run got."""
    return read_prompt(context.core, call.path["run"])


def _one_of(kind: type[E], word: str | None, default: E) -> E:
    if word is None:
        return default
    if word not in set(kind):
        what = kind.__name__.lower()
        raise not_found(what, word, list(kind), "pancode policy show")
    return kind(word)
