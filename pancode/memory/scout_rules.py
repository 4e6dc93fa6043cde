"""Decides what a scout is told and may use for its question, and which model answers it most cheaply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from node_agent.wire.endpoint import Residence
from node_agent.wire.policy import Mode, Safety
from pancode.agents.endpoints import EndpointNeed, costs_nothing
from pancode.agents.model_profiles import Trust, every_place, fact_of, judged
from pancode.agents.prompts import CHARS_PER_TOKEN
from pancode.agents.runtimes import OUR_OWN
from pancode.kernel.node import NodeState, NodeView
from pancode.runs.placement.candidates import NodeRequirements, candidates
from pancode.runs.request import DispatchRequest

SCOUT = "scout"
"""The agent that answers questions about a repository."""
MOST_QUESTIONS, MOST_QUESTION = 4, 2_000
MODE = Mode.REVIEW
"""The narrowest mode that a dispatch can have: nothing is changed in it."""


class Depth(StrEnum):
    """How far a scout looks."""

    SHALLOW = "shallow"
    MEDIUM = "medium"
    DEEP = "deep"


@dataclass(frozen=True, slots=True)
class ScoutCaps:
    """`calls`: how many model calls it has before one last, short answer. `tokens`: how much of its answer is
    handed on.
    """

    calls: int
    tokens: int

    @property
    def chars(self) -> int:
        return self.tokens * CHARS_PER_TOKEN


CAPS: dict[Depth, ScoutCaps] = {
    Depth.SHALLOW: ScoutCaps(4, 500),
    Depth.MEDIUM: ScoutCaps(12, 2_000),
    Depth.DEEP: ScoutCaps(20, 5_000),
}
"""The calls are a limit of the order, held by the node's gateway. An answer with more tokens is cut."""
QUESTION, DEPTH, NAMED, TREE, FOLDER = "question", "depth", "named", "tree", "folder"
"""The keys in the term `scouts` of a run."""
CUT = "\n[cut here: {} tokens are the most at this depth, and it wrote about {}]"
_RANK = list(Depth)


def asked(question: str) -> str:
    """Return the question in the form for comparison: blanks, line ends and case make no difference."""
    return " ".join(question.split()).casefold()


def task_for(question: str, depth: Depth) -> str:
    caps = CAPS[depth]
    return (
        f"{question.strip()}\n\nAnswer this question from the repository, and change nothing. You have "
        f"{caps.calls} model calls; your report has at most about {caps.tokens} tokens."
    )


def named(request: DispatchRequest) -> str:
    """Return the model, program and machine that a request names; empty if it names none of them."""
    said = (request.model, request.runtime, request.node)
    return "|".join(word or "" for word in said) if any(said) else ""


def as_scout(request: DispatchRequest, question: str, depth: Depth) -> DispatchRequest:
    """Return the request for a scout: a read-only agent and mode, and the limits of its order, hold it to its
    question.
    """
    return replace(
        request,
        task=task_for(question, depth),
        agent=SCOUT,
        mode=MODE,
        max_requests=CAPS[depth].calls,
        wrap_up=True,
        verify=(),
        scouts={QUESTION: question.strip(), DEPTH: depth.value, NAMED: named(request)},
    )


@dataclass(frozen=True, slots=True)
class ScoutGround:
    """What a question is about: the tree of the files, and the folder from which it is asked ("": the top).

    `named`: the model, program and machine that the request names; empty: any.
    """

    tree: str
    folder: str
    named: str = ""


def answers(scouts: Mapping[str, str], ground: ScoutGround, question: str, depth: Depth) -> bool:
    """Whether a scout has answered this question from this folder about these files, at least as deep."""
    deep = _RANK.index(Depth(scouts[DEPTH])) >= _RANK.index(depth)
    here = (scouts.get(TREE), scouts.get(FOLDER, "")) == (ground.tree, ground.folder)
    same = here and ground.named in ("", scouts.get(NAMED))
    return deep and same and asked(scouts[QUESTION]) == asked(question)


def handed_on(answer: str, depth: Depth) -> tuple[str, bool]:
    """Return the answer within its cap, and whether it was cut."""
    caps = CAPS[depth]
    if len(answer) <= caps.chars:
        return answer, False
    return answer[: caps.chars] + CUT.format(caps.tokens, len(answer) // CHARS_PER_TOKEN), True


def cheapest(views: Sequence[NodeView], request: DispatchRequest) -> tuple[str, str] | None:
    """Return a free model that has passed its test for agents that only read, with the reason.

    A loaded model comes before one that is not loaded, then the faster one. None: there is no such model.
    What a question to any other model costs is not known before, so none of them is the cheapest.
    """
    found = sorted(_free(views, request))
    if not found:
        return None
    _, slowness, name, node = found[0]
    speed = f", {-slowness:.0f} tokens/s" if slowness else ""
    return name, f"the cheapest model that passed its test: it costs nothing{speed}, tested on {node}"


def _free(views: Sequence[NodeView], request: DispatchRequest) -> Iterator[tuple[bool, float, str, str]]:
    """Yield each free model: whether it is not loaded, its speed with a minus, its name, its node."""
    online = tuple(view for view in views if view.state is NodeState.ONLINE)
    for place in every_place(online):
        found = fact_of(place, online)
        passport = None if found is None else found[1].passport
        if found is None or passport is None or judged(passport, read_only=True).trust is not Trust.GOOD:
            continue
        need = EndpointNeed(place.endpoint, place.model, OUR_OWN)
        wish = NodeRequirements(
            request.node, request.require, need.runtime, request.safety or Safety.AUTO_EDIT, wanted=need
        )
        able = any(one.fits and one.name == place.node for one in candidates(online, wish))
        if able and costs_nothing(online, place.endpoint, place.model):
            unloaded = found[1].residence not in (Residence.LOADED, None)
            yield unloaded, -(passport.tok_s or 0.0), f"{place.endpoint}/{place.model}", place.node
