"""The identity of an attempt, the marks of its way, and what proves a person's words to it."""

from __future__ import annotations

import hashlib
import hmac
import re
from enum import StrEnum

from pydantic import Field

from node_agent.wire.model import Millis, Number, RunId, WireModel

_SPELLED = re.compile(r"(r-[a-z0-9]{4,24})\.([1-9][0-9]{0,8})\.([1-9][0-9]{0,15})")
LAST_ATTEMPT = 999_999_999
ATTEMPT = "PANCODE_ATTEMPT"
"""The variable that every process of an attempt has; its value is the attempt's identity."""
WORDS_KEY = "words.key"
"""The file of the run's home with the attempt's secret. Our worker takes it away before anything else runs.

Not a variable: a sandbox's first process shows its environment to all that run in there.
"""
SEAL = 64 + 1
"""Bytes before the words: hexadecimal digits and the end of the line."""


def words_in(attempt: str) -> str:
    """The folder below a run's home that has what people say to this attempt: a file for each, by number."""
    return f"words-{attempt}"


def sealed(secret: str, number: int, text: str) -> str:
    """What a file of words holds: good under this number only, for who has the attempt's secret."""
    return f"{_seal(secret, number, text.encode())}\n{text}"


def unsealed(secret: str, number: int, data: bytes) -> str | None:
    """The words; None where somebody else wrote them, or for another number, and where there is no secret."""
    seal, text = data[: SEAL - 1], data[SEAL:]
    good = hmac.compare_digest(seal, _seal(secret, number, text).encode())
    return text.decode("utf-8", "replace") if secret and good else None


def _seal(secret: str, number: int, text: bytes) -> str:
    return hmac.new(secret.encode(), b"%d\n%b" % (number, text), hashlib.sha256).hexdigest()


class AttemptId(WireModel):
    """(run, attempt, fence). The fence only grows within a run, by one or to where a later epoch's begin."""

    run: RunId
    attempt: int = Field(ge=1, le=LAST_ATTEMPT)
    fence: Number

    def __str__(self) -> str:
        return f"{self.run}.{self.attempt}.{self.fence}"

    @classmethod
    def parse(cls, text: str) -> AttemptId:
        """From its spelling `RUN.ATTEMPT.FENCE`; ValueError for anything else."""
        match = _SPELLED.fullmatch(text)
        if match is None:
            raise ValueError(f"not an attempt's identity: {text!r}")
        return cls(run=match[1], attempt=int(match[2]), fence=int(match[3]))

    @property
    def ref(self) -> str:
        """The only git ref that this fence may push to."""
        return f"refs/pancode/{self.run}/{self.attempt}.{self.fence}"


class CallDesk(WireModel):
    """The place of questions of one attempt. `key`: the node's public key, with which answers are signed."""

    home: str
    identity: AttemptId
    key: str
    wait_ms: Millis


def calls_in(attempt: str) -> str:
    """The folder below a run's home that has the questions of this attempt, and the answers."""
    return f"calls-{attempt}"


class Mark(StrEnum):
    """Each is written, fsynced, before what follows it begins."""

    ACCEPTED = "accepted"
    PREPARED = "prepared"
    SPAWNED = "spawned"
    EXITED = "exited"
    COMMITTED = "committed"
    GATED = "gated"
    PUSHED = "pushed"
    RECEIPTED = "receipted"
    ACKNOWLEDGED = "acknowledged"
    REJECTED = "rejected"
    REFUSED = "refused"


MARKS: tuple[Mark, ...] = (
    Mark.ACCEPTED,
    Mark.PREPARED,
    Mark.SPAWNED,
    Mark.EXITED,
    Mark.COMMITTED,
    Mark.GATED,
    Mark.PUSHED,
    Mark.RECEIPTED,
    Mark.ACKNOWLEDGED,
)
FINAL: frozenset[Mark] = frozenset({Mark.ACKNOWLEDGED, Mark.REJECTED, Mark.REFUSED})
HOLDS_SLOT: frozenset[Mark] = frozenset(
    {Mark.ACCEPTED, Mark.PREPARED, Mark.SPAWNED, Mark.EXITED, Mark.COMMITTED}
)
"""Marks at which the attempt still occupies a slot: until all steps ended. Publishing holds none."""
