"""Prints an error for a person or a script: words on standard error, or one JSON object there."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from pancode.cli.output.render import paint, safe
from pancode.errors import ExitCode, PancodeError, Problem

MEANINGS: dict[ExitCode, str] = {
    ExitCode.DONE: "done",
    ExitCode.INTERNAL: "internal error",
    ExitCode.USAGE: "usage",
    ExitCode.CONFIG: "configuration",
    ExitCode.NOT_FOUND: "not found",
    ExitCode.REFUSED: "refused by admission",
    ExitCode.UNAVAILABLE: "fleet or queue unavailable",
    ExitCode.WORKSPACE: "workspace or merge problem",
    ExitCode.SIGNATURE: "bad signature or protocol (TAMPERED, UNSIGNED, UNKNOWN_KEY)",
    ExitCode.ERROR: "error: the agent failed",
    ExitCode.VERIFY_FAILED: "verify_failed: a gate failed",
    ExitCode.BLOCKED: "blocked: needs a person",
    ExitCode.TIMEOUT: "timeout",
    ExitCode.STALLED: "stalled: no output for the idle limit",
    ExitCode.BUDGET_EXCEEDED: "budget_exceeded",
    ExitCode.LOST: "lost: the node was not heard for the whole deadline",
    ExitCode.INFRA: "infra: ours (ssh, disk, login, missing runtime, failed set-up)",
    ExitCode.POLICY_VIOLATION: "policy_violation",
    ExitCode.INTERRUPTED: "interrupted: by a person or a drain",
    ExitCode.PARTIAL: "some of a batch, or some nodes, failed",
    ExitCode.DETACHED: "Ctrl-C: detached, still running",
}
"""The one table of exit statuses."""

OUTCOMES: dict[str, ExitCode] = {
    code.name.lower(): code for code in ExitCode if code is ExitCode.DONE or 10 <= code < 20
}
"""A run's outcome to the status of the command that waited for it."""


def exit_of(outcome: str | None) -> int:
    """The status for an outcome; one that this version does not know is an internal error."""
    return OUTCOMES.get(outcome or "", ExitCode.INTERNAL)


def tell_error(error: PancodeError, *, as_json: bool) -> int:
    """Say it on standard error; returns the exit status."""
    problem = error.problem()
    if as_json:
        sys.stderr.write(json.dumps({"error": _plain(problem)}) + "\n")
    else:
        sys.stderr.write(in_words(problem))
    return problem.exit_code


COMMAND_LOG = "run/command.log"
"""Below the home: the tracebacks of commands that failed by a defect of PanCode's own."""
_LOG_CAP = 1 << 20


def internal(exc: Exception) -> PancodeError:
    """An exception that nobody foresaw, as an error; its traceback is added to the log."""
    import traceback

    why = f"{type(exc).__name__}: {exc}"
    whole = "".join(traceback.format_exception(exc))
    try:
        log = _logged(whole)
    except (OSError, PancodeError):
        last = traceback.extract_tb(exc.__traceback__)[-1]
        why += f" (in {last.filename}:{last.lineno}; the log cannot be written)"
        return PancodeError("internal error: a defect of PanCode", why=why, fix="report it with these lines")
    fix = (
        f"report it with the end of {log}; whether the command has had an effect: pancode runs, pancode audit"
    )
    return PancodeError("internal error: a defect of PanCode", why=why, fix=fix)


def _logged(text: str) -> Path:
    import shlex
    import time

    from pancode.connection import home_here

    log = home_here(os.environ) / COMMAND_LOG
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LOG_CAP:
        log.replace(log.with_suffix(".log.1"))
    with open(
        log, "a", opener=lambda path, flags: os.open(path, flags, 0o600), errors="backslashreplace"
    ) as sink:
        sink.write(f"{time.strftime('%FT%TZ', time.gmtime())} {shlex.join(sys.argv[:3])}\n{text}\n")
    return log


def in_words(problem: Problem) -> str:
    """The error as text: what happened, why, the fix. A machine or a repository may have parts of it."""
    lines = [f"{paint('error', 'red', sys.stderr)}: {safe(problem.message)}"]
    lines += [f"  why: {safe(problem.why)}"] if problem.why else []
    lines += [f"  fix: {safe(problem.fix)}"] if problem.fix else []
    return "\n".join(lines) + "\n"


def _plain(problem: Problem) -> dict[str, object]:
    return {
        "code": problem.code,
        "message": problem.message,
        "why": problem.why,
        "fix": problem.fix,
        "exit_code": problem.exit_code,
    }
