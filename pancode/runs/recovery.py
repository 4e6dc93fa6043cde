"""Recovers runs that ended badly: repeats the work if the node failed, else continues it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from node_agent.wire.failure import Outcome
from pancode.agents.runtimes import RUNTIMES
from pancode.kernel.errors import NotFoundError, PancodeError, RefusedError, UsageError, with_fix
from pancode.kernel.formatting import first_few
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Decision, Run, RunState
from pancode.kernel.values import replace
from pancode.runs.answers import RecoveredShape
from pancode.runs.core import Core
from pancode.runs.dispatch import dispatch_run
from pancode.runs.facts import Lineage
from pancode.runs.life.conversation import list_next_runs
from pancode.runs.life.ends import GIVEN_UP
from pancode.runs.life.health import HealthRules
from pancode.runs.life.jobs import identity_of
from pancode.runs.retry import dispatch_again, make_request
from pancode.runs.run_continuation import make_next_request
from pancode.runs.user_environment import Surroundings
from pancode.runs.views import find_run, must_have_no_next, newest_lease, was_stopped

MOST_BYTES = 1 << 18
"""How many bytes are read from the end of a log."""
_MOST_ACTS, _MOST_FILES, _MOST_CHARS, _DEEPEST = 8, 50, 160, 12
_PATHS = ("file_path", "filePath", "path", "absolute_path")
_WRITES = frozenset(
    {"content", "contents", "old_string", "oldString", "old_str", "new_str", "new_string", "diff", "edits"}
)
_WRITING = frozenset({"write", "edit", "add", "update", "delete"})
"""Names in the output of agent programs: the keys of the path that a call writes, and the keys, tools and
kinds of change that mark a write."""


def last_acts(log: bytes) -> tuple[list[str], list[str]]:
    """Return the last commands and the last written files, newest last, without duplicates, shortened. `log`:
    the end of a program's output; lines that are not JSON are skipped. The returned text is untrusted."""
    acts, files = dict[str, None](), dict[str, None]()
    for line in log.splitlines():
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        for command, path in _yield_calls(found, 0):
            known, word = (acts, command) if command else (files, path)
            known.pop(word, None)
            known[word] = None
    return list(acts)[-_MOST_ACTS:], list(files)[-_MOST_FILES:]


def _yield_calls(value: Any, depth: int) -> Iterator[tuple[str, str]]:
    """Yield each command and each written path in the value, at any depth up to the limit."""
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for one in value:
            yield from _yield_calls(one, depth + 1)
    if not isinstance(value, dict):
        return
    command = value.get("command")
    words = " ".join(map(str, command)) if isinstance(command, list) else command
    path = next((value[key] for key in _PATHS if isinstance(value.get(key), str)), "")
    if path and (not _WRITES.isdisjoint(value) or {value.get("tool"), value.get("kind")} & _WRITING):
        yield "", _shorten_text(path)
    elif isinstance(words, str) and words.strip() and not path:
        yield _shorten_text(words), ""
    for one in value.values():
        yield from _yield_calls(one, depth + 1)


def _shorten_text(text: str) -> str:
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= _MOST_CHARS else f"{line[: _MOST_CHARS - 3]}..."


LOOKED_AT, DAY_MS = 500, 86_400_000
AGAIN = (Outcome.LOST, Outcome.INFRA)
"""Outcomes that say nothing about the work: it is repeated."""
ON = (Outcome.ERROR, Outcome.TIMEOUT, Outcome.STALLED, Outcome.VERIFY_FAILED)
"""Outcomes that leave files: a new run continues from them."""
GO_ON = "The run before you ended before the work was done. Look at what it has left, then finish its task."
_TOLD, _LINES, _FILES, _FOUND = ("node", "retry", "health", "user", "person"), 8, 50, 5


@dataclass(frozen=True, slots=True)
class Recovery:
    """A run to recover, and how: its work is repeated or continued."""

    run: Run

    @property
    def again(self) -> bool:
        return self.run.outcome in AGAIN

    @property
    def words(self) -> str:
        return "the run's work is repeated" if self.again else "a new run continues from the run's files"

    def told(self, next_run: str | None = None, error: str | None = None) -> RecoveredShape:
        """Return the recovery in the API's shape."""
        return {
            "run": self.run.id,
            "outcome": str(self.run.outcome),
            "how": self.words,
            "next": next_run,
            "error": error,
        }


def plan_recovery(core: Core, text: str | None) -> list[Recovery]:
    """Return the recovery of the run that the text names, or of an agent's newest run that ended badly; for
    None, of all such runs of the last day, oldest first.

    NotFoundError, UsageError and RefusedError for a run that cannot be recovered.
    """
    with core.ports.ledger.transaction() as tx:
        if text is None:
            return [Recovery(run) for run in _ended_badly(core, tx)]
        mine = [run for run in _ended_badly(core, tx) if run.agent == text]
        run = mine[-1] if mine else find_run(tx, text)
        if not mine and run.agent == text:
            raise NotFoundError(
                f"no run of agent {text} failed in the last day",
                why=f"{run.id} is running",
                fix=f"pancode runs --agent {text}",
                code="run_not_found",
            )
        _must_be_recoverable(tx, run, core.rules.health)
    return [Recovery(run)]


def _ended_badly(core: Core, tx: Transaction) -> list[Run]:
    """Return the runs of the last day that ended badly and were not continued; without steps of workflows,
    child runs and interactive runs."""
    newest = tx.find(Run, order="created_ms", descending=True, limit=LOOKED_AT)
    tried = {run.retry_of for run in newest}
    since = core.wall_ms() - DAY_MS
    found = [
        run
        for run in newest
        if run.outcome in (*AGAIN, *ON)
        and run.created_ms >= since
        and run.id not in tried
        and not (list_next_runs(run) or run.workflow or run.parent or run.judges or run.takes_turns)
        and not (GIVEN_UP in run.result or was_stopped(tx, run))
    ]
    return found[::-1]


def _count_recoveries(tx: Transaction, run: Run, rules: HealthRules) -> int:
    """Return how many times in a row the work was recovered without a run of sufficient length in between."""
    count, at = 0, run
    while (lineage := Lineage.of(at)).recovers and count < rules.failures:
        if (at.finished_ms or 0) - (at.started_ms or at.finished_ms or 0) >= rules.stable_ms:
            break
        count += 1
        before = tx.get(Run, lineage.continues or at.retry_of or "")
        if before is None:
            break
        at = before
    return count


def _must_be_recoverable(tx: Transaction, run: Run, rules: HealthRules) -> None:
    if run.state is not RunState.ENDED:
        fix = f"pancode runs follow {run.id}"
        raise UsageError(f"{run.id} has not ended: it is {run.state}", fix=fix, code="not_ended")
    must_have_no_next(tx, run)
    stopped = was_stopped(tx, run)
    if run.outcome in (*AGAIN, *ON) and not stopped:
        if (times := _count_recoveries(tx, run, rules)) >= rules.failures:
            what = f"{run.id} is not recovered again: its work was already recovered {times} times in a row"
            fix = f'find the cause: pancode why {run.id}; then: pancode runs continue {run.id} "..."'
            raise RefusedError(what, why=run.reason, fix=fix, code="recovered_often")
        return
    ways = {
        Outcome.DONE: ("the run ended successfully", f'pancode runs continue {run.id} "..."'),
        Outcome.BLOCKED: ("it waits for a user", f'pancode answer {run.id} "..."'),
        Outcome.BUDGET_EXCEEDED: ("the run's budget is used up", f"pancode runs continue {run.id}"),
        Outcome.INTERRUPTED: (run.reason or "it was stopped", f"pancode runs continue {run.id}"),
    }
    usual = (run.reason, f"find the cause: pancode why {run.id}; then: pancode runs continue {run.id}")
    why, fix = ways.get(run.outcome, usual) if run.outcome is not None else usual
    if stopped and run.outcome in (*AGAIN, *ON):
        # A lost run has no result to continue from.
        again = "retry" if run.outcome is Outcome.LOST else "continue"
        why, fix = run.stop_asked or "it was stopped", f"pancode runs {again} {run.id}"
    what = f"{run.id} cannot be recovered: its outcome is {run.outcome}"
    raise RefusedError(what, why=why, fix=fix, code="not_recoverable")


def _describe_crash(core: Core, old: Run) -> dict[str, str]:
    """Return a description of the failed run for the next one, as untrusted text from its node and agent.
    Empty if the next run's program cannot read it."""
    if RUNTIMES[old.runtime].own or old.takes_turns:
        return {}
    with core.ports.ledger.transaction() as tx:
        decisions, lease = tx.find(Decision, {"run": old.id}, order="number"), newest_lease(tx, old)
    events = [one for one in decisions if one.kind in _TOLD][-_LINES:]
    parts = [f"{old.id} has begun this work, and ended: {old.outcome}: {old.reason}"]
    parts += [f"- {one.what}: {one.verdict}{': ' if one.detail else ''}{one.detail}" for one in events]
    for name, most in (("files_changed", _FILES), ("findings", _FOUND)):
        found = old.result.get(name)
        rows = [str(one) for one in found] if isinstance(found, list | tuple) else []
        if rows:
            parts.append(f"Its {name.replace('_', ' ')}: {first_few(rows, most)}")
    if lease is not None:  # If the node is lost, only the log remains.
        log = core.ports.depot.blob_part(identity_of(lease), "out", -MOST_BYTES, MOST_BYTES)
        acts, files = last_acts(log)
        seen = [f"It ran last: {'; '.join(acts)}"] if acts else []
        if files and not old.result.get("files_changed"):
            names = [one.rpartition(f"/{identity_of(lease)}/tree/")[2] for one in files]
            seen.append(f"It wrote, and that may be lost: {first_few(names, _FILES)}")
        parts += ["What has arrived of its log:", *seen] if seen else []
    return {"run": old.id, "text": "\n".join(parts)}


def recover_run(core: Core, around: Surroundings, one: Recovery, by: str) -> RecoveredShape:
    """Dispatch the new run, or return why it was refused; a refusal does not prevent other recoveries."""
    try:
        with core.ports.ledger.transaction() as tx:
            # The run may have been continued or have succeeded since.
            now = Recovery(find_run(tx, one.run.id))
            _must_be_recoverable(tx, now.run, core.rules.health)
        if now.again:
            return one.told(
                dispatch_again(
                    core, around, now.run, by, recovers=True, before=_describe_crash(core, now.run)
                ).run.id
            )
        words = "" if RUNTIMES[now.run.runtime].own else GO_ON
        request = make_next_request(core, now.run, make_request(core, now.run, by), words)
        request = replace(request, recovers=True, before=_describe_crash(core, now.run))
        return one.told(dispatch_run(core, around, request).run.id)
    except PancodeError as error:
        return one.told(error=with_fix(str(error), error.fix))
