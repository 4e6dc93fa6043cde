"""Reads the number that a score command has printed: the last line of its output, and nothing else. Pure."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from node_agent.shim.spool import ExitRecord

MOST_DIGITS = 18
"""Before the point, and after it."""
LAST = 4_096
"""Bytes of the output that are looked at."""


class NoScoreError(Exception):
    """Why there is no number."""


def score_of(record: ExitRecord, gates: int, output: bytes) -> str:
    """The number, written out. `gates`: so many steps come before the command. NoScoreError."""
    step = next((one for one in record.steps if one.index == gates), None)
    if step is None:
        raise NoScoreError("the command was not run")
    if not step.ok:
        ended = f"signal {step.signal}" if step.signal is not None else f"exit {step.exit_code}"
        raise NoScoreError(f"the command did not end well: {ended}")
    lines = output[-LAST:].decode("utf-8", "replace").strip().splitlines()
    if not lines:
        raise NoScoreError("the command has printed nothing")
    return written_out(_number(lines[-1].strip()), lines[-1])


def _number(line: str) -> Any:
    try:
        return json.loads(line, parse_float=Decimal, parse_int=Decimal, parse_constant=lambda _: None)
    except (ValueError, RecursionError, ArithmeticError):
        return None


def written_out(number: Any, line: str) -> str:
    """NoScoreError for what is no number, or too large or too exact to be written out."""
    if not isinstance(number, Decimal):
        raise NoScoreError(f"the last line of the output is no JSON number: {line.strip()[:100]!r}")
    _, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int) or exponent < -MOST_DIGITS or len(digits) + exponent > MOST_DIGITS:
        raise NoScoreError(f"a score has {MOST_DIGITS} digits at most before and after the point")
    return f"{number:f}"
