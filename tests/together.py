"""Decides which tests stay on one worker where whole files are shared out (`--dist loadfile`)."""

from __future__ import annotations

APART = frozenset(
    {
        "tests/clis/test_acts.py",
        "tests/clis/test_gateway.py",
        "tests/clis/test_matrix.py",
        "tests/clis/test_talked.py",
        "tests/e2e/test_docs.py",
        "tests/e2e/test_fault_up.py",
        "tests/e2e/test_programs.py",
    }
)
"""Minutes each, and what they share is made once for the first word of their parameter, or for each test."""


def scope_of(nodeid: str) -> str:
    """What is handed out as one: a file, or a part of a long one, as `test_acts.py[gemini`."""
    path = nodeid.partition("::")[0]
    if path not in APART:
        return path
    words = nodeid.partition("[")[2].rstrip("]")
    return f"{path}[{words.partition('-')[0]}"
