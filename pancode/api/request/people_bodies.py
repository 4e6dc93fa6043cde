"""Request bodies of the inbox: a yes, a no, and the call that they are about."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from node_agent.wire.model import MOST
from node_agent.wire.policy import MOST_NO
from pancode.api.request.bodies import ActBody

CallNumber = Annotated[int | None, Field(ge=1, le=MOST)]


class ApproveBody(ActBody):
    """`with_commands`, `with_secret`: the flags that the inbox has shown (`yes`), neither more nor fewer.

    `call`: the number of the call that the inbox has shown; where one waits, an answer without it is refused.
    """

    call: CallNumber = None
    with_commands: bool = False
    with_secret: bool = False
    scope: Literal["once", "run"] = "once"
    """`run`: also to the same kind for the rest of the run."""

    def yes(self) -> tuple[str, ...]:
        flags = (("--with-commands", self.with_commands), ("--with-secret", self.with_secret))
        return tuple(flag for flag, said in flags if said)


class DenyBody(ActBody):
    """`text`: words for the agent of a call; `call`: as for an approval."""

    text: Annotated[str, Field(max_length=MOST_NO)] = ""
    call: CallNumber = None
