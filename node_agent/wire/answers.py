"""The answer to a call that waits for a person, as the node signs it."""

from __future__ import annotations

from pydantic import Field

from node_agent.wire.calls import MOST_NO, CallAsked
from node_agent.wire.identity import AttemptId
from node_agent.wire.signing import Message


class CallAnswer(Message):
    """A person's answer, signed by the node. `whole`: a yes for every call that the rule asks about."""

    identity: AttemptId
    asked: CallAsked
    allow: bool
    whole: bool = False
    words: str = Field(default="", max_length=MOST_NO)
