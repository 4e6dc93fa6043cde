"""Turns each line of a session's output into an update of the Agent Client Protocol for an editor."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote

from pancode.conversation.model import HeardMessage, Said, SessionTalk, TalkCall, TalkNote, TalkThought, Turn
from pancode.kernel.formatting import clip_columns, count_noun, reveal_invisible

Json = dict[str, Any]
MOST_TITLE = 300
_GIVEN = ("tool", "command", "path", "pattern")
_PICTURE = re.compile(r"!\[(?=[^\]\n]*(?:\][(\[]|\]?\Z))")
"""The start of a Markdown image, even if the text ends in it; escaped, or an editor would fetch the image."""
_KINDS = {
    "read": "read", "ls": "read", "changes": "read", "grep": "search", "find": "search",
    "write": "edit", "edit": "edit", "bash": "execute",
}  # fmt: skip


class UpdateReader:
    """Turns the output of a session's runs into updates; pieces arrive in order and may be cut anywhere.

    `folder`: the editor's absolute path of the checkout's files. `mine`: messages that this editor sent and
    shows itself, as (run, number).
    """

    def __init__(self, folder: str, by: str) -> None:
        self.folder, self._by = folder, by
        self.mine: set[tuple[str, int]] = set()
        self.talk = SessionTalk()

    @property
    def call(self) -> Json | None:
        """Return the running tool call, as it was sent to the editor."""
        return self._describe_call(self.talk.open[-1]) if self.talk.open else None

    def feed(self, run: str, attempt: str, data: bytes, runtime: str) -> Iterator[Json]:
        """Yield the updates for these bytes."""
        for part in self.talk.feed(run, attempt, data, runtime):
            match part:
                case HeardMessage(turn=Turn()) if not self._is_mine(part):
                    by = f"[{part.by}] " if part.is_fleets else "" if part.by == self._by else f"{part.by}: "
                    text = f"{by}{part.text}"
                    yield make_chunk("user_message_chunk", text)
                case Said(text=text):
                    yield make_chunk("agent_message_chunk", text)
                case TalkThought(text=text):
                    yield make_chunk("agent_thought_chunk", text)
                case TalkNote(kind="noted" | "asks" | "compacted" | "retrying", text=text):
                    yield make_chunk("agent_thought_chunk", f"{text}\n")
                case TalkCall(state="running"):
                    yield {"sessionUpdate": "tool_call", **self._describe_call(part), "status": "in_progress"}
                case TalkCall(number=number) if number:
                    yield _make_end_update(part)

    def _is_mine(self, words: HeardMessage) -> bool:
        """Whether this editor sent the message; if so, no update is sent for it."""
        begun_here = words.begins and any(words.turn and words.turn.has(*one) for one in self.mine)
        return begun_here or (words.run, words.number) in self.mine

    def _describe_call(self, call: TalkCall) -> Json:
        update: Json = {
            "toolCallId": _id_of(call),
            "title": _clip_title(call.command or f"{call.tool} {call.about}"),
            "kind": _KINDS.get(call.tool, "other"),
            "rawInput": {name: reveal_invisible(text) for name in _GIVEN if (text := getattr(call, name))},
        }
        here = self._map_path(call)
        return {**update, "locations": [{"path": here}]} if here else update

    def _map_path(self, call: TalkCall) -> str:
        """Return the editor's path of this file of the run's checkout; "" if it is outside the checkout."""
        found = re.search(rf"/{re.escape(call.run)}\b[^/]*/tree/(.+)", call.path)
        if found is None or ".." in found[1].split("/"):
            return ""
        return f"{self.folder.rstrip('/')}/{found[1]}"


def _id_of(call: TalkCall) -> str:
    return f"{call.run}-{call.number}"


def _make_end_update(call: TalkCall) -> Json:
    update: Json = {"toolCallId": _id_of(call), "status": "completed" if call.state == "ok" else "failed"}
    if call.state == "denied":
        update["content"] = [{"type": "content", "content": text_block(reveal_invisible(call.why))}]
    elif call.command and call.answer:
        update["content"] = [
            {"type": "content", "content": text_block(_fence_text(reveal_invisible(call.answer)))}
        ]
    return {"sessionUpdate": "tool_call_update", **update}


def make_chunk(kind: str, text: str) -> Json:
    """Return text as an update; invisible characters are spelled out, and image links are escaped."""
    return {"sessionUpdate": kind, "content": text_block(_PICTURE.sub(r"!\\[", reveal_invisible(text)))}


def text_block(text: str) -> Json:
    return {"type": "text", "text": text}


def words_of(blocks: Iterable[Any], folder: str) -> str:
    """Return the blocks of a prompt as one message. Files in the editor's folder get their paths in the
    checkout. Raises ValueError for a block that is neither text nor file."""
    words = []
    for block in blocks:
        match block:
            case {"type": "text", "text": str(text)}:
                words.append(text)
            case {"type": "resource_link", "uri": str(uri)}:
                words.append(f"@{_name(uri, folder)}")
            case {"type": "resource", "resource": {"uri": str(uri), "text": str(text)}}:
                words.append(f"\n\n{_name(uri, folder)}:\n{_fence_text(text)}\n")
            case {"type": "resource", "resource": {"uri": str(uri)}}:
                words.append(f"@{_name(uri, folder)}")
            case _:
                raise ValueError("a prompt may contain text and files, but no images or sounds")
    return "".join(words)


def _name(uri: str, folder: str) -> str:
    path = unquote(uri.removeprefix("file://")) if uri.startswith("file://") else uri
    return path.removeprefix(f"{folder.rstrip('/')}/")


def format_ending(turn: Turn, shape: Json) -> str:
    """Return the text to show below an answer that changed files: where they are and how to land them."""
    if not turn.files and not turn.commands:
        return ""
    some = count_noun(len(turn.files), "file")
    what = f"{some} changed" if turn.files else f"{count_noun(turn.commands, 'command')} ran"
    return (
        f"\n\n---\n{what} on {shape.get('node') or 'another node'}, in its own checkout. Review: `pancode "
        f"diff {turn.run}`. Apply it to your files: `pancode land {turn.run}`. Both cover the "
        "work until the session is suspended: `/rest` suspends it now.\n"
    )


def make_permission_request(question: Json, call: Json | None) -> Json:
    """Return the parameters of `session/request_permission` for a question that waits for approval."""
    shown = reveal_invisible(question["words"])
    about = {"toolCallId": card_of(question, call), "title": _clip_title(shown), "kind": "execute"}
    options = [_make_option("once", "Yes, this once", "allow_once"), _make_option("no", "No", "reject_once")]
    if question["kind"] == "call":
        rule = _clip_title(question.get("whole") or "its rule")
        options.insert(1, _make_option("run", f"Yes, in this run: {rule}", "allow_always"))
    body = [{"type": "content", "content": text_block(_fence_text(shown))}]
    return {"toolCall": {**about, "status": "pending", "content": body}, "options": options}


def card_of(question: Json, call: Json | None) -> str:
    """Return the id of the tool call that the question is about; if no call is running, the card's own id."""
    if question["kind"] == "call" and call is not None:
        return str(call["toolCallId"])
    return f"{question['run']}-{question['kind']}"


def _clip_title(text: str) -> str:
    """Return the text on one line, clipped."""
    return clip_columns(" ".join(reveal_invisible(text).split()), MOST_TITLE)


def _fence_text(text: str) -> str:
    """Return the text in a Markdown code block whose fence it cannot close, so that it is not markup."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}\n{text}\n{fence}"


def _make_option(name: str, words: str, kind: str) -> Json:
    return {"optionId": name, "name": words, "kind": kind}
