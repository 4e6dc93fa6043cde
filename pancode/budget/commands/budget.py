"""`pancode budget`: the books, the ceilings, and attempts of unknown cost."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated, Any

from pancode.budget.answers import BUDGET, SET_CEILING, SETTLE, UNSET_CEILING, BudgetShape, ScopeShape
from pancode.interfaces.cli.parameters import Argument, Json, Run, option, parse_money, verb
from pancode.interfaces.cli.terminal import RowColumns, escape_lines, format_rows, format_unsettled
from pancode.interfaces.client.caller import work_folder
from pancode.kernel.errors import UsageError
from pancode.kernel.formatting import count_noun, format_count, format_usd

NONE = "none"


def amount_or_none(value: str) -> str:
    """Parse USD as a decimal string, or `none`."""
    return NONE if value.strip() == NONE else parse_money(value)


_SCOPE = (
    "day (default), week, month, node:NAME, agent:NAME, repo:PATH (repo: this repository), session (each "
    "session) or session:ID."
)


@verb("budget show", "")
def show(
    *,
    everything: Annotated[bool, option("Also show past days, workflows and sessions.", "--all")] = False,
    face: Json,
) -> None:
    """Show today, week and month if they have a ceiling, and each node, agent and repository.

    A run starts only if money spent, money reserved and the run's estimate fit under every ceiling.
    """
    face.show_result(face.get(BUDGET, all=everything), _format_books)


def _format_tokens(one: ScopeShape) -> str:
    return _format_share(one["tokens"], one["held_tokens"], one["ceiling_tokens"], format_count)


def _format_minutes(one: ScopeShape) -> str:
    return _format_share(one["agent_minutes"], one["held_minutes"], one["ceiling_minutes"], str)


_BOOKS: RowColumns[ScopeShape] = {
    **{"SCOPE": "scope", "CEILING": "ceiling_usd", "SPENT": "spent_usd", "RESERVED": "held_usd"},
    **{"LEFT": "remaining_usd", "UNSETTLED": format_unsettled},
    **{"TOKENS": _format_tokens, "MINUTES": _format_minutes},
    **{"STATE": lambda one: "over" if one["over"] else "within", "CEILING FROM": "origin"},
}


def _format_books(answer: BudgetShape) -> str:
    # Money that a user still has to settle is shown first of what may not fit.
    spare = ["CEILING FROM", "UNSETTLED", "MINUTES", "TOKENS"]
    if any(format_unsettled(one) != "-" for one in answer["scopes"]):
        spare.append(spare.pop(1))
    text = format_rows(answer["scopes"], _BOOKS, spare=spare) + count_noun(answer["runs"], "run")
    text += f" today; the next run would reserve {format_usd(answer['estimate_next_usd'])}\n"
    return text + escape_lines(f"note: {note}" for note in answer["notes"])


def absolute_scope(scope: str) -> str:
    """Return the scope with an absolute path, since the coordinator has another working directory."""
    kind, _, path = scope.partition(":")
    if kind != "repo":
        return scope
    whole = os.path.expanduser(path)
    base = "" if os.path.isabs(whole) else work_folder(files=False)
    return f"repo:{os.path.abspath(os.path.join(base, whole))}"


def _format_share(used: float, reserved: float, ceiling: float | None, shown: Callable[[Any], str]) -> str:
    """Return "USED of CEILING", where USED includes reservations; without a ceiling only the amount used."""
    return shown(used) if ceiling is None else f"{shown(used + reserved)} of {shown(ceiling)}"


@verb("budget set", "20", "5 --scope node:gpubox", "--tokens 5000000 --minutes 600", "none --scope week")
def set_(
    *,
    amount: Annotated[str | None, Argument(metavar="[USD|none]", parser=amount_or_none)] = None,
    tokens: Annotated[int | None, option("Tokens, summed over all models.", "N", min=0)] = None,
    minutes: Annotated[float | None, option("Minutes of agents' work.", "M", min=0)] = None,
    scope: Annotated[str, option(_SCOPE)] = "day",
    face: Json,
) -> None:
    """Change a ceiling; it overrides all files until `none`. Money already spent is not affected.

    USD, tokens and minutes have separate ceilings; those not given stay unchanged. `none` removes all
    ceilings that were set with this command: the configured ceiling applies again, if there is one.
    """
    change = {"scope": absolute_scope(scope)}
    if amount == NONE:
        if tokens is not None or minutes is not None:
            raise UsageError(
                "none cannot be combined with --tokens and --minutes", fix="pancode budget set none"
            )
        return face.show_result(face.post(UNSET_CEILING, change), _format_books)
    ceilings = {"usd": amount, "tokens": tokens, "minutes": None if minutes is None else str(minutes)}
    body = {name: value for name, value in ceilings.items() if value is not None}
    return face.show_result(face.post(SET_CEILING, {**change, **body}), _format_books)


@verb("budget settle", "r-7f3k --usd 0.42")
def settle(
    run: Run,
    amount: Annotated[str, option("The actual cost.", "--usd", "USD", parser=parse_money)],
    face: Json,
) -> None:
    """Set the cost of a run whose cost is unknown or disputed.

    The reservation for an unknown cost is released. A cost is disputed if a node claims more than the limit
    of its job: set the amount that the node claims, to accept it, or the amount that counts now, to reject it
    (`pancode runs show RUN`).
    """
    answer = face.post(SETTLE, {"run": run, "usd": amount})
    face.show(answer, lambda: f"{answer['run']}  settled at {format_usd(answer['usd'])}\n")
