"""Turns a coordinator's refusal into an error, on this machine or another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pancode.errors import ExitCode, PancodeError


class ApiError(PancodeError):
    """The coordinator's refusal: its code, why, fix and exit status."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(
            str(problem.get("message") or problem.get("title") or "the coordinator answered with an error"),
            why=str(problem.get("why") or ""),
            fix=str(problem.get("fix") or ""),
            code=str(problem.get("code") or "internal"),
            details=_details(problem.get("details")),
        )
        self.exit_code = _exit_code(problem.get("exit_code"))
        self.retryable = bool(problem.get("retryable"))


def _exit_code(value: object) -> ExitCode:
    try:
        return ExitCode(int(str(value)))
    except ValueError:
        return ExitCode.INTERNAL


def _details(value: object) -> dict[str, str]:
    return {str(key): str(one) for key, one in value.items()} if isinstance(value, dict) else {}
