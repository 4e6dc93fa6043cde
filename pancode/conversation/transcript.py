"""The conversation of a session as data and as Markdown: who wrote what, in order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypedDict

from pancode.conversation.answers import InteractiveRunShape, SessionShape
from pancode.conversation.model import HeardMessage, Said, SessionTalk, TalkCall, Turn
from pancode.kernel.formatting import reveal_invisible
from pancode.kernel.names import FLEET

_HEADS = re.compile(r"^([ ]{0,3})(#{1,6}(?=\s)|=+[ \t]*$|-+[ \t]*$)", re.MULTILINE)
"""Lines of untrusted text that look like Markdown headings."""
STOPS = frozenset({"cancelled", "refusal", "limit", "failed", "lost"})
"""The abnormal ends of a turn; a copy, so that commands need not import the enum of the wire protocol."""
_SAY = ("person", "fleet")
"""The authors whose messages an agent gets."""


class CalledTool(TypedDict):
    """`result`: how the call ended: `exit 1`, `ended` (of unknown status), ok, failed or denied; empty: not
    yet."""

    tool: str
    about: str
    result: str


class TalkMessage(TypedDict):
    """A message. `role`: user, fleet, agent or note; `calls`: the calls the agent made before this text."""

    run: str
    role: str
    by: str
    at_ms: int | None
    text: str
    calls: list[CalledTool]


class TalkShape(TypedDict):
    """The session, and its messages in order."""

    session: SessionShape
    messages: list[TalkMessage]


@dataclass(frozen=True, slots=True)
class TalkRecord:
    """A run's record: who requested it, its task, its agent, and its answer; "" if it has none."""

    by: str
    task: str
    agent: str
    answer: str


class TalkSource(Protocol):
    """A source of facts about a session's runs. Its methods change nothing and may be called repeatedly."""

    def output(self, run: str) -> Iterable[tuple[str, bytes]]:
        """Yield the stored output in pieces, each with its attempt; nothing if no output is stored."""

    def words(self, run: str) -> Mapping[int, tuple[str, str]] | None:
        """Return the author and text of the run's messages by number, where 0 is the task; None means that
        the messages in the output are trusted."""

    def record(self, run: str) -> TalkRecord:
        """Return the run's record."""


def build_conversation(
    shape: SessionShape, source: TalkSource, interactive_runs: Sequence[InteractiveRunShape]
) -> TalkShape:
    """Return the messages of these interactive runs, with the agent's calls."""
    talk = _Talk(shape["agent"], source)
    last = None
    for interactive_run in interactive_runs:
        run, begins = interactive_run["run"], interactive_run["begins"]
        talk.run = run
        if last not in (None, begins):
            words = f"a user returned to the end of {begins}; everything after it is undone"
            talk.add("note", "pancode", words)
        last = run
        talk.read(shape["runtime"])
    return {"session": shape, "messages": talk.messages}


def way_to(interactive_runs: Sequence[InteractiveRunShape], until: str) -> list[InteractiveRunShape]:
    """Return the chain of interactive runs from the first to `until`, without those that a restored
    checkpoint has undone."""
    way: list[InteractiveRunShape] = []
    wanted: str | None = until
    for interactive_run in reversed(interactive_runs):
        if interactive_run["run"] == wanted:
            way, wanted = [interactive_run, *way], interactive_run["begins"]
    return way


class _Talk:
    """A conversation as a list of messages."""

    def __init__(self, agent: str, source: TalkSource) -> None:
        self._agent, self._source, self.run = agent, source, ""
        self.messages: list[TalkMessage] = []
        self._talk = SessionTalk()

    def read(self, runtime: str) -> None:
        """Read the current run's output; if the output has no messages, use the recorded task and answer."""
        before, known = len(self.messages), self._source.words(self.run)
        begun: dict[int, CalledTool] = {}
        for attempt, data in self._source.output(self.run):
            for part in self._talk.feed(self.run, attempt, data, runtime):
                match part:
                    case HeardMessage():
                        by, text = part.by, part.text
                        if known is not None:  # Messages that no user sent are left out.
                            by, text = known.get(part.number, ("", ""))
                        if by:
                            self.add("fleet" if by == FLEET else "person", by, text, part.at_ms)
                    case Said(text=text):
                        self._find_agent_message()["text"] += text
                    case TalkCall():
                        self.add_call(part, begun)
                    case Turn() if part.ending and known is None:
                        self.add("note", "pancode", part.ending, part.at_ms)
                    # The reason is the program's own text, so it is left out.
                    case Turn(stop=stop) if part.ending and stop in STOPS:
                        self.add("note", "pancode", f"turn {part.number} ended: {stop}", part.at_ms)
        if all(one["role"] not in _SAY for one in self.messages[before:]):
            del self.messages[before:]
            found = self._source.record(self.run)
            self.add("person", found.by, found.task)
            if found.answer:
                self.add("agent", found.agent, found.answer)

    def add(self, role: str, by: str, text: str, at_ms: int = 0) -> None:
        self.messages.append(
            {"run": self.run, "role": role, "by": by, "at_ms": at_ms or None, "text": text, "calls": []}
        )

    def add_call(self, call: TalkCall, begun: dict[int, CalledTool]) -> None:
        """Add a call that starts, or note what an ended one has started. `begun`: running calls by number."""
        if call.state == "running":
            begun[call.number] = {"tool": call.tool, "about": call.about, "result": ""}
            self._find_agent_message(calls=True)["calls"].append(begun[call.number])
        elif call.number in begun:
            ended = begun.pop(call.number)
            ended["about"], ended["result"] = call.about, call.result

    def _find_agent_message(self, calls: bool = False) -> TalkMessage:
        """Return the agent's current message: calls, then text. A call after text starts a new message."""
        last = self.messages[-1] if self.messages else None
        if last is None or last["role"] != "agent" or (calls and last["text"]):
            self.add("agent", self._agent, "")
        return self.messages[-1]


def format_markdown(talk: TalkShape) -> str:
    """Return the conversation as Markdown. No line of a message can imitate our headings."""
    shape = talk["session"]
    model = f", {shape['model']}" if shape["model"] else ""
    about = f"Session {shape['session']}: agent {shape['agent']}, {shape['runtime']}{model}."
    parts, by = [f"# {shape['title']}", about], None
    for one in talk["messages"]:
        again = by == (one["role"], one["by"])
        calls = [
            f"- {_flatten_text(call['tool'])}: `{_flatten_text(call['about'])}` {call['result']}".rstrip()
            for call in one["calls"]
        ]
        body = _HEADS.sub(r"\1\\\2", one["text"].strip())
        who = f"## {_flatten_text(one['by'])}" if one["role"] in _SAY or not again else ""
        parts.append("\n\n".join(filter(None, (who, "\n".join(calls), body))))
        by = one["role"], one["by"]
    return "\n\n".join(reveal_invisible(part) for part in parts) + "\n"


def _flatten_text(text: str) -> str:
    return " ".join(text.replace("`", "'").split())
