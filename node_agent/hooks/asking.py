"""Asks a user about one command, through files in the run's home, and waits for the node's signed answer.

Every program of the run may write there. An answer counts only with the node's signature, and only for the
command and the rule that the user has seen. On any error, the command is refused.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence

from node_agent.wire import policy
from node_agent.wire.clock import Clock, Ids
from node_agent.wire.control import CallAnswer
from node_agent.wire.identity import ApprovalChannel, calls_in
from node_agent.wire.signing import PublicKey

FIRST_S, LAST_S = 0.1, 1.0
"""Seconds between two checks: beginning with the first, doubled up to the second."""
MOST_ANSWERS = 500
"""The maximum number of files that are searched for an approval of the whole rule."""
TOO_LONG = (
    f"a user can approve commands of at most {policy.MOST_COMMAND} characters: make the command shorter"
)
NOBODY = "no user answered in time"


class Asker:
    """Asks users about the commands of one attempt. `wait`: sleeps for a number of seconds."""

    def __init__(
        self, channel: ApprovalChannel, clock: Clock, ids: Ids, wait: Callable[[float], None]
    ) -> None:
        self._desk, self._clock, self._ids, self._wait = channel, clock, ids, wait
        self._folder = os.path.join(channel.home, calls_in(str(channel.identity)))
        self._key = PublicKey.parse(channel.key)

    def is_allowed(self, rules: Sequence[policy.CommandRule]) -> bool:
        """Whether a user has approved, for the whole run, everything for which these rules need approval."""
        return all(self._is_rule_allowed(rule.pattern) for rule in rules)

    def refusal(self, command: str, rules: Sequence[policy.CommandRule]) -> str:
        """Return the reason why a user refuses the command; empty if each of these rules was approved."""
        if len(command) > policy.MOST_COMMAND or not command.strip():
            return TOO_LONG
        until = self._clock.mono_ms() + self._desk.wait_ms
        return next((no for rule in rules if (no := self._ask_rule(command, rule, until))), "")

    def _ask_rule(self, command: str, rule: policy.CommandRule, until: int) -> str:
        if self._is_rule_allowed(rule.pattern):
            return ""
        call = policy.CallAsked(call=self._ids.token(8), command=command, pattern=rule.pattern)
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._folder, 0o755)
        path = os.path.join(self._folder, call.call)
        with open(f"{path}.new", "xb") as file:
            file.write(call.model_dump_json().encode())
        os.rename(f"{path}.new", f"{path}{policy.ASKED}")
        answer = None
        try:
            answer = self._await_answer(call, until)
        finally:
            if answer is None:  # it is too late, or the turn was canceled: the answer is no longer needed
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(self._folder, f"{call.call}{policy.ASKED}"))
        if answer is None:
            return f"{NOBODY}: {policy.rule_words(rule)}"
        reason = f": {answer.words}" if answer.words else ""
        return "" if answer.allow else f"a user says no{reason}"

    def _await_answer(self, call: policy.CallAsked, until: int) -> CallAnswer | None:
        pause = FIRST_S
        while (left := until - self._clock.mono_ms()) > 0:
            answer = self._read(f"{call.call}{policy.ANSWERED}")
            if answer is not None and answer.asked == call:
                return answer
            self._wait(min(pause, left / 1000))
            pause = min(pause * 2, LAST_S)
        return None

    def _is_rule_allowed(self, pattern: str) -> bool:
        try:
            names = [name for name in os.listdir(self._folder) if name.endswith(policy.ANSWERED)]
        except OSError:
            return False
        answers = map(self._read, names[:MOST_ANSWERS])
        return any(
            answer is not None and answer.allow and answer.whole and answer.asked.pattern == pattern
            for answer in answers
        )

    def _read(self, name: str) -> CallAnswer | None:
        """Return the answer in this file if the node has signed it for this attempt; otherwise None."""
        try:
            handle = os.open(os.path.join(self._folder, name), os.O_RDONLY | os.O_NONBLOCK)
            with os.fdopen(handle, "rb") as file:
                data = file.read(policy.MOST_FILE)
        except OSError:
            return None
        return CallAnswer.signed_for(data, self._desk.identity, self._key)
