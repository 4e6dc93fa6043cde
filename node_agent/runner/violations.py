"""Checks the tool calls of one attempt, as its program reports them, against the policy of the run. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from node_agent.policy.commands.programs import Use
from node_agent.policy.judging import (
    Judgement,
    Offence,
    Where,
    deny_unasked,
    judge_action,
    judge_command,
    judge_path,
)
from node_agent.runtimes.base import ToolCall
from node_agent.wire.policy import ActionClass, Policy

SHOWN = 20
_FLEET_NAMES = ("", "fleet_", "mcp__fleet__")
"""Prefixes that programs put before a fleet tool's name: PanCode, OpenCode and Claude Code (observed)."""
_USES = {
    ActionClass.FILE_READ: Use.READ,
    ActionClass.FILE_WRITE: Use.WRITE,
    ActionClass.FILE_DELETE: Use.DELETE,
}


class Violations:
    """Texts about calls that were denied, or allowed though forbidden, and the first call that ends the run.

    Of calls that only the level forbids, the first of each kind is reported and the others are counted.
    `asks`: the program asks users before such a call, so one that went through is reported and ends nothing.
    `allowed`: as in the bounds of an attempt; a call that a user has approved is not a violation.
    `fleet`: the fleet tools of the job; the coordinator checks their calls.
    """

    def __init__(
        self,
        policy: Policy,
        where: Where,
        is_checked: bool = False,
        allowed: Callable[[str, str], bool] = deny_unasked,
        fleet: frozenset[str] = frozenset(),
    ) -> None:
        self._policy, self._where, self._asks, self._allowed = policy, where, is_checked, allowed
        self._fleet = frozenset(f"{before}{name}" for name in fleet for before in _FLEET_NAMES)
        self._words: dict[str, None] = {}
        self._by_level: Counter[ActionClass] = Counter()
        self._more = 0
        self.violation: str | None = None

    def take(self, call: ToolCall, ran: bool) -> None:
        """Check a call that was executed. `ran` False: execution is not confirmed; the call was requested and
        not denied."""
        for judgement in () if call.tool in self._fleet else judge_call(self._policy, self._where, call):
            for offence in judgement.offences:
                if offence.rule is not None and self._allowed(call.command, offence.rule.pattern):
                    continue
                self._note(judgement, offence, "let through" if ran else "asked for")
                if offence.ends and ran and not (self._asks and offence.rule):
                    self.violation = self.violation or offence.words

    def deny(self, words: str) -> None:
        """Record a call that its program denied: the denial is reported, and ends nothing."""
        if len(self._words) < SHOWN:
            self._words[words] = None

    def words(self) -> tuple[str, ...]:
        """Return the texts so far, without duplicates and without the number of omitted calls."""
        return tuple(self._words)

    def all_words(self) -> tuple[str, ...]:
        """Return the texts at the end of the attempt, with the number of omitted calls."""
        more = [f"and {n - 1} more calls that are {a}" for a, n in self._by_level.items() if n > 1]
        more += [f"and {self._more} more calls that rules forbid"] if self._more else []
        return (*self._words, *more)

    def _note(self, judgement: Judgement, offence: Offence, verb: str) -> None:
        if offence.of_level:
            if judgement.only_looks:
                return  # programs may read files with commands
            self._by_level[judgement.action] += 1
            if self._by_level[judgement.action] > 1:
                return
        words = f"{verb}: {offence.words}"
        if words in self._words:
            return
        if len(self._words) >= SHOWN:
            self._more += 1
            return
        self._words[words] = None


def judge_call(policy: Policy, where: Where, call: ToolCall) -> Iterator[Judgement]:
    """Check a call against the policy: its command, each path that it uses, or otherwise its class."""
    use = _USES.get(call.action)
    if call.command:
        yield judge_command(policy, call.command, where)
    elif use is not None and call.paths:
        yield from (judge_path(policy, path, use, where) for path in call.paths)
    else:
        yield judge_action(policy, call.action, f"{call.tool} {call.detail}".strip())
