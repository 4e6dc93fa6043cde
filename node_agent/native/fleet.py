"""Requests fleet tools from the coordinator: writes a line to the stream, then waits for the sealed
answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

from node_agent.chat.client import HEARTBEAT_S
from node_agent.chat.messages import ToolForm
from node_agent.native.judge import Denied
from node_agent.native.voice import UserMessages, Voice
from node_agent.wire.fleet import MOST_ARGUMENTS, FleetTerms, LaidFleetAnswer, is_fleet_tool_name


def fleet_forms(terms: FleetTerms | None) -> list[ToolForm]:
    """Return the fleet tools in the form for the model; none if the job offers none."""
    tools = () if terms is None else terms.tools
    return [ToolForm(one.name, one.description, json.loads(one.parameters)) for one in tools]


MOST_TOLD = 200
_SUBJECTS = ("task", "question", "text", "run", "workflow", "name", "session")
"""The arguments that name the target and task of a call, the most informative first."""


def words_of_call(given: Mapping[str, Any]) -> str:
    """Return a user-readable summary of the target and task of a call; empty if the call names neither."""
    who = " on ".join(str(given[name]) for name in ("agent", "node") if isinstance(given.get(name), str))
    what = next((str(given[name]) for name in _SUBJECTS if isinstance(given.get(name), str)), "")
    if isinstance(questions := given.get("questions"), list):
        what = what or "; ".join(map(str, questions))
    tasks = given.get("tasks") or given.get("steps")
    what = what or (f"{len(tasks)} tasks" if isinstance(tasks, list) else "")
    return ": ".join(part for part in (who, " ".join(what.split())) if part)[:MOST_TOLD]


def begun_by(answer: str) -> str:
    """Return the run or workflow that a call has started, as its answer names it; empty if there is none."""
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return ""
    begun = (found.get("run") or found.get("workflow")) if isinstance(found, dict) else None
    return begun[:MOST_TOLD] if isinstance(begun, str) else ""


class FleetChannel:
    """The fleet calls of one attempt, numbered from 1. `wait`: sleeps, and may end the turn meanwhile."""

    def __init__(
        self, terms: FleetTerms | None, voice: Voice, words: UserMessages, wait: Callable[[float], None]
    ) -> None:
        self.names = frozenset(one.name for one in terms.tools) if terms is not None else frozenset()
        self._voice, self._words, self._wait = voice, words, wait
        self._number, self._begun = 0, ""

    def may_ask(self, tool: str, others: Collection[str]) -> bool:
        """Whether a call of this tool goes to the coordinator: a fleet tool, or an unknown one, which it
        refuses and audits. `others`: the tools that are not the fleet's."""
        stray = bool(self.names) and tool not in others and is_fleet_tool_name(tool)
        return stray or tool in self.names

    def ask(self, tool: str, given: Mapping[str, Any]) -> LaidFleetAnswer:
        """Make the call and return its answer, however long this takes. Denied for arguments that no tool
        could need. If the turn ends meanwhile, the call is abandoned; the work that it started continues."""
        number = self.begin(tool, given)
        try:
            while (answer := self.answer(number)) is None:
                self._wait(HEARTBEAT_S)
        finally:
            self.over(number)
        return answer

    def begin(self, tool: str, given: Mapping[str, Any]) -> int:
        """Send the request of a call; return the call's number. Raises Denied."""
        size = len(json.dumps(given))
        if size > MOST_ARGUMENTS:
            raise Denied(
                f"the arguments have {size} characters; the limit for a fleet tool is {MOST_ARGUMENTS}"
            )
        self._number += 1
        self._voice.tell(
            "asks_fleet", number=self._number, tool=tool, about=words_of_call(given), arguments=dict(given)
        )
        self._voice.sync()  # stored before the call is sent: no later call may ever have this number
        return self._number

    def answer(self, number: int) -> LaidFleetAnswer | None:
        """Return the answer to a call; None if the answer has not arrived."""
        found = self._words.fleet_answer(number)
        if found is not None and found.ok:
            self._begun = begun_by(found.text)
        return found

    def over(self, number: int) -> None:
        """Report that the worker no longer waits for this call."""
        self._voice.tell("fleet_over", number=number, begun=self._begun)
        self._begun = ""
