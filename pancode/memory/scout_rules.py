"""Rules for scouts: the prompt, the limits, and when an earlier answer can be used again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from node_agent.wire.policy import Mode
from pancode.agents.prompts import CHARS_PER_TOKEN
from pancode.runs.request import DispatchRequest

SCOUT = "scout"
"""The agent that answers questions about a repository."""
MOST_QUESTIONS, MOST_QUESTION = 4, 2_000
MODE = Mode.REVIEW
"""The most restrictive mode that a dispatch can have: it permits no changes."""


class Depth(StrEnum):
    """How far a scout searches."""

    SHALLOW = "shallow"
    MEDIUM = "medium"
    DEEP = "deep"


@dataclass(frozen=True, slots=True)
class ScoutCaps:
    """The limits of a scout. `calls`: model calls before the answer. `tokens`: most tokens of the answer."""

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
"""The calls are a limit of the job, enforced by the node's gateway. A longer answer is cut."""
QUESTION, DEPTH, NAMED, TREE, FOLDER = "question", "depth", "named", "tree", "folder"
"""The keys in the `scouts` field of a run."""
CUT = "\n[cut here: {} tokens are the most at this depth, and it wrote about {}]"
_RANK = list(Depth)


def normalize_question(question: str) -> str:
    """Return the question in a form for comparison, without differences of spaces, line ends and case."""
    return " ".join(question.split()).casefold()


def task_for(question: str, depth: Depth) -> str:
    caps = CAPS[depth]
    return (
        f"{question.strip()}\n\nAnswer this question from the repository, and change nothing. You have "
        f"{caps.calls} model calls; your report has at most about {caps.tokens} tokens."
    )


def format_worker(request: DispatchRequest) -> str:
    """Return the model, runtime and node that a request names; empty if it names none of them."""
    settings = (request.model, request.runtime, request.node)
    return "|".join(word or "" for word in settings) if any(settings) else ""


def as_scout(request: DispatchRequest, question: str, depth: Depth) -> DispatchRequest:
    """Return the request for a scout: a read-only agent and mode, with limits that fit the question."""
    return replace(
        request,
        task=task_for(question, depth),
        agent=SCOUT,
        mode=MODE,
        max_requests=CAPS[depth].calls,
        wrap_up=True,
        verify=(),
        scouts={QUESTION: question.strip(), DEPTH: depth.value, NAMED: format_worker(request)},
    )


@dataclass(frozen=True, slots=True)
class ScoutGround:
    """What a question is about: the file tree, and the folder from which it is asked (`""`: the top folder).
    `named`: the model, runtime and node that the request names; empty: any."""

    tree: str
    folder: str
    named: str = ""


def has_answer(scouts: Mapping[str, str], ground: ScoutGround, question: str, depth: Depth) -> bool:
    """Whether a scout has answered this question from this folder about these files, at least this deep."""
    deep = _RANK.index(Depth(scouts[DEPTH])) >= _RANK.index(depth)
    here = (scouts.get(TREE), scouts.get(FOLDER, "")) == (ground.tree, ground.folder)
    same = here and ground.named in ("", scouts.get(NAMED))
    return deep and same and normalize_question(scouts[QUESTION]) == normalize_question(question)


def handed_on(answer: str, depth: Depth) -> tuple[str, bool]:
    """Return the answer, cut to the token limit of its depth, and whether it was cut."""
    caps = CAPS[depth]
    if len(answer) <= caps.chars:
        return answer, False
    return answer[: caps.chars] + CUT.format(caps.tokens, len(answer) // CHARS_PER_TOKEN), True
