"""What waits for a person: which kind it is, in which words, and which answers fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from node_agent.wire.failure import Outcome
from pancode.core.records import Action, ActionKind, Run, RunState
from pancode.counted import counted
from pancode.errors import RefusedError, UsageError
from pancode.life.approval import plan_of, words_of
from pancode.life.asked_calls import open_calls, words_of_call
from pancode.life.continuing import is_blocked, must_be_free
from pancode.life.kinds import BEFORE_START
from pancode.life.kinds import ItemKind as ItemKind

MOST_WORDS = 2_000
_CUT = " ... (cut; all of it: pancode why {run})"
_ANSWERED = """\
You asked a person: {asked}
{by} is: {answer}

Go on with it."""


@dataclass(frozen=True, slots=True)
class InboxItem:
    """One thing that waits for a person. `command` answers it. `yes`: the flags that its approval needs."""

    id: str
    run: str
    since_ms: int
    kind: ItemKind
    words: str
    choices: tuple[str, ...]
    command: str
    yes: tuple[str, ...] = ()
    plan: Mapping[str, Any] | None = None
    """The plan of a run that has not begun."""
    call: int | None = None
    """The number of the waiting call; an answer names it."""


def item_of(run: Run, action: Action) -> InboxItem:
    """The item of the run as the run is now."""
    kind, question = kind_of(run), question_of(run)
    words = str(question.get("question") or run.reason)
    if kind is ItemKind.LANDING:
        words = _landing(run)
    if kind is ItemKind.CALL:
        return _call_of(run, action)
    asks = kind in (ItemKind.QUESTION, ItemKind.PERMISSION)
    command = f'pancode answer {run.id} "..."' if asks else approval_of(run)
    plan = plan_of(run) if kind in BEFORE_START else None
    words = words if plan is None else words_of(run)
    choices, at = tuple(map(str, question.get("choices") or ())), action.at_ms
    return InboxItem(action.id, run.id, at, kind, _cut(run, words), choices, command, yes_of(run), plan)


def _call_of(run: Run, action: Action) -> InboxItem:
    """The oldest call that waits. Its words are whole, because a yes is for exactly this command."""
    number, row = next(iter(open_calls(run).items()))
    command, words = f"pancode approve --call {number} {run.id}", words_of_call(row)
    return InboxItem(action.id, run.id, row["at_ms"], ItemKind.CALL, words, (), command, call=number)


def _cut(run: Run, words: str) -> str:
    if len(words) <= MOST_WORDS:
        return words
    mark = _CUT.format(run=run.id)
    return words[: MOST_WORDS - len(mark)] + mark


def yes_of(run: Run) -> tuple[str, ...]:
    """The flags that land the held change; empty when no file holds it."""
    flags = run.landing.get("yes")
    return tuple(map(str, flags)) if isinstance(flags, list | tuple) else ()


def approval_of(run: Run) -> str:
    """The command that approves the item, with each flag to which the person says yes."""
    return " ".join(("pancode approve", *yes_of(run), run.id))


def must_be_shown(run: Run, yes: Iterable[str]) -> None:
    """RefusedError where the person has not said yes to exactly what the change needs now."""
    given, needed = sorted(set(yes)), sorted(set(yes_of(run)))
    if given != needed:
        now, yours = " ".join(needed) or "no flag", " ".join(given) or "no flag"
        raise RefusedError(
            f"the change of {run.id} needs another yes than yours",
            why=f"it needs now: {now}; you said: {yours}",
            fix=f"look: pancode inbox, and pancode runs diff {run.id}; then: {approval_of(run)}",
            code="changed",
        )


def kind_of(run: Run) -> ItemKind:
    """The kind of item for a run that waits for a person."""
    if run.state is RunState.PENDING:
        return ItemKind(run.terms.get("asks") or ItemKind.DISPATCH)
    if run.state is not RunState.ENDED and open_calls(run):
        return ItemKind.CALL
    if run.outcome is not Outcome.BLOCKED:
        return ItemKind.LANDING
    return ItemKind.QUESTION if question_of(run) else ItemKind.PERMISSION


def question_of(run: Run) -> Mapping[str, Any]:
    """The question in the receipt; empty when it has none."""
    found = run.result.get("question")
    return found if isinstance(found, dict) else {}


def _landing(run: Run) -> str:
    if run.landing:
        return f"its change is not landed before you say so{_held(run)}: {run.landing.get('why')}"
    files = run.result.get("files_changed")
    count = len(files) if isinstance(files, list | tuple) else 0
    what = f"its change of {counted(count, 'file')}" if count else "the change that it goes on with"
    change = f"{what} is landed when you say so"
    change += f"; of its question: {answerer_of(run)}" if "program" in run.terms else ""
    return f"agent {run.agent} is {run.terms.get('autonomy')}: {change}"


def _held(run: Run) -> str:
    """The words for held files: the count and the flags come before the paths, which the agent chose and
    which may be long."""
    flags, held = yes_of(run), run.landing.get("held")
    if not flags:
        return ""
    files = f"{counted(held, 'file')} held, " if isinstance(held, int) and held else ""
    return f" ({files}needs {' and '.join(flags)})"


def must_wait(run: Run, action: Action | None, *kinds: ItemKind) -> Action:
    """The item of the run. UsageError when the run is none of these kinds, or nothing waits.

    RefusedError when somebody has answered: it names the run that goes on.
    """
    if action is None:
        if is_blocked(run):
            must_be_free(run)
        yes, fix = run.terms.get("approved"), f"look: pancode inbox, and pancode why {run.id}"
        why = f"{yes['by']} has approved it already" if yes else f"it is {run.outcome or run.state}"
        raise UsageError(f"{run.id} does not wait for a person", why=why, fix=fix, code="nothing_asked")
    kind = kind_of(run)
    if kind not in kinds:
        item = item_of(run, action)
        raise UsageError(
            f"{run.id} waits for a person in another way: {kind}", fix=item.command, code="other_kind"
        )
    return action


def answer_of(run: Run, reply: str) -> str:
    """The answer in full: a choice may be named by its number or in its own words. UsageError."""
    text, choices = reply.strip(), [str(one) for one in question_of(run).get("choices") or ()]
    if not text:
        raise UsageError("an answer has words", fix=f'pancode answer {run.id} "..."', code="no_answer")
    if text.isdecimal() and choices and text not in choices:
        if not 1 <= int(text[:6]) <= len(choices):
            options = "; ".join(f"{number}: {one}" for number, one in enumerate(choices, start=1))
            raise UsageError(
                f"there is no choice {text[:6]}",
                why=options,
                fix=f"pancode answer {run.id} 1",
                code="no_choice",
            )
        return choices[int(text) - 1]
    return next((one for one in choices if one.casefold() == text.casefold()), text)


def answered(run: Run, answer: str, program: str = "") -> str:
    """What the agent is told."""
    by = "The answer, which a program gave and no person," if program else "The answer"
    return _ANSWERED.format(asked=question_of(run).get("question") or run.reason, by=by, answer=answer)


def answerer_of(run: Run) -> str:
    """The party that has answered the question from which this run goes on; empty: nobody was asked."""
    program = run.terms.get("program")
    return f"a program answered: {program}" if program else run.created_by if "answers" in run.terms else ""


def open_item(actions: tuple[Action, ...]) -> Action | None:
    """The one of these that waits for a person."""
    return next((action for action in actions if action.kind is ActionKind.PERSON), None)
