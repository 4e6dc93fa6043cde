"""Routes of agents, presets and models: definitions, prompts, the preset that is applied, model tests."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Any, TypeVar

from node_agent.wire.policy import Mode, Safety
from pancode.access.rights import SETS_UP, TESTS
from pancode.agents.agents import ORCHESTRATOR, Agent, find_agent
from pancode.agents.fitting import fitted
from pancode.agents.presets import Preset, find_preset
from pancode.agents.prompts import Situation, tokens_of
from pancode.agents.runtimes import RUNTIMES
from pancode.api.context import ApiContext
from pancode.api.document.answers import (
    AgentsAnswer,
    AppliedAnswer,
    EventStream,
    PresetsAnswer,
    PromptAnswer,
    PromptVersionsAnswer,
    RunPromptAnswer,
)
from pancode.api.request.bodies import ActBody, ExamBody, PresetBody
from pancode.api.routing import ApiCall, Verb
from pancode.api.streaming import sse, steps
from pancode.control.paging import MOST_ROWS
from pancode.core.names import not_found
from pancode.errors import NotFoundError
from pancode.fleet.acts import Progress
from pancode.fleet.exams import examine, where
from pancode.runs.fleet_settings import record_preset
from pancode.runs.prompts import program_for, told_prompt, versions

E = TypeVar("E", bound=StrEnum)


def _agents(context: ApiContext, call: ApiCall) -> Any:
    agents = context.coordinator.around({}).agents(context.project_of(call.query.get("cwd")))
    name = call.query.get("name")
    chosen = [find_agent(agents, name)] if name is not None else list(agents.values())
    talks = ORCHESTRATOR if find_agent(agents, ORCHESTRATOR).enabled else None
    return {"agents": [_plain(agent) for agent in chosen], "talks": talks}


def _plain(agent: Agent) -> dict[str, Any]:
    """By the names of panagents.yaml, where those are not ours."""
    fields = asdict(agent)
    usd, sampling = agent.limits.usd, agent.sampling
    del fields["said_role"], fields["walls"]
    return {
        **fields,
        "limits": {**fields["limits"], "usd": None if usd is None else f"{usd:f}"},
        "sampling": None if sampling is None else sampling.model_dump(mode="json", exclude_none=True),
        "role": agent.role.value,
        "isolation": agent.walls.value,
    }


def _prompt(context: ApiContext, call: ApiCall) -> Any:
    """As `dispatch` would compile it here; the repository's AGENTS.md comes to it on the node."""
    around, project = context.coordinator.around({}), context.project_of(call.query.get("cwd"))
    agent, defaults = find_agent(around.agents(project), call.path["agent"]), around.defaults(project)
    usual, model = agent.runtime or defaults.runtime, call.query.get("model")
    runtime, window = program_for(context.core, model, call.query.get("runtime"), usual)
    if runtime not in RUNTIMES:
        raise not_found("runtime", runtime, RUNTIMES, "pancode runtimes")
    mode = _one_of(Mode, call.query.get("mode"), defaults.mode)
    safety = _one_of(Safety, call.query.get("safety"), defaults.safety)
    task = call.query.get("task") or ""
    told = fitted(agent, Situation(mode, safety, runtime, around.rules(project)), task, window)
    return {
        "agent": agent.name,
        "mode": mode.value,
        "safety": safety.value,
        "runtime": runtime,
        "window": window,
        "digest": told.prompt.digest,
        "tokens": tokens_of(told.prompt, task, around.project(project).guide_chars),
        "left_out": list(told.left_out),
        "pieces": [asdict(piece) for piece in told.prompt.pieces],
    }


def _versions(context: ApiContext, call: ApiCall) -> Any:
    return {"versions": versions(context.core, call.path["agent"], call.number("limit", 20, MOST_ROWS))}


def _told(context: ApiContext, call: ApiCall) -> Any:
    return told_prompt(context.core, call.path["run"])


def _one_of(kind: type[E], word: str | None, default: E) -> E:
    if word is None:
        return default
    if word not in set(kind):
        what = kind.__name__.lower()
        raise not_found(what, word, list(kind), "pancode modes" if kind is Mode else f"pancode {what}")
    return kind(word)


def _presets(context: ApiContext, call: ApiCall) -> Any:
    around = context.coordinator.around({})
    loaded, applied = around.presets(), around.applied()
    name = call.query.get("name")
    chosen = [find_preset(loaded.presets, name)] if name is not None else loaded.presets.values()
    return {"presets": [_shape(p, loaded.origin(p.name), p.name == applied) for p in chosen]}


def _shape(preset: Preset, origin: str, applied: bool) -> dict[str, Any]:
    return {
        "name": preset.name,
        "description": preset.description,
        "model": preset.model,
        "worker_model": preset.worker_model,
        "scout_model": preset.scout_model,
        "reasoning": preset.reasoning,
        "safety": preset.safety,
        "origin": origin,
        "applied": applied,
    }


def _apply(context: ApiContext, call: ApiCall) -> Any:
    """Kept by the coordinator, beside the user's files; every dispatch from now on has it."""
    body: PresetBody = call.body
    preset = find_preset(context.coordinator.around({}).presets().presets, body.name)
    before = context.coordinator.applied_preset(preset.name)
    record_preset(context.core, preset.name, before, body.by)
    around = context.coordinator.around({})
    rows = [row for row in around.origins(None) if row["key"] in preset.settings()]
    raised = around.defaults(None).raised
    return {"preset": preset.name, "before": before, "settings": rows, "warnings": [raised] if raised else []}


def _unset(context: ApiContext, call: ApiCall) -> Any:
    body: ActBody = call.body
    before = context.coordinator.applied_preset(None)
    if before is None:
        raise NotFoundError("no preset is applied", fix="pancode presets", code="no_preset")
    record_preset(context.core, None, before, body.by)
    return {"preset": None, "before": before}


def _test(context: ApiContext, call: ApiCall) -> Any:
    body: ExamBody = call.body
    places = where(context.core, body.model, body.node)
    ends = context.closing.wait

    def work(progress: Progress) -> Any:
        tests = [examine(context.core, one, body.again, progress, context.poke, ends) for one in places]
        return {"tests": tests}

    return sse(steps(context, work))


AGENT_VERBS: tuple[Verb, ...] = (
    Verb("GET", "/v1/agents", _agents, query=("cwd", "name"), answers=AgentsAnswer),
    Verb(
        "GET",
        "/v1/agents/{agent}/prompt",
        _prompt,
        query=("cwd", "mode", "safety", "runtime", "model", "task"),
        answers=PromptAnswer,
    ),
    Verb(
        "GET",
        "/v1/agents/{agent}/prompt/versions",
        _versions,
        query=("limit",),
        answers=PromptVersionsAnswer,
    ),
    Verb("GET", "/v1/runs/{run}/prompt", _told, answers=RunPromptAnswer),
)

PRESET_VERBS: tuple[Verb, ...] = (
    Verb("GET", "/v1/presets", _presets, query=("name",), answers=PresetsAnswer),
    Verb("POST", "/v1/presets/apply", _apply, PresetBody, right=SETS_UP, answers=AppliedAnswer),
    Verb("POST", "/v1/presets/unset", _unset, ActBody, right=SETS_UP, answers=AppliedAnswer),
)

MODEL_VERBS: tuple[Verb, ...] = (
    Verb("POST", "/v1/models/test", _test, ExamBody, right=TESTS, answers=EventStream),
)
