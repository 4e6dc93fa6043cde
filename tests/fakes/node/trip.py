"""Something happens at one chosen moment before or after a call of a port."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Crash(BaseException):
    """The node agent dies here. Not an Exception: nothing of ours may catch it and continue."""


def die() -> None:
    """What a Tripwire does when nothing else was asked for."""
    raise Crash


class Tripwire:
    """Counts the moments before and after each call of a port; at one of them (1 = first) it acts."""

    def __init__(self, at: int | None = None, action: Callable[[], None] = die) -> None:
        self.at, self.action, self.count = at, action, 0
        self.passed: list[str] = []

    def pass_by(self, what: str) -> None:
        self.count += 1
        self.passed.append(what)
        if self.count == self.at:
            self.action()


_FROM_MEMORY = frozenset(
    {"get", "entries", "live", "node", "top_lease", "folder", "last_receipt", "troubles", "lost"}
)


class Tripping:
    """A port behind a tripwire. Calls that only read memory are let through."""

    def __init__(self, port: Any, wire: Tripwire, name: str) -> None:
        self._port, self._wire, self._name = port, wire, name

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if not callable(found) or name in _FROM_MEMORY:
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self._wire.pass_by(f"before {self._name}.{name}")
            answer = found(*args, **kwargs)
            self._wire.pass_by(f"after {self._name}.{name}")
            return answer

        return call
