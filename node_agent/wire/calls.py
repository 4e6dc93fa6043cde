"""A tool call that waits for a person's yes: the file with the question, and where it lies."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from node_agent.wire.identity import AttemptId
from node_agent.wire.model import Millis, WireModel
from node_agent.wire.policy import MOST_PATTERN

CallId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
MOST_COMMAND = 2_000
"""A person reads all of a command before the yes: a longer one is not asked about."""
MOST_NO = 2_000
"""Characters of a person's words with a no."""
MOST_FILE = 64 << 10
ASKED, ANSWERED = ".json", ".answer"
Command = Annotated[str, Field(min_length=1, max_length=MOST_COMMAND)]


class CallAsked(WireModel):
    """The question: a command, and the pattern of the rule that asks. Every program of the run may write one.

    It is material: an answer names the command and the pattern that the person has seen.
    """

    call: CallId
    command: Command
    pattern: Annotated[str, Field(min_length=1, max_length=MOST_PATTERN)]


class CallDesk(WireModel):
    """The place of questions of one attempt. `key`: the node's public key, with which answers are signed."""

    home: str
    identity: AttemptId
    key: str
    wait_ms: Millis


def calls_in(attempt: str) -> str:
    """The folder below a run's home that has the questions of this attempt, and the answers."""
    return f"calls-{attempt}"
