"""Options of commands, made from declared values."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter
from typing import Annotated, Any, Literal, TypeVar

from pancode.interfaces.cli import completions
from pancode.interfaces.cli.parameters import (
    Label,
    many,
    option,
    parse_duration,
    parse_label,
    parse_money,
    size_of,
)
from pancode.kernel.declared import Value

F = TypeVar("F", bound=Callable[..., Any])
_PARSERS = {"Duration": parse_duration, "Size": size_of, "Money": parse_money}
_PAIRS = ("Labels", "LabelRules")
_LISTS = (*_PAIRS, "Commands", "Paths", "Gates", "Names", "Logins")


def take_values(
    values: Iterable[Value], *, after: str, beside: Mapping[str, Parameter] | None = None
) -> Callable[[F], F]:
    """Return a decorator that adds an option for each value after a command's own parameter `after`.

    The command declares `**_options: Any` for them, and finds what was given in `ctx.params`. `beside`:
    further options, by the name of the value after which each is listed.
    """

    def made(command: F) -> F:
        own = inspect.signature(command, eval_str=True)
        kept = [one for one in own.parameters.values() if one.kind is not Parameter.VAR_KEYWORD]
        at = list(own.parameters).index(after) + 1
        taken = list[Parameter]()
        for one in values:
            default = Parameter.empty if one.kind in _LISTS else one.default
            taken.append(
                Parameter(one.word, Parameter.KEYWORD_ONLY, default=default, annotation=_annotate(one))
            )
            taken += [beside[one.name]] if beside and one.name in beside else []
        taken = [one for one in taken if one.name not in own.parameters]
        vars(command)["__signature__"] = own.replace(parameters=[*kept[:at], *taken, *kept[at:]])
        return command

    return made


def _annotate(one: Value) -> Any:
    """Return the annotation with which Typer shows and parses the option."""
    names = one.flags or ((one.flag,) if one.kind == "bool" or one.kind in _LISTS else ())
    words = (*names, one.value) if one.value else names
    about = f"{one.help[:-1]}, as in {one.example}." if one.example else one.help
    if one.kind in _PAIRS:
        return Annotated[list[Label], many(about, *words, parser=parse_label)]
    if one.kind in _LISTS:
        return Annotated[list[str], many(about, *words)]
    more: dict[str, Any] = {"parser": _PARSERS.get(one.kind)}
    if one.kind == "Count" and one.bounds is not None:
        least, most = one.bounds  # The help omits a maximum that no real value reaches.
        more |= {"min": least, "max": most if most <= 1_000 else None}
    if one.complete:
        more["complete"] = getattr(completions, one.complete)
    hint: Any = bool if one.kind == "bool" else int if one.bounds is not None else str
    hint = Literal[one.words] if one.words and not one.value else hint
    return Annotated[hint | None if one.default is None else hint, option(about, *words, **more)]


def collect_values(values: Iterable[Value], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given as the body of an API request; `given` may lack some values."""
    body: dict[str, Any] = {}
    for one in values:
        found = given.get(one.word)
        if found not in (None, [], ()) and found != one.default:
            body[one.name] = dict(found) if one.kind in _PAIRS else found
    return body
