"""The parts of a conversation as JSON, for an interface that shows a run or a session as it happens."""

from __future__ import annotations

from dataclasses import dataclass

from pancode.conversation.model import (
    HeardMessage,
    Output,
    Part,
    Printed,
    Said,
    SessionTalk,
    TalkCall,
    TalkNote,
    TalkThought,
    Turn,
)
from pancode.kernel.declared import leave_out_unset, to_json


@dataclass(frozen=True, slots=True)
class TalkPart:
    """One part. `kind`: said, thought, call, printed (by the command of the running call `number`), turn,
    heard, ended (of a turn), output (plain text), or the kind of a note.

    A call comes when it starts and again when it ends, with the same `number`. What is unset is left out.
    """

    kind: str
    line: int = 0
    """The part's line in the output that was read, from 1."""
    number: int = 0
    """Of a call, a message or a turn; 0 for a call: its start was not read."""
    message: int = 0
    """Of a turn: the number of the message that begins it; 0: the task."""
    by: str = ""
    text: str = ""
    """For a call: the beginning and the end of its output."""
    at_ms: int = 0
    """When it happened, or when a call started, in Unix milliseconds."""
    until_ms: int = 0
    spent_ms: int = 0
    tool: str = ""
    about: str = ""
    """What a call acts on, with paths from the top of the checkout."""
    state: str = ""
    """Of a call: running, ok, failed or denied; of an ended turn: why it ended."""
    result: str = ""
    """How a call ended: `exit 1`, `ended` (of unknown status), ok, failed or denied."""
    why: str = ""
    diff: str = ""


def describe_part(part: Part, line: int = 0) -> dict[str, object]:
    """Return the part as JSON, without what is unset."""
    return leave_out_unset(to_json(part_of(part, line)))


def part_of(part: Part, line: int) -> TalkPart:
    """Return the part in the form in which interfaces get it."""
    match part:
        case Said(text=text):
            return TalkPart("said", line, text=text)
        case Output(text=text):
            return TalkPart("output", line, text=text)
        case TalkThought(text=text, spent_ms=spent_ms):
            return TalkPart("thought", line, text=text, spent_ms=spent_ms)
        case HeardMessage():
            if part.begins and part.turn is not None:
                return TalkPart("turn", line, part.turn.number, part.number, part.by, part.text, part.at_ms)
            return TalkPart("heard", line, part.number, 0, part.by, part.text, part.at_ms)
        case Turn():
            return TalkPart("ended", line, part.number, at_ms=part.at_ms, state=part.stop, why=part.why)
        case TalkNote():
            return TalkPart(part.kind, line, text=part.text, why=part.why)
        case Printed(call=number, text=text):
            return TalkPart("printed", line, number, text=text)
        case TalkCall():
            result = "" if part.state == "running" else part.result
            return TalkPart(
                "call", line, part.number, text=part.answer, at_ms=part.from_ms, until_ms=part.until_ms,
                tool=part.tool, about=part.about, state=part.state, result=result, why=part.why,
                diff=part.diff,
            )  # fmt: skip


class PartsReader:
    """Reads the output of runs, one after another, as parts. `first`: the number of lines before."""

    def __init__(self, first: int = 0) -> None:
        self._talk, self._line = SessionTalk(), first + 1

    def read(self, run: str, attempt: str, data: bytes, runtime: str) -> list[dict[str, object]]:
        """Return the parts in these bytes."""
        if self._talk.attempt not in ("", attempt):
            self._line = 1
        found = list[dict[str, object]]()
        for piece in data.splitlines(keepends=True):
            found += [describe_part(one, self._line) for one in self._talk.feed(run, attempt, piece, runtime)]
            self._line += piece.endswith(b"\n")
        return found

    @property
    def behind(self) -> int:
        """Return how many of the bytes read so far are in no part yet: a reader that resumes begins there."""
        return self._talk.behind
