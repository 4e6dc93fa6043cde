"""The conversation of a session from its output, as data and as Markdown, and its way into a new file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pancode.interfaces.client.client import Client
from pancode.interfaces.client.session import stored_log
from pancode.kernel.errors import UsageError
from pancode.kernel.formatting import unhidden
from pancode.runs.answers import RUN
from pancode.sessions.answers import SESSION, SittingShape
from pancode.sessions.conversation.model import HeardWords, Said, SessionTalk, TalkCall, Turn

Json = dict[str, Any]
_HEADS = re.compile(r"^([ ]{0,3})(#{1,6}(?=\s)|=+[ \t]*$|-+[ \t]*$)", re.MULTILINE)
"""Lines of a stranger's text that would look like headings of the export."""


def conversation(client: Client, session: str, until: str = "") -> Json:
    """The session, and its messages in order: who said what when, and what the agent did for it.

    `until`: only the way to the end of this sitting, without what a person has gone back behind; empty: all.
    """
    shape = client.get(SESSION.at(session))
    talk = _Talk(shape["agent"])
    last = None
    for sitting in _way(shape["sittings"], until) if until else shape["sittings"]:
        run, begins = sitting["run"], sitting["begins"]
        talk.run = run
        if last not in (None, begins):
            talk.add(
                "note", "pancode", f"a person went back to the end of {begins}; what stands since is undone"
            )
        last = run
        talk.read(client, shape["runtime"])
    return {"session": shape, "messages": talk.messages}


def _way(sittings: Sequence[SittingShape], until: str) -> list[SittingShape]:
    """Return the sittings from the first to `until`, each begun where the one before it ended."""
    way: list[SittingShape] = []
    wanted: str | None = until
    for sitting in reversed(sittings):
        if sitting["run"] == wanted:
            way, wanted = [sitting, *way], sitting["begins"]
    return way


_SAY = ("person", "fleet")
"""The authors whose words an agent gets."""


class _Talk:
    """A conversation as a list of messages."""

    def __init__(self, agent: str) -> None:
        self._agent, self.run = agent, ""
        self.messages: list[Json] = []
        self._talk = SessionTalk()

    def read(self, client: Client, runtime: str) -> None:
        """Read the output of the current run; without turns, its task and answer as the ledger has them."""
        before = len(self.messages)
        for piece in stored_log(client, self.run, "out"):
            for part in self._talk.feed(self.run, piece.attempt, piece.data, runtime):
                match part:
                    case HeardWords():
                        self.add("fleet" if part.is_fleets else "person", part.by, part.text, part.at_ms)
                    case Said(text=text):
                        self._agents()["text"] += text
                    case TalkCall(state="running"):
                        self._agents(calls=True)["calls"].append({"tool": part.tool, "about": part.about})
                    case Turn() if part.ending:
                        self.add("note", "pancode", part.ending, part.at_ms)
        if all(one["role"] not in _SAY for one in self.messages[before:]):
            del self.messages[before:]
            found = client.get(RUN.at(self.run))
            self.add("person", str(found["created_by"]), str(found["task"]))
            if found["answer"]:
                self.add("agent", str(found["agent"]), str(found["answer"]))

    def add(self, role: str, by: str, text: str, at_ms: int = 0) -> None:
        row = {"run": self.run, "role": role, "by": by, "at_ms": at_ms or None, "text": text}
        self.messages.append({**row, "calls": []})

    def _agents(self, calls: bool = False) -> Json:
        """Return the agent's message under way: its calls, then its text. Calls behind text begin a new
        one."""
        last = self.messages[-1] if self.messages else None
        if last is None or last["role"] != "agent" or (calls and last["text"]):
            self.add("agent", self._agent, "")
        return self.messages[-1]


def markdown(told: Json) -> str:
    """The conversation for readers. No line of a message can pass for a head of ours."""
    shape = told["session"]
    model = f", {shape['model']}" if shape["model"] else ""
    about = f"Session {shape['session']}: agent {shape['agent']}, {shape['runtime']}{model}."
    parts, by = [f"# {shape['title']}", about], None
    for one in told["messages"]:
        again = by == (one["role"], one["by"])
        calls = [f"- {_flat(call['tool'])}: `{_flat(call['about'])}`" for call in one["calls"]]
        body = _HEADS.sub(r"\1\\\2", one["text"].strip())
        who = f"## {_flat(one['by'])}" if one["role"] in _SAY or not again else ""
        parts.append("\n\n".join(filter(None, (who, "\n".join(calls), body))))
        by = one["role"], one["by"]
    return "\n\n".join(unhidden(part) for part in parts) + "\n"


def _flat(text: str) -> str:
    return " ".join(text.replace("`", "'").split())


def write_new(path: Path, text: str) -> None:
    """UsageError for a file that is there already, or that cannot be made."""
    try:
        with open(path, "x", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except FileExistsError as exc:
        raise UsageError(f"{path} is there already", fix="name a new file", code="file_exists") from exc
    except OSError as exc:
        raise UsageError(f"{path} cannot be written", why=str(exc), fix="name another file") from exc
