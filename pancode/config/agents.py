"""Reads agent definitions: the shipped ones, and panagents.yaml of the user laid over them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import Field

from pancode.config.checked import checked
from pancode.config.documents import Document, parse_document, read_document
from pancode.config.layers import Folded, file_layer, fold
from pancode.config.schema import Part, Settings
from pancode.config.values import Duration, Level, Money, Names, Size, Texts
from pancode.domain.agents import READ_TOOLS, Agent, AgentLimits, Agents, Speed, Tier, check_agent
from pancode.domain.runtimes import canonical
from pancode.errors import ConfigError

FILE = "panagents.yaml"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class LimitsEntry(Part):
    """Limits of one agent."""

    wall: Duration | None = None
    idle: Duration | None = None
    output: Size | None = None
    tokens: int | None = Field(default=None, gt=0)
    usd: Money | None = None
    requests: int | None = Field(default=None, gt=0)
    wrap_up: bool | None = None


class AgentEntry(Part):
    """One agent as it is written."""

    description: str = ""
    system_prompt: str = ""
    tools: Texts = READ_TOOLS
    readonly: bool = True
    tier: Annotated[Tier, Field(strict=False)] = Tier.ANY
    speed: Annotated[Speed, Field(strict=False)] = Speed.BALANCED
    runtime: str | None = None
    model: str | None = None
    reasoning: Level | None = None
    limits: LimitsEntry = LimitsEntry()
    max_attempts: int | None = Field(default=None, ge=1, le=10)
    env: Names = ()
    secrets: Names = ()
    tags: Texts = ()
    enabled: bool = True


class AgentFile(Part):
    """A panagents.yaml."""

    agents: dict[str, AgentEntry] = {}


@dataclass(frozen=True, slots=True)
class LoadedAgents:
    """All agents by name, and where each key of them was written."""

    agents: Agents
    folded: Folded

    def origin(self, name: str) -> str:
        """Where the agent was touched last: `built-in` or `file:line`."""
        return self.folded.origin(f"agents.{name}")


def load_agents(home: Path, settings: Settings, environ: Mapping[str, str]) -> LoadedAgents:
    """The shipped agents with the user's laid over them; ConfigError with file:line."""
    user = read_document(home / FILE)
    layers = [file_layer(_shipped())] + ([file_layer(user)] if user is not None else [])
    folded = fold(layers)
    entries = checked(AgentFile, folded.data, folded.origin).agents
    models = _models(settings, environ)
    agents: dict[str, Agent] = {}
    for name, entry in entries.items():
        where = folded.origin(f"agents.{name}")
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{where}: {name!r} is no name for an agent", fix="use a-z, 0-9, - and _")
        agents[name] = _agent(
            name, entry, _expanded(entry.model, models, folded.origin(f"agents.{name}.model"))
        )
        check_agent(agents[name], where)
    return LoadedAgents(agents, folded)


def shipped_text(name: str) -> str:
    """A file that is part of PanCode: panagents.yaml or reference.yaml, with its comments."""
    return resources.files("pancode.config").joinpath(name).read_text(encoding="utf-8")


def _shipped() -> Document:
    return parse_document(shipped_text(FILE), f"built-in {FILE}")


def _models(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """What ${VARIABLES} in a model stand for: the settings first, so that a file can set them as well."""
    models = settings.models
    known = {
        "PANCODE_MODEL": models.orchestrator,
        "PANCODE_WORKER_MODEL": models.worker,
        "PANCODE_SCOUT_MODEL": models.scout or models.worker,
    }
    return {**environ, **{name: model or "" for name, model in known.items()}}


def _expanded(model: str | None, variables: Mapping[str, str], where: str) -> str | None:
    """The model with its variables filled in. Nothing but an unset variable is no model at all."""
    if model is None or (whole := _VARIABLE.fullmatch(model)) and not variables.get(whole[1]):
        return None

    def fill(match: re.Match[str]) -> str:
        if not variables.get(match[1]):
            raise ConfigError(f"{where}: model {model!r} names ${{{match[1]}}}, which is not set")
        return variables[match[1]]

    return _VARIABLE.sub(fill, model)


def _agent(name: str, entry: AgentEntry, model: str | None) -> Agent:
    limits = entry.limits
    return Agent(
        name=name,
        description=entry.description,
        prompt=entry.system_prompt,
        tools=entry.tools,
        read_only=entry.readonly,
        tier=entry.tier,
        speed=entry.speed,
        runtime=canonical(entry.runtime) if entry.runtime else None,
        model=model,
        reasoning=entry.reasoning,
        limits=AgentLimits(
            limits.wall,
            limits.idle,
            limits.output,
            limits.tokens,
            limits.usd,
            limits.requests,
            limits.wrap_up,
        ),
        max_attempts=entry.max_attempts,
        env=entry.env,
        secrets=entry.secrets,
        tags=entry.tags,
        enabled=entry.enabled,
    )
