"""The tool calls of another agent program: reported in PanCode's events and judged if it asks permission."""

from __future__ import annotations

import json
import os.path
import posixpath
from collections.abc import Mapping
from typing import Any

from node_agent.native.judge import Denied
from node_agent.native.places import NotFound, Outside
from node_agent.native.tools.files import Failed
from node_agent.native.tools.offer import Deeds
from node_agent.native.voice import Voice
from node_agent.policy.commands.programs import Use
from node_agent.runtimes.acp import AcpWay
from node_agent.runtimes.lines import (
    MOST_SHOWN,
    begin_of_diff,
    cut_middle,
    dict_of,
    diff_of,
    exit_of,
    list_of,
    text_of,
)

MOST_OPEN, MOST_DETAIL, MOST_WHY = 200, 200, 500
MOST_KEPT = 1 << 20
"""The maximum characters of one fact about a call, as JSON. A longer fact counts as not reported, so that it
cannot lead to a permission."""
_TOOLS = {
    "read": "read",
    "edit": "edit",
    "delete": "delete",
    "move": "move",
    "search": "grep",
    "execute": "bash",
    "fetch": "fetch",
}
"""PanCode's names for the protocol's kinds of calls."""
_USES = {"read": Use.READ, "edit": Use.WRITE, "delete": Use.DELETE, "move": Use.WRITE, "search": Use.READ}
_WHERE = ("cwd", "workdir")
"""The fields in which a program reports where a command runs."""
_OVER = ("completed", "failed")
_MERGED = ("title", "kind", "locations", "rawInput", "content")


class AcpCalls:
    """The tool calls of one process of the agent program. Each is reported once, when all facts are known."""

    def __init__(self, way: AcpWay, deeds: Deeds, voice: Voice) -> None:
        self._way, self._deeds, self._voice = way, deeds, voice
        self._open: dict[str, dict[str, Any]] = {}
        self._told: set[str] = set()
        self.refused = False
        """Whether a call was refused, and none has been permitted since."""

    @property
    def at_work(self) -> bool:
        """Whether a call has started and not ended. A model may pause before it has fully reported a call."""
        return not self._told.isdisjoint(self._open)

    def over(self) -> None:
        """End the turn and all calls that were started in it."""
        self._open.clear()
        self._told.clear()
        self.refused = False

    def take(self, update: Mapping[str, Any]) -> None:
        """Process a `tool_call` or a `tool_call_update`."""
        name, status = text_of(update.get("toolCallId")), text_of(update.get("status"))
        call = self._merge_update(name, update)
        if call is None or status not in (*_OVER, "in_progress"):
            return
        self._tell(name, call)
        if status in _OVER:
            self._end(name, call, status == "completed", update)

    def permit(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a `session/request_permission` for one call. May wait for a user."""
        tool_call = dict_of(params.get("toolCall"))
        name = text_of(tool_call.get("toolCallId"))
        call = self._merge_update(name, tool_call) or dict(tool_call)
        self._tell(name, call)
        why = self._find_refusal(call)
        if not why and (option := _find_option(params, "allow_once")):
            return {"outcome": {"outcome": "selected", "optionId": option}}
        self._deny_call(name, call, why or "the program offers no permission for a single call")
        return reject_call(params)

    # ---- the decision
    def _find_refusal(self, call: Mapping[str, Any]) -> str:
        """Return why the call is not permitted; empty if it is permitted."""
        kind, box = text_of(call.get("kind")), self._deeds.box
        try:
            if kind == "execute":
                if not (command := self._find_command(call)):
                    return "the call's exact command is unknown, so it cannot be judged"
                box.commands += not box.judge.command(command).only_looks
                return ""
            paths = _list_paths(call)
            if kind not in _USES or not paths:
                return f"PanCode does not know what the call would do ({kind or 'no kind'})"
            for path in paths:
                self._judge_path(path, _USES[kind])
        except (Denied, Outside, Failed, OSError) as exc:
            return str(exc)
        return ""

    def _judge_path(self, path: str, use: Use) -> None:
        """Judge the path both as given and resolved; if the file does not exist, as resolved for the file to
        be created."""
        box = self._deeds.box
        try:
            with box.look(path, use):
                return
        except NotFound:
            with box.tree.folder_for(path) as (spot, names):
                top = () if spot.name == "." else (spot.name,)
                box.judge.path(posixpath.join(*top, *names), use)

    def _find_command(self, call: Mapping[str, Any]) -> str:
        """Return the call's exact command; empty if it is unknown."""
        if not self._way.titled:
            raw = dict_of(call.get("rawInput"))
            elsewhere = raw.get("directory") or any(self._leads_away(raw.get(name)) for name in _WHERE)
            return "" if elsewhere else text_of(raw.get("command"))
        return text_of(call.get("title")) if _read_result(call).startswith(self._way.titled) else ""

    def _leads_away(self, path: object) -> bool:
        """Whether the path is not the run's folder; in another folder a command could mean something else."""
        tree = self._deeds.box.tree
        try:
            return bool(path) and tree.name_of(text_of(path)) != (tree.folder.strip("/") or ".")
        except Outside:
            return True

    # ---- the event stream
    def _merge_update(self, name: str, update: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return all known facts about a call; None for one that has ended or is no longer tracked."""
        if name not in self._open and name in self._told:
            return None
        if name not in self._open and len(self._open) >= MOST_OPEN:
            # Drop the oldest call: its end is not reported, but each new call is.
            del self._open[next(iter(self._open))]
        call = self._open.setdefault(name, {})
        for key in _MERGED:
            if update.get(key):
                known, new = call.get(key), update[key]
                both = isinstance(known, dict) and isinstance(new, dict)
                call[key] = _limit_fact({**dict_of(known), **new} if both else new)
        return call

    def _tell(self, name: str, call: Mapping[str, Any]) -> None:
        if name in self._told:
            return
        self._told.add(name)
        self._deeds.calls += 1
        kind, title = text_of(call.get("kind")), text_of(call.get("title"))
        about: dict[str, str] = {}
        if command := self._find_command(call) if kind == "execute" else "":
            about["command"] = command
        elif (paths := _list_paths(call)) and kind in _USES:
            about["path"] = paths[0]
        else:
            about["pattern"] = title[:MOST_DETAIL]
        self._voice.tell("called", id=name, tool=_TOOLS.get(kind) or title[:MOST_DETAIL] or "?", **about)

    def _end(self, name: str, call: Mapping[str, Any], ok: bool, update: Mapping[str, Any]) -> None:
        text = _read_result(update)
        if not ok and any(words in text for words in self._way.denials):
            return self._deny_call(name, call, text)
        del self._open[name]
        self.refused = False
        if ok and text_of(call.get("kind")) in ("edit", "delete", "move"):
            for path in _list_paths(call):
                self._deeds.box.changed[path.removeprefix(f"{self._deeds.box.tree.top}/")] = None
        shown: dict[str, object] = dict(_format_changes(call, self._deeds.box.tree.top)) if ok else {}
        if text_of(call.get("kind")) == "execute":
            shown = {"output": cut_middle(_read_output(update), MOST_SHOWN)}
            if (status := read_exit(update)) is not None:
                shown["exit"] = status
        self._voice.tell("ran", id=name, ok=ok, **shown)

    def _deny_call(self, name: str, call: Mapping[str, Any], why: str) -> None:
        self._open.pop(name, None)
        self._deeds.denied += 1
        self.refused = True
        tool = _TOOLS.get(text_of(call.get("kind"))) or text_of(call.get("title"))[:MOST_DETAIL]
        self._voice.tell("denied", id=name, tool=tool, why=why[:MOST_WHY])


def reject_call(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer that rejects this one call."""
    option = _find_option(params, "reject_once")
    outcome = {"outcome": "selected", "optionId": option} if option else {"outcome": "cancelled"}
    return {"outcome": outcome}


def _find_option(params: Mapping[str, Any], kind: str) -> str:
    """Return the id of an option of this kind. Ids differ among programs; several may have the same kind."""
    options = map(dict_of, list_of(params.get("options")))
    return next((text_of(one.get("optionId")) for one in options if one.get("kind") == kind), "")


def _list_paths(call: Mapping[str, Any]) -> list[str]:
    """Return the paths that the call names; if it names none, those of its diffs."""
    diffs = (one for one in map(dict_of, list_of(call.get("content"))) if one.get("type") == "diff")
    places = map(dict_of, list_of(call.get("locations"))), diffs
    return next(
        filter(None, ([path for one in many if (path := text_of(one.get("path")))] for many in places)), []
    )


def _format_changes(call: Mapping[str, Any], top: str) -> dict[str, str]:
    """Return the removed and added lines of the call's diffs; for several files, each after its path. A
    program may report whole files, so equal lines at the beginning and the end do not count as changes."""
    made = []
    for one in map(dict_of, list_of(call.get("content"))):
        if one.get("type") == "diff":
            old, new = (text_of(one.get(side)).splitlines() for side in ("oldText", "newText"))
            first = len(os.path.commonprefix([old, new]))
            old, new = old[first:], new[first:]
            last = len(os.path.commonprefix([old[::-1], new[::-1]]))
            change = begin_of_diff(old[: len(old) - last], new[: len(new) - last])
            made.append((text_of(one.get("path")).removeprefix(f"{top}/"), change))
    # OpenCode reports no diff for a file that it writes.
    if not made and text_of(call.get("kind")) == "edit":
        made.append(("", diff_of(dict_of(call.get("rawInput")))))
    made = [(path, change) for path, change in made if change]
    many = len({path for path, _ in made}) > 1
    diff = "\n".join(f"{path}\n{change}" if many else change for path, change in made)[:MOST_SHOWN]
    return {"diff": diff} if diff else {}


def _limit_fact(fact: Any) -> Any:
    """Return the fact; if it is too long, an empty value of its type."""
    try:
        fits = len(json.dumps(fact)) <= MOST_KEPT
    except RecursionError:
        fits = False
    return fact if fits else type(fact)()


def _read_result(update: Mapping[str, Any]) -> str:
    """Return the call's result as text."""
    raw = dict_of(update.get("rawOutput"))
    return "\n".join(_list_texts(update) or [f"{raw.get('code')}: {text_of(raw.get('message'))}"])


def _list_texts(update: Mapping[str, Any]) -> list[str]:
    parts = (dict_of(dict_of(one).get("content")) for one in list_of(update.get("content")))
    return [text_of(one.get("text")) for one in parts]


def read_exit(update: Mapping[str, Any]) -> int | None:
    """Return the exit status of a command, which programs report under several names."""
    raw = dict_of(update.get("rawOutput"))
    found = map(
        exit_of, (raw.get("exit_code"), raw.get("exitCode"), dict_of(raw.get("metadata")).get("exit"))
    )
    return next((one for one in found if one is not None), None)


def _read_output(update: Mapping[str, Any]) -> str:
    """Return the output of a command. Some programs report it as content, others in their raw output."""
    raw = update.get("rawOutput")
    fields = [text_of(dict_of(raw).get(name)) for name in ("output", "formatted_output", "stdout")]
    return "\n".join(_list_texts(update)).strip() or next(filter(None, (text_of(raw), *fields)), "")
