"""Judges the health of an active agent from its signs of life: the state, its gravity, and the reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from node_agent.wire.node import Signs
from pancode.kernel.formatting import format_seconds
from pancode.kernel.records import Decision
from pancode.runs.life.case import RunStage

HEALTH = "health"
"""The kind of timeline entries about a run's health."""
SOON_MS = 60_000
"""Maximum age in milliseconds of a current sign of life; a node looks for signs every half minute."""


class HealthState(StrEnum):
    """The health state of an agent that has work."""

    WORKING = "working"
    THINKING = "thinking"
    COMMAND = "long command"
    QUESTION = "question"
    LIMITED = "rate limit"
    SUSPENDED = "resting"
    QUIET = "quiet"
    STUCK = "stuck"
    AWAY = "not heard"


class Gravity(StrEnum):
    """How serious a health state is: nothing to do, a warning, or a user should act."""

    WELL = "well"
    WARNING = "warning"
    USER = "person"


@dataclass(frozen=True, slots=True)
class HealthRules:
    """The owner's health limits; times in milliseconds.

    `failures`: how often the same work is recovered (reset once a recovery has lasted for `stable_ms`), and
    how many agents may fail within a minute before the fleet is paused. `between_ms`: the shortest time
    between two warnings about one run. `words`: whether a quiet agent gets one message about this.
    """

    look_ms: int = 30_000
    warn_ms: int = 15 * 60_000
    stuck_ms: int = 30 * 60_000
    between_ms: int = 5 * 60_000
    stable_ms: int = 30 * 60_000
    failures: int = 3
    words: bool = True


@dataclass(frozen=True, slots=True)
class AgentSeen:
    """What is known about an agent at one time.

    `heard`: whether its node sends heartbeats; `signs`: the signs of life that the node reported `told_ms`
    ago (None: no report yet); `question`: the one that a user must answer; `limited_until_ms`: end of the
    provider's rate limit.
    """

    now_ms: int
    stage: RunStage
    node: str = ""
    heard: bool = True
    question: str = ""
    is_suspended: bool = False
    limited_until_ms: int | None = None
    signs: Signs | None = None
    told_ms: int = 0


@dataclass(frozen=True, slots=True)
class AgentHealth:
    """The health of an agent: its state, since when, and the evidence as text. `until_ms`: end of a rate
    limit."""

    state: HealthState
    why: str
    since_ms: int | None = None
    gravity: Gravity = Gravity.WELL
    until_ms: int | None = None


def health_of(seen: AgentSeen, rules: HealthRules) -> AgentHealth:
    """Return the health of an agent that has work. Pure."""
    if seen.question:
        return AgentHealth(HealthState.QUESTION, seen.question, gravity=Gravity.USER)
    if not seen.heard:
        return AgentHealth(HealthState.AWAY, f"{seen.node} sends no heartbeats", gravity=Gravity.WARNING)
    if seen.limited_until_ms is not None:
        why = "its provider limits the request rate"
        return AgentHealth(HealthState.LIMITED, why, until_ms=seen.limited_until_ms)
    if seen.is_suspended:
        return AgentHealth(HealthState.SUSPENDED, "its program waits for a message")
    if seen.stage is not RunStage.RUNNING:
        return AgentHealth(HealthState.WORKING, f"it is {seen.stage}, which has its own time limits")
    if seen.signs is None:
        return AgentHealth(HealthState.WORKING, "its node has not reported signs of life yet")
    return _by_signs(seen, seen.signs, rules)


def _by_signs(seen: AgentSeen, signs: Signs, rules: HealthRules) -> AgentHealth:
    soon = min(SOON_MS, rules.warn_ms)
    ages = {"output": signs.output_ms, "CPU use": signs.cpu_ms, "change of a file": signs.files_ms}
    known = {what: age + seen.told_ms for what, age in ages.items() if age is not None}
    quiet, silent = min(known.values()), known["output"]
    listed = [  # For signs that were not seen yet, silence is counted from the start.
        f"no {what} for {format_seconds(known[what] / 1_000)}" if what in known else f"no {what} seen"
        for what in ages
    ]
    why, since = "; ".join(listed), seen.now_ms - silent
    pause = signs.pause_ms - seen.told_ms
    if pause > 0:
        until = seen.now_ms + pause
        return AgentHealth(
            HealthState.LIMITED, "its model server limits the request rate", since, until_ms=until
        )
    if silent < soon:
        return AgentHealth(HealthState.WORKING, why, since)
    if signs.model_ms is not None and signs.model_ms + seen.told_ms < soon:
        return AgentHealth(HealthState.THINKING, f"its model is answering; {why}", since)
    if quiet < soon:
        return AgentHealth(HealthState.COMMAND, why, since)
    since = seen.now_ms - quiet
    if quiet >= rules.stuck_ms:
        return AgentHealth(HealthState.STUCK, why, since, Gravity.USER)
    return AgentHealth(
        HealthState.QUIET, why, since, Gravity.WARNING if quiet >= rules.warn_ms else Gravity.WELL
    )


def report_of(
    health: AgentHealth, decisions: Iterable[Decision], now_ms: int, rules: HealthRules
) -> bool | None:
    """Return whether to report this health. True: and tell the agent; False: do not tell it; None: no report.

    Only the first report includes a message to the agent. Each state is reported once per quiet period, and
    not again too soon. `decisions`: the attempt's timeline.
    """
    if health.state not in (HealthState.QUIET, HealthState.STUCK) or health.gravity is Gravity.WELL:
        return None
    before = [one for one in decisions if one.kind == HEALTH]
    since = min(health.since_ms or 0, now_ms - rules.between_ms)
    if any(one.verdict == health.state and one.at_ms >= since for one in before):
        return None
    return rules.words and not before


WORDS = (
    "(PanCode says this, and no user: nothing was seen of your work for {quiet}. If you wait for something "
    "that does not come, end it, and go on in another way. If you need a user, ask your question.)"
)
