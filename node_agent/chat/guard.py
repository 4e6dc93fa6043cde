"""Shortens a conversation to the model's context window, by a rule that is printed each time. Pure.

The rule takes these steps until the conversation fits: shorten tool results older than the last KEPT turns,
oldest first; shorten the model's texts and call arguments in these old turns; shorten newer turns, but less;
leave out whole old turns; truncate the rest. The system prompt and the user's messages are never changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from node_agent.chat.messages import Answered, Asked, Call, ToolForm, ToolResults, Turn

CAREFUL = 8_192
"""The tokens assumed if a user's own server does not report its context: a small context is better than a
task that was silently truncated."""
VENDORS = 100_000
"""The context of a vendor's hosted model, in tokens, if it was not set."""
KEPT, RECENT, SHORT, SHORTEST = 4, 2_000, 400, 120
BYTES_PER_TOKEN, FEWEST, MOST = 3.0, 1.0, 5.0
MOST_ANSWER = 8_192
_SPARE, _PER_TURN, _PER_CALL = 64, 24, 30


@dataclass(frozen=True, slots=True)
class Fitted:
    """A conversation made to fit the context. `turns`: to be sent; `words`: what was shortened, or empty.
    `fits`: whether that was enough; `tokens`: its estimated size including the answer; `is_cut`: whether even
    the last turns were cut short."""

    turns: tuple[Turn, ...]
    tokens: int
    fits: bool
    words: str = ""
    is_cut: bool = False


class Guard:
    """Fits one run's conversation into the context. `context`: the tokens that the model can use."""

    def __init__(self, context: int, system: str, tools: Sequence[ToolForm]) -> None:
        self.context = context
        self._rate = BYTES_PER_TOKEN
        schema = json.dumps([[one.name, one.words, one.schema] for one in tools])
        self._always = len(system.encode()) + len(schema) + 40 * len(tools)

    @property
    def answer_tokens(self) -> int:
        """Return the number of tokens that are reserved for an answer."""
        return max(min(MOST_ANSWER, self.context // 4), 16)

    @property
    def most_chars(self) -> int:
        """Return the maximum length of one tool's answer in characters: a quarter of the context's space."""
        return max(int(self.context / 4 * min(self._rate, BYTES_PER_TOKEN)), 500)

    def tokens(self, turns: Sequence[Turn]) -> int:
        """Return the estimated tokens of a prompt with these turns; the estimate tends to be too high."""
        return int((self._always + sum(map(_measure_turn, turns))) / self._rate) + _SPARE

    def learn(self, turns: Sequence[Turn], counted: int) -> None:
        """Adjust the estimate to `counted`, the server's token count for a prompt that was just sent."""
        size = self._always + sum(map(_measure_turn, turns))
        if counted > 0:
            self._rate = min(max(size / counted * 0.95, FEWEST), MOST)

    def looks_cut(self, turns: Sequence[Turn], counted: int) -> bool:
        """Whether the server counted so few tokens that it cannot have read the whole prompt."""
        size = self._always + sum(map(_measure_turn, turns))
        return 0 < counted < size / (MOST * 2) and counted > self.context // 3

    def can_shorten(self, turns: Sequence[Turn], context: int) -> bool:
        """Whether the turns, shortened, would fit into a context of so many tokens."""
        assumed, self.context = self.context, context
        try:
            return self.fit(turns).fits
        finally:
            self.context = assumed

    def fit(self, turns: Sequence[Turn], answer: int | None = None) -> Fitted:
        """Return the turns, shortened to leave space for an answer of so many tokens (None: the default)."""
        now, done, changed = list(turns), list[str](), 0
        room = self.context - (self.answer_tokens if answer is None else answer)
        old = max(len(now) - KEPT, 0)
        steps: tuple[tuple[str, Callable[[list[Turn]], int]], ...] = (
            (
                "{} old tool results shortened",
                lambda all_: _shorten_turns(self, all_, room, old, SHORT, ToolResults),
            ),
            ("{} old answers shortened", lambda all_: _shorten_turns(self, all_, room, old, SHORT, Answered)),
            ("{} recent turns shortened", lambda all_: _shorten_turns(self, all_, room, len(all_), RECENT)),
            ("{} old turns left out", lambda all_: _leave_out(self, all_, room)),
            ("{} recent turns cut short", lambda all_: _shorten_turns(self, all_, room, len(all_), SHORTEST)),
        )
        for words, step in steps:
            changed = 0
            if self.tokens(now) <= room:
                break
            if changed := step(now):
                done.append(words.format(changed))
        tokens = self.tokens(now)
        return Fitted(tuple(now), tokens + self.context - room, tokens <= room, ", ".join(done), changed > 0)


def _measure_turn(turn: Turn) -> int:
    match turn:
        case Asked(text):
            return len(text.encode()) + _PER_TURN
        case Answered(text, calls):
            wrote = sum(len(one.arguments.encode()) + len(one.name) + _PER_CALL for one in calls)
            extra = sum(len(json.dumps(one)) for one in (turn.extra, *(call.extra for call in calls)) if one)
            return len(text.encode()) + wrote + extra + _PER_TURN
        case ToolResults(results):
            return sum(len(one.text.encode()) + _PER_CALL for one in results) + _PER_TURN
    assert_never(turn)


def _shorten_turns(
    guard: Guard, turns: list[Turn], room: int, before: int, size: int, kind: type[Turn] | None = None
) -> int:
    """Shorten turns, oldest first, until the conversation fits `room`; return how many were shortened."""
    changed = 0
    for at in range(before):
        if guard.tokens(turns) <= room:
            break
        if kind is None or isinstance(turns[at], kind):
            short = _shorten_turn(turns[at], size)
            changed += short != turns[at]
            turns[at] = short
    return changed


def _shorten_turn(turn: Turn, size: int) -> Turn:
    match turn:
        case ToolResults(results):
            return ToolResults(tuple(replace(one, text=_cut(one.text, size)) for one in results))
        case Answered(text, calls):
            return replace(turn, text=_cut(text, size), calls=tuple(_short_call(one, size) for one in calls))
    return turn


def _short_call(call: Call, size: int) -> Call:
    """Return the call with shortened arguments that stay valid JSON, because servers check them."""
    if len(call.arguments) <= size:
        return call
    try:
        given = json.loads(call.arguments)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        return replace(call, arguments=json.dumps({"shortened": _cut(call.arguments, size)}))
    short = {key: _cut(value, size) if isinstance(value, str) else value for key, value in given.items()}
    return replace(call, arguments=json.dumps(short))


def _cut(text: str, size: int) -> str:
    if len(text) <= size + 80:
        return text
    return f"{text[:size]} [... shortened to save room: {len(text) - size} more characters were here]"


def _leave_out(guard: Guard, turns: list[Turn], room: int) -> int:
    """Leave out whole turns of the model with their results, oldest first, but not the last turn; return how
    many. A note for the model replaces the last one left out. A user's message stays."""
    out, noted = 0, -1
    names: dict[str, None] = {}
    while guard.tokens(turns) > room:
        at = next((n for n, turn in enumerate(turns) if isinstance(turn, Answered)), None)
        last = max((n for n, turn in enumerate(turns) if isinstance(turn, Answered)), default=None)
        if at is None or at == last:
            break
        turn = turns.pop(at)
        names.update((one.name, None) for one in turn.calls) if isinstance(turn, Answered) else None
        if at < len(turns) and isinstance(turns[at], ToolResults):
            turns.pop(at)
        if out:
            turns.pop(noted)
        out, noted = out + 1, at - bool(out)
        used = f", in which you called {', '.join(names)}" if names else ""
        turns.insert(noted, Asked(f"{_NOTE}{out} of your turns{used}. The files are as you left them.]"))
    return out


_NOTE = "[Left out here to save room: "


def too_small(fitted: Fitted, context: int, known: bool) -> str:
    """Return the reason why a run cannot begin or continue, and the fix."""
    from node_agent.wire.endpoint import widen_any  # needed only for a run that ends here

    hint = "" if known else " (its context size is unknown: set PANCODE_MODEL_CONTEXT=N)"
    more = widen_any(-(-fitted.tokens // 1_024) * 1_024)
    return (
        f"the prompt needs about {fitted.tokens} tokens including an answer, but the model can use only "
        f"{context}{hint}; start its server with more: {more}"
    )
