"""Carries out the tool calls that are allowed, reports each, and counts them."""

from __future__ import annotations

from typing import Any

from node_agent.chat.messages import Call, Result
from node_agent.native.judge import Denied
from node_agent.native.places import NotFound, Outside
from node_agent.native.tools.box import Box, Failed
from node_agent.native.tools.offer import TABLE
from node_agent.native.voice import Voice

MOST_CALLS_AT_ONCE = 32


class Deeds:
    """The actions of one run. `calls`: all requested calls; `denied`: the refused ones."""

    def __init__(self, box: Box, voice: Voice) -> None:
        self.box, self._voice = box, voice
        self.calls = self.denied = 0

    def do(self, call: Call, number: int = 0) -> Result:
        """Whatever becomes of it is told to the model. `number`: of the call in its answer."""
        self.calls += 1
        given = call.fields
        self._voice.tell("called", id=call.id, tool=call.name, **self._about(given or {}))
        try:
            if number >= MOST_CALLS_AT_ONCE:
                raise Failed(f"not done: at most {MOST_CALLS_AT_ONCE} calls in one answer")
            self.box.judge.tool(call.name)
            if given is None:
                raise Failed("the arguments are no JSON object")
            text, ok = TABLE[call.name](self.box, given), True
        except (Denied, Outside) as denied:
            self.denied += 1
            self._voice.tell("denied", id=call.id, tool=call.name, why=str(denied)[:500])
            return Result(call.id, call.name, f"Denied: {denied}")
        except (Failed, NotFound, OSError) as failed:
            text, ok = f"Error: {failed}", False
        except Exception as fault:  # a fault of ours in a tool costs that call, not the run
            text, ok = f"Error: {type(fault).__name__}: {fault}", False
        self._voice.tell("ran", id=call.id, ok=ok)
        return Result(call.id, call.name, text)

    def stray(self, call: Call) -> None:
        """One that its SDK has refused as for no tool of this run, whatever its name: told, not done."""
        self.calls += 1
        self.denied += 1
        self._voice.tell("called", id=call.id, tool=call.name, **self._about(call.fields or {}))
        self._voice.tell("denied", id=call.id, tool=call.name, why="no tool of this run has that name")

    def _about(self, given: dict[str, Any]) -> dict[str, object]:
        """The whole subject of the call: the reader of the stream checks it against the policy once more."""
        command, path = given.get("command"), given.get("path")
        about: dict[str, object] = {}
        if isinstance(command, str):
            about["command"] = command
        if isinstance(path, str):
            tree = self.box.tree
            about["path"] = (
                path if path.startswith("/") else "/".join(filter(None, (tree.top, tree.folder, path)))
            )
        if isinstance(given.get("pattern"), str):
            about["pattern"] = given["pattern"][:200]
        return about
