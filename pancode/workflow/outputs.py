"""Decides what a step's result is worth: files that must be there, a verdict that must fit its schema."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pancode.core.records import Run, WorkflowStep
from pancode.workflow.template import is_kept

MOST_VERDICT = 64 * 1024
"""Bytes of a verdict's file."""
MOST_FILE = 5_000_000
"""Bytes of a file that a task may be filled with."""
MOST_FILES = 200


def result_commit(run: Run) -> str | None:
    """The commit at which the next step begins: its result, or its own beginning if it changed nothing."""
    found = run.result.get("commit") or run.workspace.get("snapshot")
    return found if isinstance(found, str) else None


def kept_files(step: WorkflowStep, names: Sequence[str]) -> tuple[list[str], str]:
    """The files that the step keeps; in words, which one is not there."""
    found = [name for name in names if any(is_kept(name, pattern) for pattern in step.files)]
    missing = [p for p in step.files if not any(is_kept(name, p) for name in found)]
    problem = f"missing output: {missing[0]} is not in its result" if missing else ""
    if len(found) > MOST_FILES:
        problem = f"it keeps {len(found)} files, at most {MOST_FILES}: narrow the patterns"
    return found[:MOST_FILES], problem


def verdict_of(step: WorkflowStep, data: bytes | None) -> tuple[dict[str, object], str]:
    """The verdict, or in words why it is none. Read from its file, never from prose."""
    name = str(step.verdict["file"])
    if data is None:
        return {}, f"no verdict: {name} is not in its result, or larger than {MOST_VERDICT} bytes"
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as exc:
        return {}, f"no verdict: {name} is not JSON: {str(exc)[:200]}"
    if not isinstance(found, dict):
        return {}, f"no verdict: {name} is not a JSON object"
    schema = step.verdict["schema"]
    for key, allowed in schema.items() if isinstance(schema, dict) else ():
        if key not in found:
            return {}, f"no verdict: {name} has no field {key!r}"
        if allowed and not any(
            found[key] == one and isinstance(found[key], bool) is isinstance(one, bool) for one in allowed
        ):
            values = ", ".join(map(repr, allowed))
            return {}, f"no verdict: {key} is {str(found[key])[:100]!r} in {name}, it must be one of {values}"
    return found, ""
