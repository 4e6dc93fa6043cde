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

HOSTLESS = "tests/e2e/test_demo.py"
"""The one journey over a whole fleet that needs none of the lab's hosts."""


def scope_of(nodeid: str) -> str:
    """What is handed out as one: a file, or a part of a long one, as `test_acts.py[gemini`."""
    path = nodeid.partition("::")[0]
    if path not in APART:
        return path
    words = nodeid.partition("[")[2].rstrip("]")
    return f"{path}[{words.partition('-')[0]}"


def scope_of_chosen(nodeid: str) -> str:
    """The same in `make test`, where all journeys over the lab's hosts stay together: each worker that has
    one brings up three hosts and a fleet of its own first, which costs 40 s of processor time.
    """
    path = scope_of(nodeid)
    return "tests/e2e" if path.startswith("tests/e2e/") and path != HOSTLESS else path
