"""Routes of agents: the definitions that count in a folder, and the prompt of one of them."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Any, TypeVar

from node_agent.wire.policy import Mode, Safety
from pancode.api.context import ApiContext
from pancode.api.routing import ApiCall, Verb
from pancode.domain.agents import Agent, find_agent
from pancode.domain.names import not_found
from pancode.domain.prompts import Situation, compile_prompt, tokens_of
from pancode.domain.runtimes import RUNTIMES, canonical

E = TypeVar("E", bound=StrEnum)


def _agents(context: ApiContext, call: ApiCall) -> Any:
    agents = context.coordinator.around({}).agents(context.project_of(call.query.get("cwd")))
    name = call.query.get("name")
    chosen = [find_agent(agents, name)] if name is not None else list(agents.values())
    return {"agents": [_plain(agent) for agent in chosen]}


def _plain(agent: Agent) -> dict[str, Any]:
    """By the names of panagents.yaml, where those are not ours."""
    said = asdict(agent)
    usd, sampling = agent.limits.usd, agent.sampling
    del said["said_role"], said["walls"]
    return {
        **said,
        "limits": {**said["limits"], "usd": None if usd is None else f"{usd:f}"},
        "sampling": None if sampling is None else sampling.model_dump(mode="json", exclude_none=True),
        "role": agent.role.value,
        "isolation": agent.walls.value,
    }


def _prompt(context: ApiContext, call: ApiCall) -> Any:
    """As `dispatch` would compile it here; the repository's AGENTS.md comes to it on the node."""
    around, project = context.coordinator.around({}), context.project_of(call.query.get("cwd"))
    agent, defaults = find_agent(around.agents(project), call.path["agent"]), around.defaults(project)
    runtime = canonical(call.query.get("runtime") or agent.runtime or defaults.runtime)
    if runtime not in RUNTIMES:
        raise not_found("runtime", runtime, RUNTIMES, "pancode runtimes")
    mode = _one_of(Mode, call.query.get("mode"), defaults.mode)
    safety = _one_of(Safety, call.query.get("safety"), defaults.safety)
    prompt = compile_prompt(agent, Situation(mode, safety, runtime, around.rules(project)))
    return {
        "agent": agent.name,
        "mode": mode.value,
        "safety": safety.value,
        "runtime": runtime,
        "digest": prompt.digest,
        "tokens": tokens_of(prompt, "", around.project(project).guide_chars),
        "pieces": [asdict(piece) for piece in prompt.pieces],
    }


def _one_of(kind: type[E], word: str | None, default: E) -> E:
    if word is None:
        return default
    if word not in set(kind):
        what = kind.__name__.lower()
        raise not_found(what, word, list(kind), "pancode modes" if kind is Mode else f"pancode {what}")
    return kind(word)


AGENT_VERBS: tuple[Verb, ...] = (
    Verb("GET", "/v1/agents", _agents, query=("cwd", "name")),
    Verb("GET", "/v1/agents/{agent}/prompt", _prompt, query=("cwd", "mode", "safety", "runtime")),
)
