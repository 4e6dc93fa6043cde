"""Reads a session's output for an editor: each line of a turn becomes an update of the protocol."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote

from pancode.plain import clip, counted, unhidden
from pancode.sessions.output import ReadTurn, TurnReader, WorkerEvent

Json = dict[str, Any]
MOST_OPEN = 200
"""So many calls of tools are known by their ids at once, and so many turns that have ended."""
MOST_TITLE = 300
_GIVEN = ("tool", "command", "path", "pattern")
_KINDS = {
    "read": "read", "ls": "read", "changes": "read", "grep": "search", "find": "search",
    "write": "edit", "edit": "edit", "bash": "execute",
}  # fmt: skip


class UpdateReader:
    """The output of a session's runs, one after the other, cut anywhere.

    `folder`: where the editor has the files of the checkout, absolute. `mine` has the words that this editor
    has sent, as (run, number): it shows those itself.
    """

    def __init__(self, folder: str, by: str) -> None:
        self.folder, self._by = folder, by
        self._open: dict[str, Json] = {}
        self._calls = 0
        self.mine: set[tuple[str, int]] = set()
        self.ended: deque[ReadTurn] = deque(maxlen=MOST_OPEN)
        """The newest turns that have ended."""
        self._turns = TurnReader(self.ended.append)

    @property
    def turn(self) -> ReadTurn | None:
        """The turn at work."""
        return self._turns.turn

    @property
    def call(self) -> Json | None:
        """The call of a tool that is at work, as it was told."""
        return next(reversed(self._open.values()), None)

    def feed(self, run: str, attempt: str, data: bytes) -> Iterator[Json]:
        """The updates for these bytes."""
        if self._turns.at(run, attempt):
            self._open.clear()
        for _, event in self._turns.feed(data):
            yield from self._event(event)

    def _event(self, event: WorkerEvent) -> Iterator[Json]:
        match event.kind:
            case "turn":
                yield from self._said(event, event.words)
            case "heard" if event.text and self.turn is not None:
                yield from self._said(event, event.number)
            case "said" if event.text:
                yield chunk("agent_message_chunk", event.text)
            case "noted" | "compacted" if event.text:
                yield chunk("agent_thought_chunk", f"{event.text}\n")
            case "retrying":
                yield chunk("agent_thought_chunk", f"Its model failed, and it asks again: {event.why}\n")
            case "called":
                yield self._called(event)
            case "ran" | "denied":
                yield from self._over(event)

    def _said(self, event: WorkerEvent, number: int) -> Iterator[Json]:
        """Words of people; who said them, where that was somebody else."""
        turn = self.turn
        assert turn is not None
        begun_here = event.kind == "turn" and any(turn.has(*one) for one in self.mine)
        if (turn.run, number) not in self.mine and not begun_here:
            text = event.text if event.by == self._by else f"{event.by}: {event.text}"
            yield chunk("user_message_chunk", text)

    def _called(self, event: WorkerEvent) -> Json:
        self._calls += 1
        given = {name: getattr(event, name) for name in _GIVEN}
        call: Json = {
            "toolCallId": f"{self._turns.run}-{self._calls}",
            "title": _title(event.command or f"{event.tool} {event.about}"),
            "kind": _KINDS.get(event.tool, "other"),
            "rawInput": {name: text for name, text in given.items() if text},
        }
        if here := self._here(event.path):
            call["locations"] = [{"path": here}]
        if len(self._open) < MOST_OPEN:
            self._open[event.id] = {**call, "path": event.path}
        return {"sessionUpdate": "tool_call", **call, "status": "in_progress"}

    def _here(self, path: str) -> str:
        """The editor's own file with that name in the run's checkout; empty: it lies outside of that."""
        found = re.search(rf"/{re.escape(self._turns.run)}\b[^/]*/tree/(.+)", path)
        if found is None or ".." in found[1].split("/"):
            return ""
        return f"{self.folder.rstrip('/')}/{found[1]}"

    def _over(self, event: WorkerEvent) -> Iterator[Json]:
        call = self._open.pop(event.id, None)
        if call is None:
            return
        denied = event.kind == "denied"
        ok = event.ok and not denied
        if ok and self.turn is not None:
            self.turn.files |= {call["path"]} if call["kind"] == "edit" else set()
            self.turn.commands += call["kind"] == "execute"
        told: Json = {"toolCallId": call["toolCallId"], "status": "completed" if ok else "failed"}
        if denied:
            told["content"] = [{"type": "content", "content": text_block(unhidden(event.why))}]
        yield {"sessionUpdate": "tool_call_update", **told}


def chunk(kind: str, text: str) -> Json:
    """A piece of anybody's text as an update: what cannot be seen is named."""
    return {"sessionUpdate": kind, "content": text_block(unhidden(text))}


def text_block(text: str) -> Json:
    return {"type": "text", "text": text}


def words_of(blocks: Iterable[Any], folder: str) -> str:
    """The blocks of a prompt as words. Files of the editor's folder are named as they are in the checkout.

    ValueError for a block that is no text and no file.
    """
    words = []
    for block in blocks:
        match block:
            case {"type": "text", "text": str(text)}:
                words.append(text)
            case {"type": "resource_link", "uri": str(uri)}:
                words.append(f"@{_name(uri, folder)}")
            case {"type": "resource", "resource": {"uri": str(uri), "text": str(text)}}:
                words.append(f"\n\n{_name(uri, folder)}:\n{_fenced(text)}\n")
            case {"type": "resource", "resource": {"uri": str(uri)}}:
                words.append(f"@{_name(uri, folder)}")
            case _:
                raise ValueError("a prompt has texts and files; images and sounds are not taken")
    return "".join(words)


def _name(uri: str, folder: str) -> str:
    path = unquote(uri.removeprefix("file://")) if uri.startswith("file://") else uri
    return path.removeprefix(f"{folder.rstrip('/')}/")


def ending(turn: ReadTurn, shape: Json) -> str:
    """What a person reads below an answer that has changed files: where they are, and how to get them."""
    if not turn.files and not turn.commands:
        return ""
    some = counted(len(turn.files), "file")
    what = f"{some} changed" if turn.files else f"{counted(turn.commands, 'command')} ran"
    return (
        f"\n\n---\n{what} on {shape.get('node') or 'another machine'}, in its own checkout. Look: "
        f"`pancode runs diff {turn.run}`. Bring it into your files: `pancode land {turn.run}`. "
        "Both take what was done until the session rests: `/rest` lets it rest now.\n"
    )


def permission(asks: Json, call: Json | None) -> Json:
    """The parameters of `session/request_permission` for what waits for a yes."""
    shown = unhidden(asks["words"])
    about = {"toolCallId": card_of(asks, call), "title": _title(shown), "kind": "execute"}
    options = [_option("once", "Yes, this once", "allow_once"), _option("no", "No", "reject_once")]
    if asks["kind"] == "call":
        rule = _title(asks.get("whole") or "its rule")
        options.insert(1, _option("run", f"Yes, in this run: {rule}", "allow_always"))
    body = [{"type": "content", "content": text_block(_fenced(shown))}]
    return {"toolCall": {**about, "status": "pending", "content": body}, "options": options}


def card_of(asks: Json, call: Json | None) -> str:
    """The id of the tool call to which a question belongs; one of its own where none is at work."""
    if asks["kind"] == "call" and call is not None:
        return str(call["toolCallId"])
    return f"{asks['run']}-{asks['kind']}"


def _title(text: str) -> str:
    """One line of it."""
    return clip(" ".join(unhidden(text).split()), MOST_TITLE)


def _fenced(text: str) -> str:
    """As Markdown that shows each character: nothing in it ends the block, and nothing is markup."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}\n{text}\n{fence}"


def _option(name: str, words: str, kind: str) -> Json:
    return {"optionId": name, "name": words, "kind": kind}
