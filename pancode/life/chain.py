"""Whether the receipts of a node form a chain: each names the one before it, so that none is left out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pancode.counted import first_few
from pancode.life.verification import ReceiptVerdict, VerificationCheck, Verified

SHOWN = 5


@dataclass(frozen=True, slots=True)
class ChainLink:
    """One receipt; `attempt` is its name for people."""

    digest: str
    attempt: str
    previous: str | None


def judge_chain(key: str, links: Sequence[ChainLink], unanswered: Sequence[str]) -> list[VerificationCheck]:
    """The checks of one key's chain. `unanswered`: attempts that were ordered from it and have no receipt.

    A receipt that is named and is not here may be that of an unanswered attempt. Where every attempt has its
    receipt there is none that could be missing: the digest was made up.
    """
    every = {link.digest for link in links}
    lost = [link for link in links if link.previous is not None and link.previous not in every]
    return [
        VerificationCheck(f"begins once ({key})", len(_starts(links)) <= 1, _beginnings(links)),
        *(_missing(link, unanswered) for link in lost),
        *_forks(links),
    ]


def verdict_of(checks: Iterable[VerificationCheck]) -> Verified:
    """PASS, BROKEN, or NOT_FOUND when there is nothing to look at."""
    found = tuple(checks)
    if not found:
        return Verified(
            ReceiptVerdict.NOT_FOUND, (VerificationCheck("receipt", False, "it has signed no receipt"),)
        )
    good = all(check.ok for check in found)
    return Verified(ReceiptVerdict.PASS if good else ReceiptVerdict.BROKEN, found)


def _starts(links: Sequence[ChainLink]) -> list[str]:
    return [link.attempt for link in links if link.previous is None]


def _beginnings(links: Sequence[ChainLink]) -> str:
    starts = _starts(links)
    if not starts:
        return f"{len(links)} receipts; the first of the chain is not here"
    return f"{len(links)} receipts, from {first_few(starts, SHOWN)}"


def _missing(link: ChainLink, unanswered: Sequence[str]) -> VerificationCheck:
    named = f"{link.attempt} names {str(link.previous)[:12]}..., which is not here"
    if unanswered:
        return VerificationCheck(
            "no gap", False, f"{named}; without a receipt: {first_few(unanswered, SHOWN)}"
        )
    return VerificationCheck(
        "no invented digest", False, f"{named}; every attempt ordered from it has its receipt"
    )


def _forks(links: Sequence[ChainLink]) -> list[VerificationCheck]:
    after: dict[str, list[str]] = defaultdict(list)
    for link in links:
        if link.previous is not None:
            after[link.previous].append(link.attempt)
    return [
        VerificationCheck(
            "no fork", False, f"{first_few(names, SHOWN)} all name {digest[:12]}... as the one before"
        )
        for digest, names in after.items()
        if len(names) > 1
    ]
