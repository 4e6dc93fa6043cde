"""The agent loop: ask the model, do the calls that may be done, until it answers or a limit is reached."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from node_agent.native.guard import Guard, too_small
from node_agent.native.judge import Denied
from node_agent.native.model import Question, Trouble
from node_agent.native.places import NotFound, Outside
from node_agent.native.talk import Answer, Answered, Asked, Call, Result, Told, ToolForm, Turn
from node_agent.native.tools.box import Box, Failed
from node_agent.native.tools.offer import TABLE
from node_agent.native.voice import Voice
from node_agent.wire.clock import Clock
from node_agent.wire.failure import FailureKind, by_status

WAITS_S = (1.0, 4.0)
"""Before the model server is asked again after a failure that may pass; then the run has failed."""
LONGEST_WAIT_S = 30.0
LARGER, CUT_TURNS = 2, 2
"""So often an answer that was cut off is asked for again with twice the room; and so often after the model
was told of it."""
MOST_CALLS_AT_ONCE = 32
CUT_OFF = (
    "Your last answer was cut off at {} tokens, so none of its tool calls was done. "
    "Make one smaller call: write a large file in several edits."
)


class Asks(Protocol):
    """A model: `model.Model`, or a double of it."""

    def ask(self, question: Question) -> Answer:
        """Raises Trouble."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`until_ms` on the monotonic clock; None: no such limit."""

    until_ms: int
    turns: int
    calls: int
    tokens: int | None
    output_bytes: int


class Over(Exception):
    """The run is over, without having done its work."""

    def __init__(self, kind: FailureKind, why: str) -> None:
        super().__init__(why)
        self.kind = kind


@dataclass
class Loop:
    """One run. `talk` holds the conversation whole; what is sent of it is what fits."""

    model: Asks
    box: Box
    guard: Guard
    voice: Voice
    clock: Clock
    limits: Limits
    system: str
    tools: list[ToolForm]
    wait: Callable[[float], None]
    saved: Callable[[list[Turn]], None]
    known: bool = True
    thinks: str = ""
    talk: list[Turn] = field(default_factory=list)
    turns: int = 0
    calls: int = 0
    used: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("input", "cached", "output"), 0))
    denied: int = 0

    def run(self, task: str) -> str:
        """The final answer. Raises Over."""
        self.talk.append(Asked(task))
        while True:
            answer = self._answer()
            self.talk.append(Answered(answer.text, answer.calls))
            if answer.calls:
                self.talk.append(Told(tuple(self._done(one, n) for n, one in enumerate(answer.calls))))
            self.saved(self.talk)
            if not answer.calls:
                return answer.text

    # ---- the model
    def _answer(self) -> Answer:
        """One that is whole. What was cut off is never acted upon: the library would do its calls. Over."""
        room = 0
        for _ in range(CUT_TURNS):
            answer, room = self._with_room(self.guard.answer_tokens)
            if answer.finish != "length":
                return answer
            if not answer.calls:
                break
            self.talk += [Answered(answer.text or "[cut off]"), Asked(CUT_OFF.format(room))]
        raise Over(
            FailureKind.AGENT_FAILED, f"the model's answer was cut off at {room} tokens, again and again"
        )

    def _with_room(self, room: int, more: int = LARGER) -> tuple[Answer, int]:
        """Asked again with twice the room as long as it is cut off and there is room."""
        answer = self._asked(room)
        if answer.finish == "content_filter":
            raise Over(FailureKind.AGENT_FAILED, "the model declined to answer (content filter)")
        larger = min(room * 2, self.guard.context // 2)
        if answer.finish != "length" or larger <= room or not more:
            return answer, room
        self.voice.tell("noted", text=f"the answer was cut off; asked again with room for {larger} tokens")
        return self._with_room(larger, more - 1)

    def _asked(self, room: int) -> Answer:
        """Whatever comes; what may pass is asked again, and what was too long is made shorter."""
        shorter = 0
        waits = list(WAITS_S)
        while True:
            sent = self._fitted(room)
            try:
                answer = self.model.ask(self._question(sent, room))
            except Trouble as trouble:
                self.voice.flush()
                if trouble.too_long and shorter < 2:
                    shorter += 1
                    room = self._learn_room(trouble, sent)
                else:
                    self._again(trouble, waits)
                continue
            self._count(answer, sent)
            return answer

    def _fitted(self, room: int) -> tuple[Turn, ...]:
        self._check_limits()
        fitted = self.guard.fit(self.talk, room)
        if fitted.words:
            words = f"the conversation is near {self.guard.context} tokens: {fitted.words}"
            self.voice.tell("compacted", text=words, tokens=fitted.tokens)
        if not fitted.fits:
            first = self.turns == 0
            kind = FailureKind.CANNOT_START if first else FailureKind.AGENT_FAILED
            raise Over(kind, too_small(fitted, self.guard.context, self.known))
        return fitted.turns

    def _question(self, sent: tuple[Turn, ...], room: int) -> Question:
        left = (self.limits.until_ms - self.clock.mono_ms()) / 1000
        return Question(self.system, sent, self.tools, room, left, self.thinks)

    def _learn_room(self, trouble: Trouble, sent: tuple[Turn, ...]) -> int:
        """The tokens that an answer may have from now on."""
        room = trouble.room or self.guard.tokens(sent) * 3 // 4
        self.guard.context = min(room, self.guard.context * 3 // 4) if room >= self.guard.context else room
        self.known = True
        words = f"the server has less room than believed: {self.guard.context} tokens ({trouble})"
        self.voice.tell("noted", text=words)
        self.box.most_chars = self.guard.most_chars
        return self.guard.answer_tokens

    def _again(self, trouble: Trouble, waits: list[float]) -> None:
        """Waits, or ends the run."""
        self._check_limits()
        kind = FailureKind.MODEL_FAILED if trouble.status is None else by_status(trouble.status)
        if not trouble.passing or not waits or (trouble.retry_after or 0) > LONGEST_WAIT_S:
            status = f" (HTTP {trouble.status})" if trouble.status else ""
            raise Over(kind, f"the model server: {trouble}{status}")
        seconds = max(waits.pop(0), trouble.retry_after or 0)
        self.voice.tell("retrying", status=trouble.status, why=str(trouble), wait_s=seconds)
        self.wait(seconds)

    def _count(self, answer: Answer, sent: tuple[Turn, ...]) -> None:
        self.turns += 1
        tokens = answer.tokens
        for name in self.used:
            self.used[name] += getattr(tokens, name)
        self.voice.tell("usage", **self.used, turns=self.turns, told=tokens.told, model=answer.model)
        if tokens.told:
            told = tokens.input + tokens.cached
            if self.guard.looks_cut(sent, told):
                words = (
                    f"the server counted {told} tokens for a prompt that has more: it may have cut its front"
                )
                self.voice.tell("noted", text=words)
            else:
                self.guard.learn(sent, told)
                self.box.most_chars = self.guard.most_chars

    def _check_limits(self) -> None:
        spent, most = self.used["input"] + self.used["output"], self.limits
        if self.clock.mono_ms() >= most.until_ms:
            raise Over(FailureKind.WALL_LIMIT, "the time limit was reached")
        if self.turns >= most.turns:
            raise Over(
                FailureKind.REQUEST_LIMIT, f"{self.turns} calls of the model, the limit is {most.turns}"
            )
        if self.calls >= most.calls:
            raise Over(FailureKind.REQUEST_LIMIT, f"{self.calls} tool calls, the limit is {most.calls}")
        if most.tokens is not None and spent >= most.tokens:
            raise Over(FailureKind.TOKEN_LIMIT, f"{spent} tokens, the limit is {most.tokens}")
        if self.voice.written >= most.output_bytes:
            raise Over(FailureKind.OUTPUT_LIMIT, "more output than the limit")

    # ---- the tools
    def _done(self, call: Call, number: int) -> Result:
        """Whatever becomes of it is told to the model."""
        self.calls += 1
        given = _arguments(call)
        self.voice.tell("called", id=call.id, tool=call.name, **self._about(given or {}))
        try:
            if number >= MOST_CALLS_AT_ONCE:
                raise Failed(f"not done: at most {MOST_CALLS_AT_ONCE} calls in one answer")
            self.box.judge.tool(call.name)
            if given is None:
                raise Failed("the arguments are no JSON object")
            text, ok = TABLE[call.name](self.box, given), True
        except (Denied, Outside) as denied:
            self.denied += 1
            self.voice.tell("denied", id=call.id, tool=call.name, why=str(denied)[:500])
            return Result(call.id, call.name, f"Denied: {denied}")
        except (Failed, NotFound, OSError) as failed:
            text, ok = f"Error: {failed}", False
        except Exception as fault:  # a fault of ours in a tool costs that call, not the run
            text, ok = f"Error: {type(fault).__name__}: {fault}", False
        self.voice.tell("ran", id=call.id, ok=ok)
        return Result(call.id, call.name, text)

    def _about(self, given: dict[str, Any]) -> dict[str, object]:
        """What the call is about, whole: to be held against the policy once more by who reads the stream."""
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


def _arguments(call: Call) -> dict[str, Any] | None:
    try:
        given = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        return None
    return given if isinstance(given, dict) else None
