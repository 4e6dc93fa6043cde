"""The fleet tools on a node: their definitions for an orchestrator, its calls, and the answers."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from node_agent.wire.model import Text, WireModel

MOST_FLEET_TOOLS = 40
MOST_ARGUMENTS, MOST_FLEET_ANSWER = 20_000, 30_000
"""The most characters of a call's JSON arguments, and of an answer."""
MOST_FLEET_CALLS = 2_000
"""The most calls of fleet tools in one attempt; later calls are refused."""
MOST_OPEN_FLEET_CALLS = 16
"""The most calls of fleet tools that may wait for an answer at the same time."""
_NAME = r"^[a-z][a-z0-9_]{0,63}$"
FleetToolName = Annotated[str, Field(pattern=_NAME)]


def is_fleet_tool_name(text: str) -> bool:
    """Whether the text can be the name of a fleet tool."""
    return re.fullmatch(_NAME[1:-1], text) is not None


class FleetTool(WireModel):
    """One fleet tool, as it is described to the model."""

    name: FleetToolName
    description: Annotated[str, Text(2_000)]
    parameters: Annotated[str, Text(8_000)]
    """The JSON schema of the tool's arguments."""


class FleetTerms(WireModel):
    """The fleet tools of one interactive run. Other tools are not offered, and calls of them are refused."""

    tools: tuple[FleetTool, ...] = Field(min_length=1, max_length=MOST_FLEET_TOOLS)


class LaidFleetAnswer(WireModel):
    """A sealed answer to a call, as stored in the run's home. `ok` False: the call was refused or failed."""

    ok: bool
    text: str


def fleet_answer_file(number: int) -> str:
    """Return the name of the file for the answer to call `number`, in the folder of users' messages. It is
    sealed with the negative number, so that no message can pass for an answer, or the reverse."""
    return f"fleet-{number}"
