"""Inbox items: why a run waits for a user, the text, the valid answers, and the waiting calls of agents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from node_agent.wire.event import UserAsked
from node_agent.wire.failure import Outcome
from node_agent.wire.policy import CallAsked
from pancode.kernel.errors import RefusedError, UsageError
from pancode.kernel.formatting import count_noun, format_outcome, format_title, format_usd
from pancode.kernel.records import Action, ActionKind, Run, RunState
from pancode.kernel.values import replace
from pancode.runs.facts import Approvals, LandingTerms, Messages, SessionTurn
from pancode.runs.life.conversation import is_blocked, is_cut_by_cap, must_be_free


class ItemKind(StrEnum):
    """What an inbox item asks about. `dispatch`, `budget`, `policy`: before a run begins; `call`: while it
    works; `change`: the configuration; the other kinds: after a run's end."""

    QUESTION = "question"
    PERMISSION = "permission"
    LANDING = "landing"
    CALL = "call"
    DISPATCH = "dispatch"
    BUDGET = "budget"
    POLICY = "policy"
    CHANGE = "change"


BEFORE_START = (ItemKind.DISPATCH, ItemKind.BUDGET, ItemKind.POLICY)
"""The kinds of items that a user answers before the run begins."""


FIRST = "waits for a user's approval: pancode inbox"
MOST_TASK = 1_000
DIGEST = 12
"""How many characters of a plan's digest identify it."""
_HIDDEN = "{shown} ... ({hidden} more characters; for the whole text: pancode runs show {run})"


def is_unapproved(run: Run) -> bool:
    """Whether a user has to approve the run before it may begin."""
    facet = Approvals.of(run)
    return bool(facet.asks) and facet.approved is None


def is_lifted_for_good(run: Run) -> bool:
    """Whether a user's approval also lifts the budget limit for later attempts of this run."""
    facet = Approvals.of(run)
    return facet.approved is not None and facet.approved.whole and facet.asks == ItemKind.BUDGET.value


def plan_of(run: Run) -> dict[str, Any]:
    """Return the plan that the inbox shows to the approving user."""
    usd = run.limits.get("usd")
    return {
        "task": _format_task(run),
        "asked_by": run.created_by,
        "parent": run.parent,
        "agent": run.agent,
        "runtime": run.runtime,
        "model": run.asked_model or run.model,
        "mode": run.mode.value,
        "safety": run.safety.value,
        "node": run.node,
        "project": run.project,
        "verify": [str(gate["name"]) for gate in run.gates],
        "lands": run.land,
        "limit_usd": None if usd is None else f"{Decimal(str(usd)):f}",
        "estimate_usd": f"{run.estimate_usd:f}",
        "estimate_tokens": run.estimate_tokens,
        "estimate_minutes": round(run.estimate_ms / 60_000, 2),
        "objections": list(Approvals.of(run).objections),
    }


def digest_of_plan(run: Run) -> str:
    """Return a short digest of the plan and the complete task, which changes with later messages."""
    whole = {**plan_of(run), "task": run.task, "argv": None if run.argv is None else list(run.argv)}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:DIGEST]


def must_be_seen(run: Run, action: Action | None, plan: str) -> None:
    """Raise RefusedError if the plan changed since the user saw it, or the run now waits for something else.
    `plan`: the digest that the user gave; empty: none. UsageError if nothing waits."""
    if not plan:
        return
    if kind_of(run) not in BEFORE_START:
        must_wait(run, action, *ItemKind)
        raise RefusedError(
            f"the plan of {run.id} is no longer waiting for approval",
            why=f"the run has started in the meantime and now waits for something else: {kind_of(run)}",
            fix="see: pancode inbox",
            code="changed",
        )
    if plan != digest_of_plan(run):
        raise RefusedError(
            f"the task of {run.id} changed in the meantime",
            why="the run got a message, or its settings were changed, after you saw the plan",
            fix=f"see: pancode inbox; then: {_start_of(run)}",
            code="changed",
        )


def _start_of(run: Run) -> str:
    """Return the command that approves the current plan."""
    return f"pancode approve --plan {digest_of_plan(run)} {run.id}"


def _format_task(run: Run) -> str:
    """Return the beginning of the task; if the task was cut, add the command that shows all of it."""
    task = run.task if run.argv is None else " ".join(run.argv)
    if len(task) <= MOST_TASK:
        return task
    return _HIDDEN.format(shown=task[:MOST_TASK], hidden=len(task) - MOST_TASK, run=run.id)


def words_of(run: Run) -> str:
    """Return the reason why the run waits for a user, as text for the inbox."""
    model = f" with {run.asked_model}" if run.asked_model else ""
    words = f"{run.created_by} requests to start {run.agent} on {run.runtime}{model}, estimate "
    words += format_usd(run.estimate_usd)
    against = "; ".join(Approvals.of(run).objections)
    return f"{words}; against it: {against}" if against else words


KEPT_CHARS = 200
"""How many characters of an answered command are stored, as a run may ask about many commands."""
YES, NO, OVER = "yes", "no", "over"
"""The possible answers to a call. OVER: the agent no longer waits for an answer."""


def calls_of(run: Run) -> tuple[Mapping[str, Any], ...]:
    """Return all calls about which a user was asked."""
    return Approvals.of(run).calls


def open_calls(run: Run) -> dict[int, Mapping[str, Any]]:
    """Return the waiting calls by number, oldest first."""
    return {number: row for number, row in enumerate(calls_of(run), start=1) if not row["answer"]}


def is_known(run: Run, call: str) -> bool:
    return any(row["call"] == call for row in calls_of(run))


def with_call(run: Run, body: UserAsked, now_ms: int) -> Run:
    """Return the run with the call about which its agent asks."""
    fresh = {
        **body.asked.model_dump(mode="json"),
        "why": body.why,
        "attempt": run.attempt,
        "at_ms": now_ms,
        "answer": "",
        "by": "",
    }
    return replace(Approvals.of(run), calls=(*calls_of(run), fresh)).on(run)


def with_answer(run: Run, number: int, answer: str, by: str) -> Run:
    """Return the run with this answer to the call."""
    rows = enumerate(calls_of(run), start=1)
    updated = tuple(_close_call(row, answer, by) if n == number else row for n, row in rows)
    return replace(Approvals.of(run), calls=updated).on(run)


def permit_rule(run: Run, pattern: str) -> Run:
    """Return the run with all calls of this rule permitted from now on."""
    facet = Approvals.of(run)
    return replace(facet, permits=tuple(sorted({*facet.permits, pattern}))).on(run)


def list_permitted(run: Run) -> tuple[str, ...]:
    """Return the patterns of the rules whose calls are permitted in this run without asking."""
    return Approvals.of(run).permits


def all_closed(run: Run) -> Run:
    """Return the run with all its open calls closed, as no call can wait any more."""
    updated = tuple(row if row["answer"] else _close_call(row, OVER, "") for row in calls_of(run))
    return replace(Approvals.of(run), calls=updated).on(run)


def chosen_call(run: Run, number: int | None) -> tuple[int, Mapping[str, Any]]:
    """Return the waiting call named by the answer. RefusedError if another call waits, UsageError if none."""
    waiting = open_calls(run)
    if not waiting:
        fix = f"see: pancode inbox, and pancode why {run.id}"
        raise UsageError(f"no request of {run.id} is waiting for approval", fix=fix, code="nothing_asked")
    now = next(iter(waiting))
    if number is None:
        shown = {**waiting[now], "command": repr(waiting[now]["command"])}
        raise RefusedError(
            f"{run.id} is waiting for approval of a request that your answer does not name",
            why=f"request {now} is pending: {words_of_call(shown)}",
            fix=f"pancode approve --call {now} {run.id}, or: pancode deny --call {now} {run.id}",
            code="changed",
        )
    if number != now:
        raise RefusedError(
            f"request {number} of {run.id} is no longer pending",
            why=f"it was answered, or its agent stopped waiting; request {now} is pending",
            fix="pancode inbox",
            code="changed",
        )
    return now, waiting[now]


def make_question(row: Mapping[str, Any]) -> CallAsked:
    """Return the question about the call, as the node sent it."""
    return CallAsked(call=row["call"], command=row["command"], pattern=row["pattern"])


def words_of_call(row: Mapping[str, Any]) -> str:
    """Return the complete command and the reason for the question, for the user who decides."""
    return f"{row['command']}   ({row['why']})"


def _close_call(row: Mapping[str, Any], answer: str, by: str) -> dict[str, Any]:
    return {**row, "command": str(row["command"])[:KEPT_CHARS], "answer": answer, "by": by}


MOST_WORDS = 2_000
_CUT = " ... (cut; for the whole text: pancode why {run})"
_ANSWERED = """\
You asked a user: {asked}
{by} is: {answer}

Continue with it."""


@dataclass(frozen=True, slots=True)
class InboxItem:
    """One item that waits for a user. `command` answers it; `flags`: the flags that its approval requires."""

    id: str
    run: str
    since_ms: int
    kind: ItemKind
    words: str
    choices: tuple[str, ...]
    command: str
    flags: tuple[str, ...] = ()
    plan: Mapping[str, Any] | None = None
    """The plan of a run that has not begun; None for other items."""
    call: int | None = None
    """The number of the waiting call; an answer names it."""
    whole: str = ""
    """The rule of the call; an approval for the rest of the run permits all its commands."""
    title: str = ""
    """The first line of its run's task; empty for a change of the settings."""


def item_of(run: Run, action: Action) -> InboxItem:
    """Return the item for the run's current state."""
    kind, question = kind_of(run), question_of(run)
    words = str(question.get("question") or run.reason)
    if kind is ItemKind.LANDING:
        words = _format_landing(run)
    if kind is ItemKind.CALL:
        return _call_of(run, action)
    capped = kind is ItemKind.PERMISSION and is_cut_by_cap(run)
    words = _format_cap(run) if capped else words
    is_question = kind in (ItemKind.QUESTION, ItemKind.PERMISSION) and not capped
    command = f'pancode answer {run.id} "..."' if is_question else approval_of(run)
    plan = {**plan_of(run), "digest": digest_of_plan(run)} if kind in BEFORE_START else None
    command = command if plan is None else _start_of(run)
    words = words if plan is None else words_of(run)
    choices, at = tuple(map(str, question.get("choices") or ())), action.at_ms
    title, words = format_title(run.task), _cut(run, words)
    return InboxItem(
        action.id, run.id, at, kind, words, choices, command, list_yes_flags(run), plan, title=title
    )


def _call_of(run: Run, action: Action) -> InboxItem:
    """Return the item of the oldest waiting call, with its complete text, which is what a user approves."""
    number, row = next(iter(open_calls(run).items()))
    command, words = f"pancode approve --call {number} {run.id}", words_of_call(row)
    at, whole, title = row["at_ms"], f"every command of {row['why']}", format_title(run.task)
    return InboxItem(action.id, run.id, at, ItemKind.CALL, words, (), command, (), None, number, whole, title)


def _cut(run: Run, words: str) -> str:
    if len(words) <= MOST_WORDS:
        return words
    mark = _CUT.format(run=run.id)
    return words[: MOST_WORDS - len(mark)] + mark


def list_yes_flags(run: Run) -> tuple[str, ...]:
    """Return the flags needed to approve landing the change; empty if none of its files is held back."""
    flags = run.landing.get("yes")
    return tuple(map(str, flags)) if isinstance(flags, list | tuple) else ()


def approval_of(run: Run) -> str:
    """Return the command that approves the item, with all flags that the approval requires."""
    return " ".join(("pancode approve", *list_yes_flags(run), run.id))


def must_be_shown(run: Run, flags: Iterable[str]) -> None:
    """Raise RefusedError unless the given flags are exactly those that the change needs now."""
    given, needed = sorted(set(flags)), sorted(set(list_yes_flags(run)))
    if given != needed:
        now, yours = " ".join(needed) or "no flag", " ".join(given) or "no flag"
        raise RefusedError(
            f"the change of {run.id} needs a different approval",
            why=f"the change now needs: {now}; you gave: {yours}",
            fix=f"see: pancode inbox, and pancode diff {run.id}; then: {approval_of(run)}",
            code="changed",
        )


def kind_of(run: Run) -> ItemKind:
    """Return the kind of item for a run that waits for a user."""
    if run.state is RunState.PENDING:
        return ItemKind(Approvals.of(run).asks or ItemKind.DISPATCH)
    if run.state is not RunState.ENDED and open_calls(run):
        return ItemKind.CALL
    if is_cut_by_cap(run) and run.landed is None:
        return ItemKind.PERMISSION
    if run.outcome is not Outcome.BLOCKED:
        return ItemKind.LANDING
    return ItemKind.QUESTION if question_of(run) else ItemKind.PERMISSION


def question_of(run: Run) -> Mapping[str, Any]:
    """Return the question in the run's receipt; empty if the run asked none."""
    found = run.result.get("question")
    return found if isinstance(found, dict) else {}


def _format_landing(run: Run) -> str:
    files = run.result.get("files_changed")
    count = len(files) if isinstance(files, list | tuple) else 0
    if "asked_by" in run.landing and not list_yes_flags(run):
        change = (
            f"{run.landing['asked_by']} requests to land the change of {count_noun(count, 'file')} by "
            f"{run.id}"
        )
        return f"{change} ({run.agent}): {_format_task(run)}"
    if run.landing:
        return f"its change is not landed before you say so{_format_held(run)}: {run.landing.get('why')}"
    what = (
        f"its change of {count_noun(count, 'file')}" if count else ("the change of the run that it continues")
    )
    change = f"{what} is landed if you approve it"
    change += f"; of its question: {answerer_of(run)}" if Messages.of(run).program else ""
    return f"agent {run.agent} is {LandingTerms.of(run).autonomy or None}: {change}"


def _format_cap(run: Run) -> str:
    """Return the question about an interactive run cut by its cost cap: its usage, and the USD to approve."""
    found = run.result.get("usage")
    usage = found if isinstance(found, dict) else {}
    used, cap = (Decimal(str(usd or 0)) for usd in (usage.get("cost_usd"), run.limits.get("usd")))
    more = Decimal(SessionTurn.of(run).more_usd)
    return (
        f"the interactive run has used {format_usd(used)} of {format_usd(cap)}, and its turn was cut; "
        f"may it continue with {format_usd(more)} more? It works on: {run.task}"
    )


def _format_held(run: Run) -> str:
    """Return a text on held files: first the count and flags, then the paths, which the agent chose."""
    flags, held = list_yes_flags(run), run.landing.get("held")
    if not flags:
        return ""
    files = f"{count_noun(held, 'file')} held, " if isinstance(held, int) and held else ""
    return f" ({files}needs {' and '.join(flags)})"


def must_wait(run: Run, action: Action | None, *kinds: ItemKind) -> Action:
    """Return the inbox item of the run. UsageError if it has another kind than these, or nothing waits.
    RefusedError if it was already answered; the error names the run that continues."""
    if action is None:
        if is_blocked(run) or is_cut_by_cap(run):
            must_be_free(run)
        flags, fix = Approvals.of(run).approved, f"see: pancode inbox, and pancode why {run.id}"
        why = (
            f"{flags.by} already approved the item"
            if flags
            else f"it ended: {format_outcome(run.outcome)}"
            if run.outcome
            else f"it is {run.state}"
        )
        raise UsageError(f"{run.id} is not waiting for a user", why=why, fix=fix, code="nothing_asked")
    kind = kind_of(run)
    if kind not in kinds:
        item = item_of(run, action)
        raise UsageError(
            f"{run.id} is waiting for something else: {kind}", fix=item.command, code="other_kind"
        )
    return action


def answer_of(run: Run, reply: str) -> str:
    """Return the full answer for a reply, which may be a choice's number or text. UsageError if it is empty
    or has no such number."""
    text, choices = reply.strip(), [str(one) for one in question_of(run).get("choices") or ()]
    if not text:
        raise UsageError("the answer is empty", fix=f'pancode answer {run.id} "..."', code="no_answer")
    if text.isdecimal() and choices and text not in choices:
        if not 1 <= int(text[:6]) <= len(choices):
            options = "; ".join(f"{number}: {one}" for number, one in enumerate(choices, start=1))
            raise UsageError(
                f"choice {text[:6]} not found",
                why=options,
                fix=f"pancode answer {run.id} 1",
                code="no_choice",
            )
        return choices[int(text) - 1]
    return next((one for one in choices if one.casefold() == text.casefold()), text)


def format_answer(run: Run, answer: str, program: str = "") -> str:
    """Return the message that gives the agent the answer to its question."""
    by = "The answer, which a program gave and no user," if program else "The answer"
    return _ANSWERED.format(asked=question_of(run).get("question") or run.reason, by=by, answer=answer)


def answerer_of(run: Run) -> str:
    """Return who answered the question from which this run continues; empty: there was no question."""
    messages = Messages.of(run)
    return (
        f"a program answered: {messages.program}"
        if messages.program
        else run.created_by
        if messages.answers
        else ""
    )


def open_item(actions: tuple[Action, ...]) -> Action | None:
    """Return the action, of these, that waits for a user's answer; None: none."""
    return next((action for action in actions if action.kind is ActionKind.USER), None)
