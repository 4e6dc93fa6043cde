"""Decides about a rightly signed receipt: believe it, ask for bytes again, reject it, or file it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from node_agent.wire.event import Progress
from node_agent.wire.failure import FAILURES, Outcome
from node_agent.wire.order import is_session
from node_agent.wire.receipt import Claims, Usage
from pancode.agents.runtimes import RUNTIMES
from pancode.core.books import ZERO, Spent
from pancode.core.records import Fence, Node, Run

TIMES_HELD = 10
"""Without a limit in the order, a claim is believed up to this multiple of the hold."""
_LEAST_USD, _LEAST_TOKENS = Decimal(1), 10_000_000
"""Without a limit, at least this much is believed for a model's work, however little was held."""
_MORE_TOKENS, _MORE_MS = 1_000_000, 600_000
"""The last call of an attempt exceeds its limit of tokens, and the stop itself takes time: these are the
margins."""


class Ruling(StrEnum):
    """The coordinator's answer."""

    ACCEPT = "accept"
    AGAIN = "again"
    """The same receipt is archived already: the stored answer is sent once more."""
    ORPHAN = "orphan"
    """No order here fits (the ledger was restored): the receipt is kept, not accepted, and settles
    nothing."""
    FOREIGN = "foreign"
    """The receipt is for another node's order: it is rejected, and not even kept."""
    RESEND = "resend"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The files on our own disk for the claims."""

    commit_whole: bool
    missing_blobs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """A ruling with its reason."""

    ruling: Ruling
    reason: str = ""
    missing: tuple[str, ...] = ()


def excess(usage: Usage | Progress, run: Run, left: Decimal | None) -> dict[str, Any]:
    """The claims beyond their order, by field, with the amount that counts.

    `left`: the rest of the run's own limit for this attempt; None: it has no limit.
    """
    tokens, wall_ms = run.limits.get("tokens"), run.limits.get("wall_ms")
    free_tokens = max(TIMES_HELD * run.estimate_tokens, _LEAST_TOKENS)
    most_tokens = tokens + _MORE_TOKENS if isinstance(tokens, int) else free_tokens
    most: dict[str, Decimal | int | None] = {
        "cost_usd": _most_usd(run, left),
        "input_tokens": most_tokens,
        "output_tokens": most_tokens,
        "agent_ms": wall_ms + _MORE_MS if isinstance(wall_ms, int) else None,
    }
    claims = ((name, getattr(usage, name), amount) for name, amount in most.items())
    return {name: most for name, claim, most in claims if None not in (claim, most) and claim > most}


def _most_usd(run: Run, left: Decimal | None) -> Decimal:
    """The most money that counts. A user's own program costs nothing, unless it plays an agent with a
    limit."""
    kind = RUNTIMES[run.runtime]
    if kind.own:
        return left if left is not None and kind.plays else ZERO
    return max(TIMES_HELD * run.estimate_usd, _LEAST_USD) if left is None else left


def judge_identity(
    claims: Claims, digest: str, node: Node, run: Run | None, fence: Fence | None
) -> Judged | None:
    """All checks that need no look at the disk; None: go on to the evidence. `node` is the signer."""
    if fence is not None and _is_anothers(fence, node):
        return Judged(Ruling.FOREIGN, f"{fence.run} fence {fence.fence} was ordered from {fence.node}")
    if run is None or fence is None:
        return Judged(Ruling.ORPHAN, "no such fence in this ledger")
    if fence.receipt == digest:
        return Judged(Ruling.AGAIN)
    if fence.receipt is not None:
        return Judged(Ruling.REJECT, "another receipt of this fence was accepted before")
    if claims.order != fence.digest and claims.epoch != fence.start_by_epoch:
        return Judged(Ruling.ORPHAN, "of an order that this ledger does not know (it was restored)")
    lie = _wrong_name(claims, node, fence) or _first_lie(claims, run, fence)
    return Judged(Ruling.REJECT, lie) if lie else None


def judge_evidence(evidence: Evidence, claims: Claims) -> Judged:
    """Whether all files that the receipt names are here and complete."""
    missing = list(evidence.missing_blobs)
    if claims.commit is not None and not evidence.commit_whole:
        missing.insert(0, "commit")
    if missing:
        return Judged(Ruling.RESEND, f"not here or not whole: {', '.join(missing)}", tuple(missing))
    return Judged(Ruling.ACCEPT)


def _is_anothers(fence: Fence, node: Node) -> bool:
    return fence.tag != node.tag


def _wrong_name(claims: Claims, node: Node, fence: Fence) -> str:
    """A node was renamed when fence and enrolment differ: both names are its own."""
    if claims.node_name in (node.name, fence.node):
        return ""
    return f"node_name is {claims.node_name[:80]!r}, the key that signed it is enrolled for {node.name!r}"


def _first_lie(claims: Claims, run: Run, fence: Fence) -> str:
    """The first claim that contradicts what was ordered, in words; empty when there is none."""
    ordered = {
        "order": (claims.order, fence.digest),
        "epoch": (claims.epoch, fence.start_by_epoch),
        "attempt": (claims.identity.attempt, fence.attempt),
        "runtime": (claims.runtime, run.runtime),
        "agent": (claims.agent, run.agent),
        "base": (claims.base, run.workspace.get("base")),
        "snapshot": (claims.snapshot, run.workspace.get("snapshot")),
        "mode": (claims.mode, run.mode),
        "safety": (claims.safety, run.safety),
    }
    for what, (claimed, due) in ordered.items():
        if claimed != due:
            return f"{what} is {claimed!r}, the order said {due!r}"
    ran = [[gate.name, list(gate.argv)] for gate in claims.gates]
    asked = [[gate["name"], list(_words(gate["argv"]))] for gate in run.gates]
    if ran != asked[: len(ran)]:
        return f"gates are {ran!r}, the order said {asked!r}"
    reports, due = [one.file for one in claims.reports], list(run.terms.get("reports", ()))
    if reports not in ([], due):
        return f"reports are {reports!r}, the order said {due!r}"
    return _inconsistent(claims, run)


def _words(argv: object) -> Sequence[object]:
    return argv if isinstance(argv, list | tuple) else ()


def _inconsistent(claims: Claims, run: Run) -> str:
    """Claims that cannot all be true at once."""
    if claims.failure is not None and FAILURES[claims.failure].outcome is not claims.outcome:
        return f"outcome {claims.outcome} does not go with failure {claims.failure}"
    if (claims.failure is None) != (claims.outcome is Outcome.DONE):
        return f"outcome {claims.outcome} with failure {claims.failure}"
    if claims.outcome is Outcome.DONE and not all(g.passed for g in claims.gates):
        return "done, although a gate failed"
    if claims.outcome is Outcome.DONE and len(claims.gates) != len(run.gates):
        return f"done, although {len(claims.gates)} of {len(run.gates)} gates ran"
    if claims.session is not None and not is_session(claims.session):
        return f"no session has the name {claims.session!r}"
    if claims.question is not None and claims.outcome is not Outcome.BLOCKED:
        return f"outcome {claims.outcome} with a question to a person"
    if (claims.usage.cost_usd is None) != (claims.usage.cost_source == "unknown"):
        return "cost and its source contradict each other"
    if claims.outcome is Outcome.DONE and claims.change == "change" and claims.commit is None:
        return "done with a change, and without a commit"
    return ""


def spent_of(claims: Claims) -> Spent:
    usage = claims.usage
    tokens = usage.input_tokens + usage.output_tokens
    return Spent(usage.cost_usd, tokens, usage.agent_ms, usage.cost_source)


_KEPT = {"commit", "base", "snapshot", "files_changed", "change", "answer", "usage", "gates", "findings"}
_KEPT |= {"question", "exposed", "isolation", "signal", "identity", "session", "calls", "claimed", "score"}
_KEPT |= {"reports"}


def result_of(claims: Claims) -> dict[str, Any]:
    """The part of the claims that `runs show` needs at hand, as plain JSON."""
    return claims.model_dump(mode="json", include=_KEPT)
