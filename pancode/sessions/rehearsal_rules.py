"""Judges how an orchestrator takes requests apart: a table of requests, and what it asked for against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from node_agent.wire.endpoint import Grade
from pancode.kernel.names import not_found

READS, WRITES = "reads", "writes"
"""The kinds of run in a shape: one that can change nothing, and one that changes files."""
BESIDE, THEN, NOTHING = " + ", ", then ", "nothing"


@dataclass(frozen=True, slots=True)
class RehearsedRequest:
    """A request, and the shapes of work that are a good answer to it, as `shape_of` writes them."""

    name: str
    words: str
    expected: tuple[str, ...]


REQUESTS: tuple[RehearsedRequest, ...] = (
    RehearsedRequest(
        "side-by-side",
        "Review the authentication module and build rate limiting for the search endpoint.",
        ("reads + writes",),
    ),
    RehearsedRequest(
        "chain",
        "First plan how the results of a search can be cached, then build it, then have it reviewed.",
        ("reads, then writes, then reads",),
    ),
    RehearsedRequest(
        "three-reviewers",
        "Have three reviewers look at the authentication module.",
        ("reads + reads + reads", "reads + reads + reads, then reads"),
    ),
    RehearsedRequest("question", "Which function answers the search endpoint?", (NOTHING,)),
    RehearsedRequest(
        "one-change",
        "Give every function of the search module a docstring, and say in it what is returned.",
        ("writes",),
    ),
    RehearsedRequest(
        "two-changes",
        "Let the search ignore upper and lower case. And sessions shall end after 30 minutes.",
        ("writes + writes",),
    ),
    RehearsedRequest(
        "after-each-other",
        "Build paging for the results of a search. Once it is there, describe it in the README.",
        ("writes, then writes",),
    ),
    RehearsedRequest(
        "scout",
        "Find out whether a module of this project reaches into another one's private names, and tell me.",
        ("reads",),
    ),
    RehearsedRequest(
        "same-thrice",
        "Give each of the three modules a test file of its own. They have nothing to do with each other.",
        ("writes + writes + writes",),
    ),
    RehearsedRequest(
        "build-and-judge",
        "Let sessions be renewed. Somebody who has not written it shall look at the change afterwards.",
        ("writes, then reads",),
    ),
    RehearsedRequest("unclear", "Make it better.", (NOTHING,)),
    RehearsedRequest("thanks", "Thank you, that is all for today.", (NOTHING,)),
)
"""Each is said to a fresh session over the files of `RehearsalGround`; each expected shape is equally good.
"""


def request_named(name: str) -> RehearsedRequest:
    """Return the request of this name. NotFoundError."""
    found = next((one for one in REQUESTS if one.name == name), None)
    if found is None:
        raise not_found("request", name, [one.name for one in REQUESTS], "pancode models decompose --help")
    return found


@dataclass(frozen=True, slots=True)
class RehearsedStep:
    """A run that the model would have begun. `level`: how many steps it comes after the first of its call."""

    agent: str
    reads: bool
    level: int = 0


@dataclass(frozen=True, slots=True)
class RehearsedCall:
    """One call of a tool. `waits`: it looked at how something ended that the model had begun."""

    tool: str
    steps: tuple[RehearsedStep, ...] = ()
    waits: bool = False


def levels(needs: Sequence[tuple[str, Sequence[str]]]) -> list[int]:
    """Return how far each step is behind the first ones. `needs`: name and needed steps, earlier ones."""
    found: dict[str, int] = {}
    for name, before in needs:
        found[name] = max((found.get(one, -1) + 1 for one in before), default=0)
    return [found[name] for name, _ in needs]


def _stages(calls: Sequence[RehearsedCall]) -> list[list[RehearsedStep]]:
    """Group the runs that would have been at work side by side: what is begun before a wait goes together."""
    stages: list[list[RehearsedStep]] = []
    first = 0
    for call in calls:
        if call.waits:
            first = len(stages)
        for step in call.steps:
            at = first + step.level
            stages.extend([] for _ in range(at + 1 - len(stages)))
            stages[at].append(step)
    return [stage for stage in stages if stage]


def shape_of(calls: Sequence[RehearsedCall]) -> str:
    """Return `reads + writes` side by side, `reads, then writes` after each other, or `nothing`."""
    kinds = (sorted(READS if one.reads else WRITES for one in stage) for stage in _stages(calls))
    return THEN.join(BESIDE.join(stage) for stage in kinds) or NOTHING


def agents_of(calls: Sequence[RehearsedCall]) -> str:
    """Return the same with the names of the agents, for people."""
    names = (sorted(one.agent for one in stage) for stage in _stages(calls))
    return THEN.join(BESIDE.join(stage) for stage in names) or NOTHING


def graded(request: RehearsedRequest, calls: Sequence[RehearsedCall], cut: str = "") -> Grade:
    """Grade the calls. `cut`: why the turn was cut; then nobody knows what it would have asked for."""
    if cut:
        return Grade.UNKNOWN
    return Grade.PASSED if shape_of(calls) in request.expected else Grade.FAILED
