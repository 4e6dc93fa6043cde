"""The identity that every message carries: run, attempt and fence."""

from __future__ import annotations

import re

from pydantic import Field

from node_agent.wire.model import Number, RunId, WireModel

_SPELLED = re.compile(r"(r-[a-z0-9]{4,24})\.([1-9][0-9]{0,8})\.([1-9][0-9]{0,15})")
LAST_ATTEMPT = 999_999_999
ATTEMPT = "PANCODE_ATTEMPT"
"""The variable that every process of an attempt has; its value is the attempt's identity."""


def words_in(attempt: str) -> str:
    """The folder below a run's home that has what people say to this attempt: a file for each, by number."""
    return f"words-{attempt}"


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
