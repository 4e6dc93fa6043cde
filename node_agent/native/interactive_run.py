"""Takes turns with users: a message begins a turn, which ends with an answer; without a message the run
suspends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from node_agent.chat.client import HEARTBEAT_S, QUIET_S
from node_agent.chat.limits import MOST_CALLS, MOST_TURNS, ChatLimits, Over
from node_agent.native.equipment import WorkerHeartbeat
from node_agent.native.loop import CapReached, ModelDeclined
from node_agent.native.tools.offer import Deeds
from node_agent.native.voice import UserMessages, Voice
from node_agent.runtimes.workerspec import GOES_ON
from node_agent.wire.clock import Clock
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import LaidMessage
from node_agent.wire.job import TurnTerms
from node_agent.wire.receipt import MOST_TURN_MESSAGES, SuspendReason, TurnStop
from node_agent.wire.receipt import MOST_TURNS as MOST_OF_AN_INTERACTIVE_RUN

_LIMITS = frozenset(
    {
        FailureKind.WALL_LIMIT,
        FailureKind.OUTPUT_LIMIT,
        FailureKind.TOKEN_LIMIT,
        FailureKind.USD_LIMIT,
        FailureKind.REQUEST_LIMIT,
        FailureKind.TURN_LIMIT,
    }
)
_FOR_GOOD = frozenset(
    {
        FailureKind.MODEL_AUTH,
        FailureKind.CANNOT_START,
        FailureKind.RUNTIME_MISSING,
        FailureKind.RUNTIME_UNREADABLE,
    }
)
"""Failures that recur with every further message; only a new interactive run may have, say, a new key."""
_RESTS = (("rest", SuspendReason.ASKED), ("cap", SuspendReason.CAP), ("give_way", SuspendReason.SLOT))
FORGOT = (
    "the memory of the previous interactive run is not on this node; its files are kept, and the agent is "
    "given its first and last messages"
)
NEAR, WHOLE = 4, 5
"""An interactive run that has used four fifths of a limit begins no further turn."""


class TurnOver(BaseException):
    """The signal to end the current turn. Not an Exception, so that no tool mistakes it for its own error."""

    def __init__(self, stop: TurnStop, why: str = "") -> None:
        super().__init__(why)
        self.stop, self.why = stop, why


class TakesTurns(Protocol):
    """A program that answers users: PanCode's own loop or another one. `turns`, `used`: totals of all turns
    so far."""

    voice: Voice
    clock: Clock
    limits: ChatLimits
    deeds: Deeds
    turns: int
    used: dict[str, int]

    @property
    def remembers(self) -> bool:
        """Whether the program knows the conversation before this interactive run."""

    def hear(self, words: Callable[[], str]) -> None:
        """Set the source of messages that arrive during a turn; if the program accepts none, they wait for
        the next turn."""

    def run(self, task: str) -> str:
        """Return the answer to this message. Raises Over, or TurnOver from the interactive run's
        heartbeat."""

    def close(self, why: str) -> None:
        """End the turn. `why`: the reason, if it ended early."""


class InteractiveRun:
    """The turns of one run. `answer`: the last answer. The loop's limits apply to all turns together."""

    def __init__(
        self, loop: TakesTurns, words: UserMessages, terms: TurnTerms, heartbeat: WorkerHeartbeat
    ) -> None:
        self._loop, self._words, self._terms, self._heartbeat = loop, words, terms, heartbeat
        self._whole, self._began_ms = loop.limits, loop.clock.mono_ms()
        self._number = self._taken = 0
        self._failure: Over | None = None
        self._has_answered = False
        self.answer = ""
        loop.hear(self._take_more)
        loop.voice.latest_ms = int(HEARTBEAT_S * 1000)

    def run(self, task: str) -> Over | None:
        """Take turns until the interactive run suspends. Return the reason if no turn ended with an answer;
        else None."""
        if self._terms.story and not self._loop.remembers:
            self._loop.voice.tell("noted", text=FORGOT)
        begun: tuple[int, LaidMessage] | SuspendReason = (0, LaidMessage(text=task, by=self._terms.by))
        while not isinstance(begun, SuspendReason):
            self._run_turn(*begun)
            if not self._has_answered and self._failure and self._failure.kind in _FOR_GOOD:
                return self._failure
            begun = self._await_message()
        self._loop.voice.tell("rests", why=begun.value)
        return None if self._has_answered else self._failure

    # ---- a turn
    def _run_turn(self, message: int, incoming: LaidMessage) -> None:
        loop, clock = self._loop, self._loop.clock
        self._number, self._taken = self._number + 1, self._words.taken
        loop.limits = replace(
            self._whole,
            until_ms=min(self._whole.until_ms, clock.mono_ms() + self._terms.turn_ms),
            turns=min(self._whole.turns, loop.turns + MOST_TURNS),
            calls=loop.deeds.calls + MOST_CALLS,
        )
        loop.voice.tell(
            "turn", number=self._number, words=message, by=incoming.by, text=incoming.text, at=clock.wall_ms()
        )
        # recorded before the model call: after a crash this message is not sent to the model again
        loop.voice.sync()
        loop.deeds.box.judge.get_ready()
        stop, why = self._work_turn(self._with_memory(incoming.text))
        loop.voice.tell("turn_end", number=self._number, stop=stop.value, why=why, at=clock.wall_ms())
        loop.voice.sync()

    def _work_turn(self, text: str) -> tuple[TurnStop, str]:
        self._heartbeat.on = self._look
        try:
            self.answer = self._loop.run(text)
            stop, why = (TurnStop.END_TURN, "") if self.answer.strip() else _SILENT
            self._has_answered |= stop is TurnStop.END_TURN
        except TurnOver as over:
            stop, why = over.stop, over.why
            self._has_answered |= stop is TurnStop.CANCELLED
        except Over as over:
            self._failure = over
            stop, why = _stop_of(over), str(over)
        finally:
            self._heartbeat.on = None
        self._loop.close("" if stop is TurnStop.END_TURN else why or stop.value)
        return stop, why

    def _with_memory(self, text: str) -> str:
        """Return the message; before the first one of an interactive run, add a summary of the previous
        interactive run."""
        if self._number > 1:
            return text
        before = GOES_ON if self._loop.remembers else self._terms.story
        return f"{before}\n\n{text}" if before else text

    def _look(self) -> None:
        """Check for a user's controls during a wait for the model, a command or an approval. Raises TurnOver
        to end the turn."""
        self._heartbeat.pause_s = HEARTBEAT_S if self._loop.voice.flush() else QUIET_S
        if self._words.wants("cancel", range(self._number, self._number + 1)):
            raise TurnOver(TurnStop.CANCELLED)
        if self._loop.clock.mono_ms() >= self._loop.limits.until_ms:
            raise TurnOver(TurnStop.LIMIT, "the turn or the interactive run exceeded its time limit")

    def _take_more(self) -> str:
        """Return messages that arrived during the turn, which the model gets once, with its next call."""
        words = self._words.new(MOST_TURN_MESSAGES - 1 - (self._words.taken - self._taken))
        if words:
            self._loop.voice.sync()
        return words

    # ---- between turns
    def _await_message(self) -> tuple[int, LaidMessage] | SuspendReason:
        """Return the next message, or the reason why the interactive run suspends."""
        clock = self._loop.clock
        until = clock.mono_ms() + self._terms.idle_ms
        while True:
            if reason := self._find_rest_reason():
                return reason
            if found := self._words.first():
                return found
            if clock.mono_ms() >= until:
                return SuspendReason.IDLE
            self._heartbeat.wait(QUIET_S)

    def _find_rest_reason(self) -> SuspendReason | None:
        turns = range(1, self._number + 1)
        rest_reason = next((reason for what, reason in _RESTS if self._words.wants(what, turns)), None)
        return rest_reason or self._check_limits()

    def _check_limits(self) -> SuspendReason | None:
        """Return why the interactive run must suspend if a limit is near or reached; otherwise None."""
        whole, loop = self._whole, self._loop
        if isinstance(self._failure, CapReached):
            return SuspendReason.CAP
        if loop.voice.written * WHOLE >= whole.output_bytes * NEAR:
            return SuspendReason.SIZE
        used = (
            (loop.clock.mono_ms() - self._began_ms, whole.until_ms - self._began_ms),
            (loop.used["input"] + loop.used["output"], whole.tokens),
            (loop.turns, whole.turns),
            (loop.turns, whole.answers),
            (self._number, MOST_OF_AN_INTERACTIVE_RUN),
        )
        near = any(most is not None and one * WHOLE >= most * NEAR for one, most in used)
        return SuspendReason.CAP if near else None


_SILENT = (TurnStop.FAILED, "the model gave no answer")


def _stop_of(over: Over) -> TurnStop:
    if isinstance(over, ModelDeclined):
        return TurnStop.REFUSAL
    return TurnStop.LIMIT if over.kind in _LIMITS else TurnStop.FAILED
