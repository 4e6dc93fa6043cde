"""The agent loop: calls the model and executes allowed tool calls until it answers or reaches a limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from node_agent.chat.dialect import Question, Trouble
from node_agent.chat.guard import Guard, too_small
from node_agent.chat.limits import ChatLimits, Over
from node_agent.chat.messages import Answer, Answered, Asked, Call, Result, ToolForm, ToolResults, Turn
from node_agent.native.fleet import FleetChannel
from node_agent.native.tools.files import Box
from node_agent.native.tools.offer import Deeds
from node_agent.native.voice import Voice
from node_agent.native.written_calls import NO_PARSER, TOLD, read_written_calls
from node_agent.wire.clock import Clock
from node_agent.wire.failure import FailureKind, by_status

WAITS_S = (1.0, 4.0)
"""Seconds of each wait before a retry after a temporary failure; after the last one the run has failed."""
LONGEST_WAIT_S = 30.0
LARGER, CUT_TURNS = 2, 2
"""How often a cut-off answer is requested again with twice the tokens, and then with a note to the model."""
CUT_OFF = (
    "Your last answer was cut off at {} tokens, so none of its tool calls was done. "
    "Make one smaller call: write a large file in several edits."
)


LAST_TOKENS, LEAST_ANSWER = 4_096, 512
"""The maximum number of tokens of the last answer; and the minimum for any answer, before a prompt counts as
too long."""
LAST = (
    "You have answered as often as this run may, and this is its last answer. Call no tools. "
    "Say in a few sentences what is done, what is left to do, and what you would do next."
)


LEAST_FULL = 2_000
"""An empty answer to a prompt of at least so many tokens is taken for a full context."""
EMPTY = (
    "the answer is empty: perhaps the server's context is too small for about {} tokens; "
    "load the model with a larger context"
)
CANCELLED = "Not done: a user cancelled this turn."


class ModelDeclined(Over):
    """The error when the model refuses to answer."""


class PromptTooLong(Over):
    """The error when the conversation does not fit into the model's context."""


class CapReached(Over):
    """The error when the model gateway allows no more calls because a limit of the run is reached."""


_CAPS = {
    "tokens": FailureKind.TOKEN_LIMIT,
    "usd": FailureKind.USD_LIMIT,
    "ceiling": FailureKind.USD_LIMIT,
    "requests": FailureKind.REQUEST_LIMIT,
}
"""The failure for each name of a limit that the gateway uses."""


MOST_EQUAL = 25
"""The number of equal answers in a row, with equal results, that shows that the agent makes no progress."""


class Asks(Protocol):
    """A model to call: `chat.client.Model`, or a test double of it."""

    def ask(self, question: Question) -> Answer:
        """Return the model's answer. Raises Trouble."""


@dataclass
class Loop:
    """One run. `talk` is the whole conversation, of which the part that fits is sent."""

    model: Asks
    box: Box
    guard: Guard
    voice: Voice
    clock: Clock
    limits: ChatLimits
    system: str
    tools: list[ToolForm]
    wait: Callable[[float], None]
    saved: Callable[[list[Turn]], None]
    known: bool = True
    thinks: str = ""
    talk: list[Turn] = field(default_factory=list)
    turns: int = 0
    used: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("input", "cached", "output"), 0))
    is_last: bool = False
    fleet: FleetChannel | None = None
    words: Callable[[], str] = str
    """Return a user's messages since the last check; empty if there are none."""
    repeated: int = 0
    """How often `last_done`, the calls of the last answer with their results, came in a row."""
    last_done: list[tuple[str, str, str]] = field(default_factory=list)
    has_called: bool = False
    """Whether the server has parsed a tool call in this conversation."""
    deeds: Deeds = field(init=False)

    def __post_init__(self) -> None:
        self.deeds = Deeds(self.box, self.voice, self.fleet)

    @property
    def remembers(self) -> bool:
        """Whether there is an earlier conversation."""
        return bool(self.talk)

    def hear(self, words: Callable[[], str]) -> None:
        """Set the source of user messages, which is read before each model call."""
        self.words = words

    def close(self, why: str) -> None:
        """End the turn with a model message, which many servers require between two user messages."""
        if self.talk and not isinstance(self.talk[-1], Answered):
            text = "".join(self.voice.answer).strip()
            self.talk.append(Answered(f"{text}\n[this turn ended early: {why}]".lstrip()))
        self.saved(self.talk)

    def run(self, task: str) -> str:
        """Return the final answer to this task. Raises Over."""
        self.talk.append(Asked(task))
        try:
            return self._work_turn()
        except Over as over:
            if isinstance(over, PromptTooLong) and isinstance(self.talk[-1], Asked):
                self.talk.pop()  # otherwise no shorter message could fit after this one
            if over.kind is FailureKind.TURN_LIMIT and self.limits.wrap_up:
                over.answer = self._last_words()
            raise

    def _work_turn(self) -> str:
        has_told = False
        while True:
            answer = self._answer()
            self.has_called = self.has_called or bool(answer.calls)
            if not self.has_called:  # a server that parses calls leaves in the text only what is quoted
                written = read_written_calls(answer.text, (tool.name for tool in self.tools))
                if written.calls:
                    self.voice.tell("noted", text="the model wrote its tool call as text; it is done")
                    answer = replace(answer, calls=written.calls)
                elif written.is_broken and has_told:
                    raise Over(FailureKind.AGENT_FAILED, NO_PARSER)
                elif written.is_broken:
                    has_told = True
                    self.talk += [Answered(answer.text), Asked(TOLD)]
                    continue
            self.talk.append(Answered(answer.text, answer.calls, answer.extra))
            if answer.calls:
                self._do(answer.calls)
            words = self.words()
            if words:
                self.talk.append(Asked(words))
            self.saved(self.talk)
            if not answer.calls and not words:
                return answer.text

    def _do(self, calls: tuple[Call, ...]) -> None:
        """Execute the calls. Each call gets a result, even if the turn is canceled meanwhile. Raises Over."""
        results: list[Result] = []
        try:
            for number, call in enumerate(calls):
                results.append(self.deeds.do(call, number))
        finally:
            left = calls[len(results) :]
            self.talk.append(ToolResults((*results, *(Result(one.id, one.name, CANCELLED) for one in left))))
        # An agent that repeats itself spends money and makes no progress.
        done = [(call.name, call.arguments, one.text) for call, one in zip(calls, results, strict=True)]
        self.repeated = self.repeated + 1 if done == self.last_done else 1
        self.last_done = done
        if self.repeated >= MOST_EQUAL:
            name, arguments, _ = done[0]
            words = f"the agent made the same call {MOST_EQUAL} times in a row with the same result: {name} "
            raise Over(FailureKind.AGENT_FAILED, f"{words}{arguments[:200]}")

    def _last_words(self) -> str:
        """Return the last answer, requested without tools if a turn is left; empty if there is none."""
        self.is_last, self.tools = True, []
        self.talk.append(Asked(LAST))
        try:
            answer = self._ask_model(min(self.guard.answer_tokens, LAST_TOKENS))
        except Over:
            return ""
        self.talk.append(Answered(answer.text or "[nothing]"))
        self.saved(self.talk)
        return answer.text

    # ---- the model
    def _answer(self) -> Answer:
        """Return a complete answer. A cut-off one is never used, because its calls would be executed. Raises
        Over."""
        room = 0
        for _ in range(CUT_TURNS):
            answer, room = self._with_room(self.guard.answer_tokens)
            if answer.finish != "length":
                return answer
            if not answer.calls:
                break
            self.talk += [Answered(answer.text or "[cut off]"), Asked(CUT_OFF.format(room))]
        raise Over(FailureKind.AGENT_FAILED, f"the model's answer was repeatedly cut off at {room} tokens")

    def _with_room(self, room: int, more: int = LARGER) -> tuple[Answer, int]:
        """Return an answer and its token limit, which is doubled while the answer is cut off and may grow."""
        answer = self._ask_model(room)
        if answer.finish == "content_filter":
            raise ModelDeclined(FailureKind.AGENT_FAILED, "the model declined to answer (content filter)")
        larger = min(room * 2, self.guard.context // 2)
        if answer.finish != "length" or larger <= room or not more:
            return answer, room
        self.voice.tell(
            "noted", text=f"the answer was cut off and requested again with at most {larger} tokens"
        )
        return self._with_room(larger, more - 1)

    def _ask_model(self, room: int) -> Answer:
        """Request an answer. Temporary failures are retried; a conversation that is too long is shortened."""
        shorter = 0
        waits = list(WAITS_S)
        while True:
            sent, room = self._fit_turns(room)
            try:
                left = (self.limits.until_ms - self.clock.mono_ms()) / 1000
                answer = self.model.ask(Question(self.system, sent, self.tools, room, left, self.thinks))
            except Trouble as trouble:
                self.voice.flush()
                if trouble.too_long and shorter < 2:
                    shorter += 1
                    room = self._learn_room(trouble, sent)
                else:
                    self._wait_or_end(trouble, waits)
                continue
            self._count(answer, sent)
            if answer.text.strip() or answer.calls or answer.finish != "stop":
                return answer
            # LM Studio answers so if the prompt does not fit into the context. Without anything to leave out,
            # a shorter prompt is not possible, and nothing is known about the context.
            tokens = self.guard.tokens(sent)
            if shorter or tokens < LEAST_FULL or not self.guard.can_shorten(self.talk, tokens * 3 // 4):
                raise Over(FailureKind.NO_ANSWER, EMPTY.format(tokens))
            shorter += 1
            room = self._learn_room(Trouble("its answer is empty"), sent)

    def _fit_turns(self, room: int) -> tuple[tuple[Turn, ...], int]:
        """Return the turns to send and the tokens left for an answer: less than `room` only if the last turns
        do not fit otherwise. Raises Over."""
        self._check_limits()
        fitted = self.guard.fit(self.talk, room)
        while (fitted.is_cut or not fitted.fits) and room > LEAST_ANSWER:
            room = max(room // 2, LEAST_ANSWER)
            fitted = self.guard.fit(self.talk, room)
        if fitted.words:
            words = f"the conversation is near the limit of {self.guard.context} tokens: {fitted.words}"
            self.voice.tell("compacted", text=words, tokens=fitted.tokens)
        if not fitted.fits:
            first = self.turns == 0
            kind = FailureKind.CANNOT_START if first else FailureKind.AGENT_FAILED
            raise PromptTooLong(kind, too_small(fitted, self.guard.context, self.known))
        return fitted.turns, room

    def _learn_room(self, trouble: Trouble, sent: tuple[Turn, ...]) -> int:
        """Reduce the assumed context after a refusal; return the tokens that an answer may have from now."""
        room = trouble.room or self.guard.tokens(sent) * 3 // 4
        self.guard.context = min(room, self.guard.context * 3 // 4) if room >= self.guard.context else room
        self.known = True
        words = f"the server's context is smaller than assumed: {self.guard.context} tokens ({trouble})"
        self.voice.tell("noted", text=words)
        self.box.most_chars = self.guard.most_chars
        return self.guard.answer_tokens

    def _wait_or_end(self, trouble: Trouble, waits: list[float]) -> None:
        """Wait before the next call, or end the run if no retry is left."""
        self._check_limits()
        if trouble.limit in _CAPS:
            raise CapReached(_CAPS[trouble.limit], str(trouble))
        kind = FailureKind.MODEL_FAILED if trouble.status is None else by_status(trouble.status)
        kind = FailureKind.MODEL_REFUSED if trouble.is_used_up else kind
        if not trouble.passing or not waits or (trouble.retry_after or 0) > LONGEST_WAIT_S:
            status = f" (HTTP {trouble.status})" if trouble.status else ""
            over = PromptTooLong if trouble.too_long else Over
            raise over(kind, f"the model server failed: {trouble}{status}")
        seconds = max(waits.pop(0), trouble.retry_after or 0)
        self.voice.tell("retrying", status=trouble.status, why=str(trouble), wait_s=seconds)
        self.wait(seconds)

    def _count(self, answer: Answer, sent: tuple[Turn, ...]) -> None:
        self.turns += not self.is_last
        tokens = answer.tokens
        for name in self.used:
            self.used[name] += getattr(tokens, name)
        self.voice.tell("usage", **self.used, turns=self.turns, told=tokens.reported, model=answer.model)
        if tokens.reported:
            read = tokens.input + tokens.cached
            if self.guard.looks_cut(sent, read):
                words = (
                    f"the server counted only {read} tokens of a longer prompt and may have cut off its "
                    "beginning"
                )
                self.voice.tell("noted", text=words)
            else:
                self.guard.learn(sent, read)
                self.box.most_chars = self.guard.most_chars

    def _check_limits(self) -> None:
        now, written = self.clock.mono_ms(), self.voice.written
        self.limits.check(now, self.turns, self.deeds.calls, self.used, written, self.is_last)
