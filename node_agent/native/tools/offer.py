"""The list of tools, their descriptions for the model and the execution of the model's calls."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from node_agent.chat.messages import Call, Result, ToolForm
from node_agent.native.fleet import FleetChannel, words_of_call
from node_agent.native.judge import Denied
from node_agent.native.places import NotFound, Outside
from node_agent.native.tools.changes import KINDS, read_changes
from node_agent.native.tools.files import Box, Failed, edit, find, grep, ls, read, write
from node_agent.native.tools.shell import bash, run_made
from node_agent.native.tools.skills import read_skill_file
from node_agent.native.voice import CommandOutput, Voice
from node_agent.runtimes.lines import MOST_SHOWN, cut_middle, diff_of
from node_agent.runtimes.workerspec import MadeTool

Tool = Callable[[Box, Mapping[str, Any]], str]
TABLE: Mapping[str, Tool] = {
    "read": read,
    "write": write,
    "edit": edit,
    "bash": bash,
    "grep": grep,
    "find": find,
    "ls": ls,
    "changes": read_changes,
    "skill": read_skill_file,
}
_TEXT, _COUNT = {"type": "string"}, {"type": "integer"}


def _form(name: str, words: str, needs: Sequence[str], /, **properties: dict[str, Any]) -> ToolForm:
    return ToolForm(name, words, {"type": "object", "properties": properties, "required": list(needs)})


_FORMS = {
    form.name: form
    for form in (
        _form("read", "Read a text file, or `lines` lines of it from line `start` on.", ["path"],
              path=_TEXT, start=_COUNT, lines=_COUNT),
        _form("write", "Write a whole file, new or over an old one. Folders are made.", ["path", "content"],
              path=_TEXT, content=_TEXT),
        _form("edit", "Replace `old`, which must be in the file exactly once (or `all`: true), by `new`.",
              ["path", "old", "new"], path=_TEXT, old=_TEXT, new=_TEXT, all={"type": "boolean"}),
        _form("bash", "Run a command with bash. What it leaves running is ended with it.", ["command"],
              command=_TEXT, timeout_s=_COUNT),
        _form("grep", "Lines that fit a regular expression (RE2), in a file or below a folder; `files`: a "
              "pattern of paths.", ["pattern"], pattern=_TEXT, path=_TEXT, files=_TEXT),
        _form("find", "Files whose path fits a pattern such as `*.py` or `src/**/x.c`.", ["pattern"],
              pattern=_TEXT, path=_TEXT),
        _form("ls", "What is in a folder.", [], path=_TEXT),
        _form("changes", "The history of this checkout. `log`: commits, the newest first. `show`: a commit "
              "with its change. `diff`: from one commit to the files, or a range A..B. The newest commit has "
              "the files with which this run began.", ["what"],
              what={"type": "string", "enum": list(KINDS)}, of=_TEXT, path=_TEXT, most=_COUNT),
        _form("skill", "Read the instructions of a skill, or `file`, another file of it.", ["name"],
              name=_TEXT, file={"type": "string", "description": "in the skill"}),
    )
}  # fmt: skip


def list_forms(names: Sequence[str]) -> list[ToolForm]:
    """Return the definitions of these tools, as the model sees them, in the order of `_FORMS`."""
    return [form for name, form in _FORMS.items() if name in names]


def made_forms(made: Iterable[MadeTool]) -> list[ToolForm]:
    """Return the forms of stored tools, whose names have a prefix that no built-in tool has."""
    return [ToolForm(one.name, one.about, json.loads(one.form)) for one in made]


MOST_CALLS_AT_ONCE = 32


class Deeds:
    """The actions of one run. `calls`: the number of requested calls; `denied`: the number of denied ones."""

    def __init__(self, box: Box, voice: Voice, fleet: FleetChannel | None = None) -> None:
        self.box, self._voice, self._fleet = box, voice, fleet
        self.calls = self.denied = 0

    def do(self, call: Call, number: int = 0) -> Result:
        """Execute the call and return its result for the model. `number`: the call's position in its
        answer."""
        self.calls += 1
        given = call.fields
        self._voice.tell("called", id=call.id, tool=call.name, **self._describe_call(call.name, given or {}))
        self.box.on_output = CommandOutput(self._voice, call.id, self.box.clock).add
        try:
            if number >= MOST_CALLS_AT_ONCE:
                raise Failed(f"not executed: at most {MOST_CALLS_AT_ONCE} calls are allowed in one answer")
            text, ok = self._run_tool(call.name, given)
        except (Denied, Outside) as denied:
            self.denied += 1
            self._voice.tell("denied", id=call.id, tool=call.name, why=str(denied)[:500])
            return Result(call.id, call.name, f"Denied: {denied}")
        except (Failed, NotFound, OSError) as failed:
            text, ok = f"Error: {failed}", False
        except Exception as fault:  # a bug in a tool may fail only that call, not the run
            text, ok = f"Error: {type(fault).__name__}: {fault}", False
        self._voice.tell("ran", id=call.id, ok=ok, **_format_shown(call.name, given or {}, text, ok))
        return Result(call.id, call.name, text)

    def _run_tool(self, name: str, given: Mapping[str, Any] | None) -> tuple[str, bool]:
        """Return the tool's text, and whether the tool succeeded. Raises Denied, Failed and any exception of
        the tool."""
        made = self.box.made.get(name)
        may_ask = self._fleet is not None and made is None and self._fleet.may_ask(name, TABLE)
        fleet = self._fleet if may_ask else None
        if fleet is None and made is None:
            self.box.judge.tool(name)
        if given is None:
            raise Failed("the arguments are not a JSON object")
        if fleet is not None:
            answer = fleet.ask(name, given)
            if name not in fleet.names and not answer.ok:
                raise Denied(answer.text)
            return answer.text, answer.ok
        if made is not None:
            return run_made(self.box, made, given)
        return TABLE[name](self.box, given), True

    def stray(self, call: Call) -> None:
        """Report a call that the SDK refused because this run has no tool with its name."""
        self.calls += 1
        self.denied += 1
        self._voice.tell(
            "called", id=call.id, tool=call.name, **self._describe_call(call.name, call.fields or {})
        )
        self._voice.tell("denied", id=call.id, tool=call.name, why="this run has no tool with that name")

    def _describe_call(self, name: str, given: dict[str, Any]) -> dict[str, object]:
        """Return all that the call acts on: the reader of the stream checks this against the policy again."""
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
        if self._fleet is not None and name in self._fleet.names and (words := words_of_call(given)):
            about["pattern"] = words
        return about


def _format_shown(name: str, given: dict[str, Any], text: str, ok: bool) -> dict[str, object]:
    """Return what users see of a call: a command's output and exit status, or the beginning of an edit's
    diff."""
    if isinstance(given.get("command"), str):
        ended = _ENDED.search(text)  # our note on the end, which follows all output of the command
        if ended is None:
            return {"output": cut_middle(text, MOST_SHOWN)}
        output = text[: ended.start()].rstrip("\n")
        return {
            "output": cut_middle(output, MOST_SHOWN), "exit": int(ended[2]) + 128 * (ended[1] != "exit")
        }  # fmt: skip
    return {"diff": diff_of(given)} if ok and name in ("edit", "write") else {}


_ENDED = re.compile(r"\[(exit|ended by signal) (\d+)\]\Z")
