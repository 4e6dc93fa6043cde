"""Links a route of the API to the type of its answer."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import Any, Generic, TypeVar, get_args
from urllib.parse import quote

from pancode.kernel.declared import from_json
from pancode.kernel.errors import UsageError

A = TypeVar("A")


def check_name(text: str) -> str:
    """Return a name that a user typed. Raises UsageError for an empty name, which must not mean `any`."""
    if not text:
        raise UsageError("the name is empty", fix="give a name; a run: pancode runs")
    if not text.isascii() and text != text.encode("utf-8", "ignore").decode():
        raise UsageError("the name is not valid text", fix="give a name; a run: pancode runs")
    return text


class Route(str, Generic[A]):
    """An API route: `METHOD /v1/PATH`, with `{name}` for each part that a caller fills in. `A`: the answer's
    type. Handler and client use the same constant, so that the type checker compares their keys."""

    def at(self, *names: str) -> Route[A]:
        """Return the route with its parts filled in, in order. Each part is quoted, so that it stays one
        part. Raises UsageError for an empty part."""
        method, _, path = self.partition(" ")
        left = list(names)
        parts = [
            quote(check_name(left.pop(0)), safe="") if part[:1] == "{" else part for part in path.split("/")
        ]
        made = Route[A](f"{method} {'/'.join(parts)}")
        vars(made).update(vars(self))
        return made

    def read(self, answer: Any) -> Any:
        """Return the answer, given as JSON, as its type: a dataclass, or the JSON itself."""
        kind: Any = next(iter(get_args(vars(self).get("__orig_class__"))), None)
        is_declared = is_dataclass(kind)
        return from_json(kind, answer) if is_declared else answer


def path_in(route: str) -> str:
    """Return the path in a text `METHOD PATH`, or the text itself if it is only a path."""
    return route.partition(" ")[2] if isinstance(route, Route) else route
