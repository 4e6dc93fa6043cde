"""The format of an agent in panagents.yaml: every key, and its meaning for a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated

from pydantic import BeforeValidator, Field

from node_agent.wire.endpoint import Sampling
from node_agent.wire.policy import NetworkAccess
from pancode.agents.agents import READ_TOOLS, AgentIsolation, AgentLimits, Autonomy, Flaw, Role, Speed, Tier
from pancode.config.schema import Part
from pancode.config.units import Duration, GpuCount, Level, Money, Names, Size, Texts
from pancode.kernel.names import find_nearest

DEFAULT_PROMPT = "default"
LITTLE = 20_000
"""Tokens that an agent program's first call alone may need, for its own prompt and tools."""
PRESETS: dict[str, dict[str, object]] = {
    "coding": {"temperature": "0.2", "top_p": "0.95"},
    "general": {"temperature": "0.7", "top_p": "0.95"},
    "reasoning": {"temperature": "0.6", "top_p": "0.95", "top_k": 20},
}
"""The named sampling presets."""


def _resolve_sampling(value: object) -> object:
    """Return sampling settings from a preset's name, or from a mapping that may extend a preset."""
    given = {"preset": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping) or "preset" not in given:
        return given
    name = given["preset"]
    if name not in PRESETS:
        near = find_nearest(str(name), PRESETS)
        words = f"did you mean {near}?" if near else f"there are {', '.join(PRESETS)}"
        raise ValueError(f"sampling preset {name!r} not found; {words}")
    return {**PRESETS[str(name)], **{key: one for key, one in given.items() if key != "preset"}}


def _parse_decimal(value: object) -> object:
    """Return a number as a Decimal of its shortest text, so that a float keeps its written value."""
    try:
        return Decimal(str(value)) if not isinstance(value, bool) and value is not None else value
    except InvalidOperation:
        raise ValueError(f"{value!r} is not a number") from None


_Share = Annotated[Decimal, BeforeValidator(_parse_decimal), Field(max_digits=9, decimal_places=6)]


class SamplingEntry(Part):
    """Sampling: how a model chooses tokens."""

    temperature: Annotated[_Share, Field(ge=0, le=2)] | None = None
    top_p: Annotated[_Share, Field(gt=0, le=1)] | None = None
    top_k: int | None = Field(default=None, ge=1, le=1_000_000)
    presence_penalty: Annotated[_Share, Field(ge=-2, le=2)] | None = None

    def wire(self) -> Sampling | None:
        """Return the settings in wire form; None if none are set."""
        values = self.model_dump(exclude_none=True)
        return Sampling(**values) if values else None


class LimitsEntry(Part):
    """Limits of one agent."""

    wall: Duration | None = None
    idle: Duration | None = None
    output: Size | None = None
    tokens: int | None = Field(default=None, gt=0)
    usd: Money | None = None
    requests: int | None = Field(default=None, gt=0)
    wrap_up: bool | None = None
    turns: int | None = Field(default=None, gt=0)


class AgentEntry(Part):
    """One agent as written in a file."""

    description: str = ""
    system_prompt: str = ""
    prompt: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")] = DEFAULT_PROMPT
    role: Annotated[Role, Field(strict=False)] | None = None
    tools: Texts = READ_TOOLS
    readonly: bool = True
    tier: Annotated[Tier, Field(strict=False)] = Tier.ANY
    speed: Annotated[Speed, Field(strict=False)] = Speed.BALANCED
    autonomy: Annotated[Autonomy, Field(strict=False)] = Autonomy.AUTONOMOUS
    isolation: Annotated[AgentIsolation, Field(strict=False)] = AgentIsolation.NONE
    network: Annotated[NetworkAccess, Field(strict=False)] | None = None
    runtime: str | None = None
    node: str | None = None
    gpus: GpuCount | None = None
    gpu_memory: Size | None = None
    runtime_args: Texts = ()
    model: str | None = None
    reasoning: Level | None = None
    sampling: Annotated[SamplingEntry, BeforeValidator(_resolve_sampling)] = SamplingEntry()
    token_budget: int | None = Field(default=None, gt=0)
    max_turns: int | None = Field(default=None, gt=0)
    retry_on_failure: bool | None = None
    limits: LimitsEntry = LimitsEntry()
    max_attempts: int | None = Field(default=None, ge=1, le=10)
    env: Names = ()
    secrets: Names = ()
    skills: Texts = ()
    tags: Texts = ()
    enabled: bool = True

    def run_limits(self) -> AgentLimits:
        """Return the limits; `token_budget` and `max_turns` are other names for two of the limits."""
        limits = self.limits
        return AgentLimits(
            limits.wall,
            limits.idle,
            limits.output,
            limits.tokens or self.token_budget,
            limits.usd,
            limits.requests,
            limits.wrap_up,
            limits.turns or self.max_turns,
        )

    def attempts(self) -> int | None:
        """Return the number of attempts; `retry_on_failure` true: 2, false: 1; None: the fleet's default."""
        if self.retry_on_failure is None or self.max_attempts is not None:
            return self.max_attempts
        return 2 if self.retry_on_failure else 1


def entry_flaws(name: str, entry: AgentEntry, is_own: Callable[[str], bool]) -> Iterator[Flaw]:
    """Yield the problems of a definition. `is_own`: whether the user, not PanCode, wrote that key."""
    if entry.runtime_args:
        yield Flaw(
            "runtime_args",
            f"agent {name}: runtime_args are not allowed: {' '.join(entry.runtime_args)}",
            "a flag such as --dangerously-skip-permissions could lift a run's limits; PanCode builds the "
            "whole command line from mode, safety, tools, model and limits",
            "remove runtime_args; use the keys model, tools, limits or env",
        )
    if entry.prompt != DEFAULT_PROMPT and entry.system_prompt and is_own("system_prompt"):
        yield Flaw(
            "prompt",
            f"agent {name} has both a system_prompt and a prompt, which each define its role",
            f"prompt: {entry.prompt} refers to the file prompts/{entry.prompt}.md",
            "remove one of them",
            beside=("system_prompt",),
        )
    yield from _find_contradictions(name, entry)


def _find_contradictions(name: str, entry: AgentEntry) -> Iterator[Flaw]:
    """Yield pairs of equivalent keys whose values differ."""
    retried = None if entry.retry_on_failure is None else entry.retry_on_failure
    pairs = (
        ("token_budget", entry.token_budget, "limits.tokens", entry.limits.tokens),
        ("max_turns", entry.max_turns, "limits.turns", entry.limits.turns),
        ("retry_on_failure", retried, "max_attempts", entry.max_attempts and entry.max_attempts > 1),
    )
    for field, one, other, second in pairs:
        if one is not None and second is not None and one != second:
            what = f"agent {name}: {field} and {other} contradict each other"
            yield Flaw(field, what, fix="remove one of them", beside=(other.partition(".")[0],))


def find_remarks(name: str, entry: AgentEntry) -> Iterator[Flaw]:
    """Yield warnings about values that are allowed, but probably not intended."""
    tokens = entry.run_limits().tokens
    if tokens is not None and tokens < LITTLE:
        field = "token_budget" if entry.token_budget is not None else "limits.tokens"
        yield Flaw(
            field,
            f"agent {name}: with {tokens} tokens, a run ends at its first or second model call",
            "an agent program's own prompt and tools may need 10,000 to 30,000 tokens",
            f"set a limit for the whole run, such as 200000, or remove {field}",
        )
