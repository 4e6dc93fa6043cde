"""Reads a running agent's output as it grows: its usage, its limits and its calls that wait for a user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from node_agent.attempt.gateways import ModelCount
from node_agent.attempt.ports import Activity, OutputReader, ReportedEnd, ReportedUsage, RunnerPort
from node_agent.policy.judging import find_ask_rules
from node_agent.runtimes.base import ExitInfo
from node_agent.wire.control import CallAnswer, UserAnswers
from node_agent.wire.event import UserAsked
from node_agent.wire.identity import AttemptId
from node_agent.wire.node import Signs
from node_agent.wire.policy import CallAsked, Policy, rule_words
from node_agent.wire.signing import PublicKey, SigningKey

BUSY = 10
"""Percent of one core, averaged between two looks, from which a program counts as working, not waiting."""


class SignsOfLife:
    """The signs of life of one attempt, on the monotonic clock, which stops while the computer sleeps."""

    def __init__(self) -> None:
        self._looked_ms: int | None = None
        self._last = Activity()
        self._bytes = self._until_ms = 0
        self._seen_ms: dict[str, int] = {}
        """The time at which each sign was last seen, by the sign's name."""

    def is_due(self, mono_ms: int, every_ms: int) -> bool:
        return self._looked_ms is None or mono_ms - self._looked_ms >= every_ms

    def look(self, seen: Activity, count: ModelCount | None, mono_ms: int, wall_ms: int) -> None:
        """Record the present activity. The first call can only determine the age of the newest output."""
        last, moved = self._last, 0
        if count is not None:
            moved = count.calls.sent_bytes + count.calls.received_bytes
            if count.waiting > 0 or moved > self._bytes:
                self._seen_ms["model_ms"] = mono_ms
            self._until_ms = mono_ms + count.calls.retry_ms if count.failing else 0
        if self._looked_ms is None:
            age = max(0, wall_ms - seen.wrote_ms) if seen.wrote_ms else 0
            self._seen_ms["output_ms"] = mono_ms - age
        else:
            busy = (seen.cpu_ms - last.cpu_ms) * 100 >= BUSY * max(1, mono_ms - self._looked_ms)
            news = {"cpu_ms": busy, "output_ms": seen.wrote_ms != last.wrote_ms}
            news["files_ms"] = seen.changed_ms > last.changed_ms
            self._seen_ms.update({sign: mono_ms for sign, is_new in news.items() if is_new})
        self._looked_ms, self._last, self._bytes = mono_ms, seen, moved

    def ages(self, identity: AttemptId, mono_ms: int) -> Iterator[Signs]:
        """Yield the age of each sign; nothing before the first `look`. Thread-safe."""
        seen = dict(self._seen_ms)
        if "output_ms" in seen:
            pause = max(0, self._until_ms - mono_ms)
            ages = {sign: max(0, mono_ms - at) for sign, at in seen.items()}
            yield Signs(identity=identity, pause_ms=pause, **ages)


MOST_CALLS = 200
"""The maximum number of questions of one attempt; further questions are denied at once."""
SECRET = (
    "the command contains a secret of this run, so it is not shown to a user: use a variable or a file "
    "instead"
)
TOO_MANY = f"this run has asked {MOST_CALLS} times, so further questions are denied"


@dataclass(frozen=True, slots=True)
class SortedCalls:
    """Open calls: `calls` to report to the coordinator, `deny` to deny here. `waits`: one needs a user."""

    calls: tuple[UserAsked, ...] = ()
    deny: tuple[CallAsked, ...] = ()
    waits: bool = False


def sort_calls(found: Sequence[CallAsked], known: frozenset[str], policy: Policy) -> SortedCalls:
    """Sort the open calls. Any program of the run may write a question, so it counts only if it names a rule
    that requires approval of its command. `known`: ids of the calls that the coordinator already has."""
    fit = [
        (one, rule)
        for one in found
        for rule in find_ask_rules(policy, one.command)
        if rule.pattern == one.pattern
    ]
    new = [(one, rule) for one, rule in fit if one.call not in known]
    room = max(0, MOST_CALLS - len(known))
    calls = tuple(UserAsked(asked=one, why=rule_words(rule)) for one, rule in new[:room])
    return SortedCalls(calls, tuple(one for one, _ in new[room:]), len(fit) > len(new[room:]))


def signed_answer(answers: UserAnswers, key: SigningKey) -> bytes:
    """Return the signed answer file that the program of the run accepts."""
    answer = CallAnswer(
        identity=answers.identity,
        asked=answers.asked,
        allow=answers.allow,
        whole=answers.whole,
        words=answers.words,
    )
    return answer.signed(key).model_dump_json().encode()


def is_call_allowed(
    found: Sequence[bytes], identity: AttemptId, key: PublicKey, command: str, pattern: str
) -> bool:
    """Whether the node's signed answers allow the whole rule, or allow the command and never deny it."""
    to_it = set[bool]()
    for data in found:
        answer = CallAnswer.signed_for(data, identity, key)
        if answer is None or answer.asked.pattern != pattern:
            continue
        if answer.allow and answer.whole:
            return True
        if answer.asked.command == command:
            to_it.add(answer.allow)
    return to_it == {True}


CHUNK = 1 << 20
COMPLAINTS = 1 << 16
TURN = 16
"""The maximum number of chunks read in one pass, so that much output cannot delay a stop."""


class OutputWatch:
    """Reads one attempt's output from the first byte; after a restart it is read from the start again."""

    def __init__(self, reader: OutputReader, path: Path, errors: Path) -> None:
        self._reader, self._path, self._errors = reader, path, errors
        self.offset = 0
        self.count: ModelCount | None = None
        """The model gateway's count, which has priority over the runtime's count."""
        self.asked_to_stop = False
        self.wrap_up_sent = False
        self.told_heard: tuple[int, ...] = ()
        self.policy: Policy | None = None
        """The policy with the rules that require a user's approval; None: there are none."""
        self.known_calls: tuple[str, ...] = ()
        self.waits: bool | None = None
        """Whether a call waits for a user, or an interactive run for a message; None: not checked yet."""
        self.waits_for_message = False
        """Whether the attempt was an interactive run between two turns when last checked."""
        self.signs = SignsOfLife()
        self.suspend_asked = False
        self.told_budget = 0
        """The newest request for a larger reservation that has been reported; after a restart it is again."""
        self.told_fleet: tuple[int, ...] = ()
        """The newest calls of fleet tools that have been reported."""
        self.seen_wall_ms = 0
        """When the attempt was last seen running by this session of the node agent."""
        self.told_ms: int | None = None
        self._last_reported: tuple[ReportedUsage, int] | None = None

    def pull(self, runner: RunnerPort, chunks: int = TURN) -> bool:
        """Read further output; return False if there may be more."""
        for _ in range(chunks):
            chunk = runner.tail(self._path, self.offset, CHUNK)
            self.offset += len(chunk)
            if not chunk:
                return True
            self._reader.feed(chunk)
        return False

    @property
    def spent(self) -> ReportedUsage:
        reported = self._reader.spent()
        return reported if self.count is None else replace(reported, usage=self.count.over(reported.usage))

    def is_news(self, now_ms: int, every_ms: int) -> bool:
        """Return whether there is new progress that should be reported now; if so, record it as reported.
        `every_ms`: the shortest time between two reports."""
        seen = (self.spent, self.offset)
        if self.told_ms is None:  # the start was reported just now
            self.told_ms = now_ms
        if seen in (self._last_reported, (ReportedUsage(), 0)) or now_ms - self.told_ms < every_ms:
            return False
        self._last_reported, self.told_ms = seen, now_ms
        return True

    def finish(self, runner: RunnerPort, end: ExitInfo) -> ReportedEnd:
        """Read the rest of the output; return the end that the output reports."""
        while not self.pull(runner):
            pass
        complaints = runner.tail(self._errors, -COMPLAINTS, COMPLAINTS)
        return self._reader.finish(replace(end, complaints=complaints))
