"""Decides what ends a run: the request's limits, its agent's, and those of the fleet."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal

from pancode.agents.agents import Agent, Speed
from pancode.agents.runtimes import RuntimeKind
from pancode.runs.request import Defaults, DispatchRequest


@dataclass(frozen=True, slots=True)
class RunLimits:
    """The limits of a run; None: no such limit."""

    wall_ms: int
    idle_ms: int
    output_bytes: int
    tokens: int | None = None
    usd: Decimal | None = None
    requests: int | None = None
    wrap_up: bool = False
    memory_bytes: int | None = None
    processes: int | None = None
    disk_bytes: int | None = None
    turns: int | None = None

    def plain(self) -> dict[str, object]:
        """The limits as plain JSON for the ledger, with money as text."""
        return {**asdict(self), "usd": None if self.usd is None else f"{self.usd:f}"}


def run_limits(request: DispatchRequest, agent: Agent, defaults: Defaults, runtime: RuntimeKind) -> RunLimits:
    """Resolve each limit: a flag's counts most, then the agent's, then the fleet's. The model calls of a
    user's own program are not counted.
    """
    own, (paced_ms, idle_ms) = agent.limits, scale_limits(defaults, agent.speed)
    wall_ms = request.timeout_ms or own.wall_ms or paced_ms
    output = own.output_bytes or defaults.output_bytes
    caps = [usd for usd in (own.usd, defaults.per_run_usd) if usd is not None]
    if request.turns:  # what was asked for is the ceiling of its session, which one left alone may use up
        alone = request.rounds and request.most_usd is not None
        usd = min(caps, default=None) if alone else min((*caps, defaults.sitting_usd))
    else:
        usd = request.budget if request.budget is not None else min(caps, default=None)
    if request.most_usd is not None:
        all_of_it = usd is None or usd >= request.most_usd
        # An orchestrator that would hold all of it leaves half to the runs that it begins.
        most = request.most_usd / 2 if all_of_it and agent.leads and request.turns else request.most_usd
        usd = most if usd is None else min(usd, most)
    return RunLimits(
        wall_ms=wall_ms,
        idle_ms=request.idle_timeout_ms or own.idle_ms or idle_ms or wall_ms,
        output_bytes=_of_the_machine(request, request.max_output, output) or output,
        tokens=request.max_tokens or own.tokens or defaults.tokens,
        usd=usd,
        requests=None if runtime.own else request.max_requests or own.requests or defaults.requests,
        wrap_up=not runtime.own and _first_set(request.wrap_up, own.wrap_up, defaults.wrap_up),
        memory_bytes=_of_the_machine(request, request.max_memory, defaults.memory_bytes),
        processes=_of_the_machine(request, request.max_processes, defaults.processes),
        disk_bytes=_of_the_machine(request, request.max_disk, defaults.disk_bytes),
        turns=None if runtime.own else request.max_turns or own.turns,
    )


def _of_the_machine(request: DispatchRequest, asked: int | None, fleets: int | None) -> int | None:
    """Resolve a limit that protects a machine: a run may lower it for its child, but never raise it."""
    if asked is None or fleets is None:
        return asked or fleets
    return min(asked, fleets) if request.depth else asked


def scale_limits(defaults: Defaults, speed: Speed) -> tuple[int, int | None]:
    """Return the sandbox and idle times of an agent that sets neither. A fast agent gets less of both; a
    thorough one may be silent twice as long, within the same wall time. Idle None: silence ends nothing.
    """
    wall_ms, idle_ms = defaults.wall_ms, defaults.idle_ms
    match speed:
        case Speed.FAST:
            return max(1, wall_ms // 4), None if idle_ms is None else max(1, idle_ms // 2)
        case Speed.THOROUGH:
            return wall_ms, None if idle_ms is None else min(2 * idle_ms, max(wall_ms, idle_ms))
        case Speed.BALANCED:
            return wall_ms, idle_ms


def _first_set(*words: bool | None) -> bool:
    return next((word for word in words if word is not None), False)
