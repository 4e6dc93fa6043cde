"""The identity of an attempt, its progress marks, and the authentication of users' messages to it."""

from __future__ import annotations

import hashlib
import hmac
import re
from enum import StrEnum
from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from node_agent.wire.model import Millis, Name, Number, RunId, WireModel

_SPELLED = re.compile(r"(r-[a-z0-9]{4,24})\.([1-9][0-9]{0,8})\.([1-9][0-9]{0,15})")
LAST_ATTEMPT = 999_999_999
ATTEMPT = "PANCODE_ATTEMPT"
"""The variable with the attempt's identity, which every process of the attempt has."""
MESSAGES_KEY = "words.key"
"""The file in the run's home with the attempt's secret. The worker removes it before anything else runs. The
secret is in no variable, because a sandbox's first process shows its environment to all inside it."""
SEAL = 64 + 1
"""The length of the seal that precedes the message: hexadecimal digits and a line break."""


def messages_in(attempt: str) -> str:
    """Return the name of the folder, below a run's home, with users' messages to this attempt. Each message
    is a file named by its number."""
    return f"words-{attempt}"


def seal_text(secret: str, number: int, text: str) -> str:
    """Return a message file's content, sealed with the attempt's secret and valid for this number only."""
    return f"{_seal(secret, number, text.encode())}\n{text}"


def unseal_text(secret: str, number: int, data: bytes) -> str | None:
    """Return the message; None if there is no secret, or if the seal does not match the secret and number."""
    seal, text = data[: SEAL - 1], data[SEAL:]
    good = hmac.compare_digest(seal, _seal(secret, number, text).encode())
    return text.decode("utf-8", "replace") if secret and good else None


def _seal(secret: str, number: int, text: bytes) -> str:
    return hmac.new(secret.encode(), b"%d\n%b" % (number, text), hashlib.sha256).hexdigest()


class TurnTerms(WireModel):
    """The terms of an interactive run, whose program waits for a user's message after each answer. The job's
    task is the message of turn 1; `by` is the name of the user who wrote it."""

    idle_ms: int = Field(gt=0)
    """How long the program waits for a message before it ends and the interactive run is suspended."""
    turn_ms: int = Field(gt=0)
    """The longest time for a turn; the program ends a longer turn and waits for a message again."""
    by: Name = ""
    story: str = ""
    """The first message and last answer of the previous interactive run, for the model only. Used only if the
    program resumes no session: the job names none, or the node no longer has it."""
    mode: Name = ""
    """The mode of a program of the owner's own choice, as the program names it; empty: its default."""

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Return the JSON form without an empty `mode`, since an older node agent refuses a job with this
        field."""
        values: dict[str, Any] = write(self)
        return {name: value for name, value in values.items() if value or name != "mode"}


class LaidMessage(WireModel):
    """A user's message, as stored sealed in a run's home."""

    text: str
    by: str = ""


def turn_control_file(what: str, number: int) -> str:
    """Return the name of the file, in the folder of messages, that cancels turn `number` of an interactive
    run or ends the run after that turn. The file's sealed content is `what`."""
    return f"{what}-{number}"


class AttemptId(WireModel):
    """(run, attempt, lease). Within a run the lease number only grows: by one, or to the first number of a
    later epoch."""

    run: RunId
    attempt: int = Field(ge=1, le=LAST_ATTEMPT)
    lease: Number = Field(alias="fence")

    def __str__(self) -> str:
        return f"{self.run}.{self.attempt}.{self.lease}"

    @classmethod
    def parse(cls, text: str) -> AttemptId:
        """Return the identity in a text `RUN.ATTEMPT.LEASE`. Raises ValueError for any other text."""
        match = _SPELLED.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not an attempt's identity")
        return cls(run=match[1], attempt=int(match[2]), lease=int(match[3]))

    @property
    def ref(self) -> str:
        """The only git ref to which this lease may push."""
        return f"refs/pancode/{self.run}/{self.attempt}.{self.lease}"


class ApprovalChannel(WireModel):
    """The folder for an attempt's approval requests. `key`: the node's public key; the node signs answers."""

    home: str
    identity: AttemptId
    key: str
    wait_ms: Millis


def calls_in(attempt: str) -> str:
    """Return the name of the folder below a run's home with the attempt's approval requests and answers."""
    return f"calls-{attempt}"


class Mark(StrEnum):
    """The progress marks of an attempt. Each mark is written and synced before the next step begins."""

    HELD = "held"
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
    Mark.HELD,
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
"""The marks at which the attempt occupies a slot: until all its steps have ended. Publishing needs no slot,
and a held job has none yet: it waits for one."""
