"""The exception tree: every error says what happened, the evidence, and the command that fixes it.

PancodeError                 1  internal error
├── UsageError               2  the arguments are not valid
├── ConfigError              3  a configuration file or variable is not valid
├── NotFoundError            4  no such run, node, agent, runtime ...
├── RefusedError             5  an admission gate refused
├── UnavailableError         6  coordinator, Redis or node cannot be used now
├── WorkspaceError           7  snapshot, diff or landing cannot be done
└── ConflictError            1  two operations collided; the later one failed and may retry
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Self


class ExitCode(IntEnum):
    """The exit statuses of commands; `pancode help exit-codes` prints their meaning."""

    DONE = 0
    INTERNAL = 1
    USAGE = 2
    CONFIG = 3
    NOT_FOUND = 4
    REFUSED = 5
    UNAVAILABLE = 6
    WORKSPACE = 7
    SIGNATURE = 8
    ERROR = 10
    VERIFY_FAILED = 11
    BLOCKED = 12
    TIMEOUT = 13
    STALLED = 14
    BUDGET_EXCEEDED = 15
    LOST = 16
    INFRA = 17
    POLICY_VIOLATION = 18
    INTERRUPTED = 19
    PARTIAL = 20
    DETACHED = 130


RULES = frozenset(
    {
        *("gate_failed", "held", "not_done", "not_settled", "other_kind", "other_repository"),
        *("host_key_changed", "host_key_unknown", "fingerprint_not_accepted"),
    }
)
"""Codes of errors that count as refusals by a gate, policy or safety rule, although not RefusedError."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as data, as the API sends it and `--json` prints it."""

    code: str
    message: str
    why: str
    fix: str
    exit_code: int
    retryable: bool
    details: Mapping[str, str] = field(default_factory=dict)
    """The things that the error is about, such as a node's name, by field, for programs."""


_ERRNO = re.compile(r"\[Errno -?[0-9]+\] ")


def describe_cause(exc: BaseException) -> str:
    """Return the reason of an exception for a user, without Python's name for it."""
    if isinstance(exc, json.JSONDecodeError):
        return f"line {exc.lineno} is not valid JSON"
    if isinstance(exc, AttributeError | TypeError):
        return "a part of it has another type"
    return f"{exc} is missing" if isinstance(exc, KeyError) else str(exc) or type(exc).__name__


class PancodeError(Exception):
    """A failure of PanCode itself, and the base class of all its errors."""

    code = "internal"
    exit_code = ExitCode.INTERNAL
    retryable = False

    def __init__(
        self,
        message: str = "",
        *,
        why: str = "",
        fix: str = "",
        code: str = "",
        details: Mapping[str, str] | None = None,
    ) -> None:
        """`message` says what happened, `why` the evidence, and `fix` the command that repairs it."""
        super().__init__(_ERRNO.sub("", message) or type(self).__doc__ or "")
        self.why = _ERRNO.sub("", why)
        self.fix = fix
        self.details = dict(details or {})
        if code:
            self.code = code

    def because(self, *more: str) -> Self:
        """Add reasons to this error and return the error."""
        self.why = "; ".join(filter(None, (self.why, *more)))
        return self

    @property
    def words(self) -> str:
        """Return the message and the reason on one line, for a status, a log or a timeline."""
        return "; ".join(filter(None, (str(self), self.why)))

    @property
    def is_rule(self) -> bool:
        """Whether a rule refused the request. The fix is a user's decision, so programs do not get it."""
        return self.exit_code is ExitCode.REFUSED or self.code in RULES

    def problem(self) -> Problem:
        code, retryable = int(self.exit_code), self.retryable
        return Problem(self.code, str(self), self.why, self.fix, code, retryable, self.details)


class UsageError(PancodeError):
    """Invalid arguments."""

    code = "usage"
    exit_code = ExitCode.USAGE


class ConfigError(PancodeError):
    """An invalid configuration file or variable."""

    code = "config"
    exit_code = ExitCode.CONFIG


class NotFoundError(PancodeError):
    """A name of something that does not exist."""

    code = "not_found"
    exit_code = ExitCode.NOT_FOUND


class RefusedError(PancodeError):
    """A refusal by an admission gate."""

    code = "refused"
    exit_code = ExitCode.REFUSED


class UnavailableError(PancodeError):
    """A coordinator, Redis or node that cannot be used now."""

    code = "unavailable"
    exit_code = ExitCode.UNAVAILABLE
    retryable = True


class WorkspaceError(PancodeError):
    """A snapshot, diff or landing that cannot be done."""

    code = "workspace"
    exit_code = ExitCode.WORKSPACE


class ConflictError(PancodeError):
    """A collision of two operations, of which the later one failed."""

    code = "conflict"
    exit_code = ExitCode.USAGE
    retryable = True


_FIX = " (fix: "


def with_fix(words: str, fix: str) -> str:
    """Return a warning or a reason with its fix, as one text for a user."""
    return f"{words}{_FIX}{fix})" if fix else words


def without_fix(text: str) -> str:
    """Return a text made by `with_fix`, without its fix."""
    return text.partition(_FIX)[0]


class ApiError(PancodeError):
    """A refusal by the coordinator, with its code, reason, fix and exit status."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(
            str(problem.get("message") or problem.get("title") or "the coordinator answered with an error"),
            why=str(problem.get("why") or ""),
            fix=str(problem.get("fix") or ""),
            code=str(problem.get("code") or "internal"),
            details=_parse_details(problem.get("details")),
        )
        self.exit_code = _exit_code(problem.get("exit_code"))
        self.retryable = bool(problem.get("retryable"))


def _exit_code(value: object) -> ExitCode:
    try:
        return ExitCode(int(str(value)))
    except ValueError:
        return ExitCode.INTERNAL


def _parse_details(value: object) -> dict[str, str]:
    return {str(key): str(one) for key, one in value.items()} if isinstance(value, dict) else {}
