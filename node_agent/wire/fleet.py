"""The fleet's own tools on a node: what an orchestrator is offered, asks for, and is answered."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from node_agent.wire.model import Text, WireModel

MOST_FLEET_TOOLS = 40
MOST_ARGUMENTS, MOST_FLEET_ANSWER = 20_000, 30_000
"""Characters of what is asked, as JSON, and of what is answered."""
MOST_FLEET_CALLS = 2_000
"""Of one attempt. What is asked beyond that is refused."""
MOST_OPEN_FLEET_CALLS = 16
"""That wait for an answer at one time."""
_NAME = r"^[a-z][a-z0-9_]{0,63}$"
FleetToolName = Annotated[str, Field(pattern=_NAME)]


def is_fleet_tool_name(text: str) -> bool:
    """Whether the text can be the name of a tool of the fleet."""
    return re.fullmatch(_NAME[1:-1], text) is not None


class FleetTool(WireModel):
    """One tool as a model is shown it."""

    name: FleetToolName
    description: Annotated[str, Text(2_000)]
    parameters: Annotated[str, Text(8_000)]
    """The JSON schema of its arguments."""


class FleetTerms(WireModel):
    """The tools of the fleet in one sitting. What is not named here is not offered, and is refused."""

    tools: tuple[FleetTool, ...] = Field(min_length=1, max_length=MOST_FLEET_TOOLS)


class LaidFleetAnswer(WireModel):
    """The answer to a call as it lies, sealed, in the run's home. `ok` False: it was refused, or failed."""

    ok: bool
    text: str


def fleet_answer_file(number: int) -> str:
    """The name of the file beside people's words with the answer to that call. It is sealed with the negative
    number: no words of a person are ever taken for an answer, and no answer for words."""
    return f"fleet-{number}"
