"""Circuit breakers of providers, nodes and agents, and the loop breaker, all computed from ended attempts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from node_agent.wire.failure import FAILURES, FailureKind, Outcome
from pancode.kernel.formatting import count_noun

LOOP = "loop"
"""The name with which a user resets the loop breaker."""
WARN_AT, TRIP_AT, LOOP_MS = 3, 5, 600_000
"""Failures of the same task, or of one agent: how many cause a warning, how many a refusal, and within how
many milliseconds."""
CASCADE_AGENTS, CASCADE_MS = 3, 60_000
"""If this many agents fail within this many milliseconds, every dispatch is refused for the same time."""
MOST_KEPT = 500
"""How many ended attempts are evaluated."""


class BreakerState(StrEnum):
    """The state of a breaker. Half-open: one run is let through as a probe, and its end decides."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class EndedTry:
    """An ended attempt as breakers use it. `own`: a user's own command instead of an agent. `session`: that
    of an interactive run, as all such runs of a session count as one piece of work; else empty."""

    at_ms: int
    began_ms: int
    run: str
    agent: str
    task: str
    node: str
    provider: str
    failure: FailureKind | None
    own: bool
    retry_ms: int = 0
    """Milliseconds that the provider requested to wait."""
    session: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the breakers for which this attempt counts."""
        agent = "" if self.own else f"agent:{self.agent}"
        provider = f"provider:{self.provider}" if self.provider else ""
        return tuple(name for name in (f"node:{self.node}" if self.node else "", provider, agent) if name)


@dataclass(frozen=True, slots=True)
class BreakerRule:
    """When a breaker opens: after `most` failures within the window, without a success in between."""

    most: int
    pause_ms: int
    longest_ms: int
    fails: Callable[[EndedTry], bool]
    halves: bool = False
    """Whether a success halves the count of failures instead of setting it to 0."""
    at_once: bool = False
    """Whether failures of attempts that were active at the same time (as at a reboot) count as one."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """The current state of one breaker. `until_ms`: when it lets one run through; None while it is closed."""

    name: str
    state: BreakerState
    failures: int
    until_ms: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class EndedTries:
    """All input of the breakers' decisions, oldest first. `resets`: when a user reset a breaker, by name."""

    tries: tuple[EndedTry, ...] = ()
    resets: Mapping[str, int] = field(default_factory=dict)
    now_ms: int = 0
    factor: float = 1.0
    """A factor for all pauses, used by tests."""


def _agent_failed(one: EndedTry) -> bool:
    """Whether the agent itself failed; reaching a limit of time or cost is not such a failure."""
    rule = None if one.failure is None else FAILURES[one.failure]
    return rule is not None and rule.agent and rule.outcome in (Outcome.ERROR, Outcome.VERIFY_FAILED)


def _node_failed(one: EndedTry) -> bool:
    return one.failure is not None and FAILURES[one.failure].node


def _provider_failed(one: EndedTry) -> bool:
    return one.failure in (FailureKind.MODEL_BUSY, FailureKind.MODEL_FAILED)


RULES: dict[str, BreakerRule] = {
    "provider": BreakerRule(3, 2_000, 60_000, _provider_failed),
    "node": BreakerRule(3, 60_000, 600_000, _node_failed, at_once=True),
    "agent": BreakerRule(TRIP_AT, LOOP_MS, LOOP_MS, _agent_failed, halves=True),
}
"""The rule of each kind of breaker. A provider's rate limit opens its breaker at once (RATE_LIMIT_MS)."""
RATE_LIMIT_MS = 30_000
"""Milliseconds for which a provider with a rate limit is not used if it does not say how long to wait."""

LOGIN_OF = "@"
"""Separates vendor and node in the name of a breaker that is only for that node's login with the vendor."""
LONGEST_TOLD_MS = 15 * 60_000
"""The longest wait, in ms, that a provider may impose on all nodes: one node's report, possibly wrong, must
not keep the whole fleet from a vendor. The run itself, and that node's login, wait as long as requested."""


def build_breakers(seen: EndedTries) -> dict[str, Breaker]:
    """Return the breakers for which any of these attempts counts, by name."""
    names = dict.fromkeys(name for one in seen.tries for name in one.names)
    return {name: build_breaker(name, seen) for name in names}


def build_breaker(name: str, seen: EndedTries) -> Breaker:
    """Return one breaker, computed from the ends of its attempts in order."""
    rule, after = RULES[name.partition(":")[0]], seen.resets.get(name, -1)
    made = _Replay(name, rule, seen.factor)
    for one in seen.tries:
        # Limit the time, as the clock may have been set back.
        if name in one.names and after < one.at_ms <= seen.now_ms:
            made.see(one)
    return made.at(seen.now_ms)


class _Replay:
    """A breaker while its state is computed from its history."""

    def __init__(self, name: str, rule: BreakerRule, factor: float) -> None:
        self._name, self._rule, self._factor = name, rule, factor
        self._failed: list[tuple[int, str]] = []
        """When attempts failed, and in which session each of them was."""
        self._opened, self._until, self._why = 0, None, ""  # type: int, int | None, str

    def see(self, one: EndedTry) -> None:
        if self._rule.fails(one):
            self._count_failure(one)
        elif one.failure is None or FAILURES[one.failure].outcome not in _INCONCLUSIVE:
            self._failed = self._failed[-(len(self._failed) // 2) :] if self._halves else []
            self._opened, self._until = 0, None

    @property
    def _halves(self) -> bool:
        return self._rule.halves and len(self._failed) > 1

    def _count_failure(self, one: EndedTry) -> None:
        if self._until is not None and one.began_ms < self._until:
            return  # The attempt began before the probe, so its end is not new information.
        if self._rule.at_once and self._failed and one.began_ms <= self._failed[-1][0]:
            return
        since = one.at_ms - int(LOOP_MS * self._factor)
        others = [(at, of) for at, of in self._failed if at > since and not (of and of == one.session)]
        self._failed = [*others, (one.at_ms, one.session)]
        busy = one.failure is FailureKind.MODEL_BUSY
        if busy or self._until is not None or len(self._failed) >= self._rule.most:
            self._opened += 1
            base = RATE_LIMIT_MS if busy else self._rule.pause_ms * 2 ** (self._opened - 1)
            retry_ms = one.retry_ms if LOGIN_OF in self._name else min(one.retry_ms, LONGEST_TOLD_MS)
            pause = retry_ms or int(min(base, self._rule.longest_ms) * self._factor)
            self._until = one.at_ms + pause
            self._why = (
                f"{count_noun(len(self._failed), 'failure')}, the last one in {one.run}: {one.failure}"
            )

    def at(self, now_ms: int) -> Breaker:
        if self._until is None:
            return Breaker(self._name, BreakerState.CLOSED, len(self._failed))
        state = BreakerState.OPEN if now_ms < self._until else BreakerState.HALF_OPEN
        return Breaker(self._name, state, len(self._failed), self._until, self._why)


_INCONCLUSIVE = (Outcome.INFRA, Outcome.LOST, Outcome.INTERRUPTED, Outcome.SUPERSEDED, Outcome.BLOCKED)
"""Outcomes that are neither a failure nor a success for a breaker."""


@dataclass(frozen=True, slots=True)
class LoopVerdict:
    """The loop breaker's verdict on a dispatch; `refuses`: whether it is a refusal or only a warning."""

    refuses: bool
    words: str
    name: str
    until_ms: int = 0
    """When the refusal ends, if there are no further failures by then."""


def judge_loop(seen: EndedTries, agent: str, task: str) -> LoopVerdict | None:
    """Judge a dispatch by failures of its task, its agent's breaker, and agents that fail together."""
    since = max(seen.now_ms - int(LOOP_MS * seen.factor), seen.resets.get(LOOP, -1))
    recent = [one for one in seen.tries if since < one.at_ms <= seen.now_ms and not one.own]
    alike = [one for one in recent if (one.agent, one.task) == (agent, task) and _agent_failed(one)]
    same = sorted({one.session or str(place): one.at_ms for place, one in enumerate(alike)}.values())
    if len(same) >= WARN_AT:
        words = (
            f"agent {agent} has failed at the same task {len(same)} times within {_format_minutes(LOOP_MS)}"
        )
        return LoopVerdict(len(same) >= TRIP_AT, words, LOOP, _find_over_ms(same, TRIP_AT, LOOP_MS, seen))
    just = int(seen.now_ms - CASCADE_MS * seen.factor)
    failed = {one.agent: one.at_ms for one in recent if one.at_ms > just and _agent_failed(one)}
    if len(failed) >= CASCADE_AGENTS:
        named = ", ".join(sorted(failed))
        words = f"{len(failed)} agents have failed within {_format_minutes(CASCADE_MS)}: {named}"
        until = _find_over_ms(sorted(failed.values()), CASCADE_AGENTS, CASCADE_MS, seen)
        return LoopVerdict(True, words, LOOP, until)
    own = build_breaker(f"agent:{agent}", seen)
    if own.state is BreakerState.OPEN:
        words = f"the breaker of agent {agent} is open: {own.why}"
        return LoopVerdict(True, words, own.name, own.until_ms or 0)
    if own.failures >= WARN_AT and own.state is BreakerState.CLOSED:
        return LoopVerdict(False, f"agent {agent} has failed {own.failures} times", own.name)
    return None


def failed_together(seen: EndedTries, since_ms: int) -> list[str]:
    """Return the agents and nodes that failed within the last minute and after `since_ms`, each once."""
    since = max(since_ms, int(seen.now_ms - CASCADE_MS * seen.factor))
    recent = [one for one in seen.tries if since < one.at_ms <= seen.now_ms and not one.own]
    agents = {one.agent for one in recent if _agent_failed(one)}
    return sorted(agents | {one.node for one in recent if _node_failed(one)})


def _find_over_ms(failed: Sequence[int], most: int, window_ms: int, seen: EndedTries) -> int:
    """Return when fewer than `most` of these failures, oldest first, will be within the window."""
    return failed[len(failed) - most] + int(window_ms * seen.factor) if len(failed) >= most else 0


def _format_minutes(ms: int) -> str:
    return count_noun(ms // 60_000, "minute")


def not_closed(all_: Iterable[Breaker]) -> list[Breaker]:
    return [one for one in all_ if one.state is not BreakerState.CLOSED]
