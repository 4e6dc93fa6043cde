"""A fix that is printed helps: carried out in the same state, it does not end in the same refusal.

Each command that is about a run is asked about a run in each state, and each command about a thing with a
name about one that is not there. Where it is refused, the command that its fix names is carried out at once.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from tests.integration.faces.test_sweep import HOLDS, Sweep, leaves, sweep

__all__ = ["sweep"]
FIX = re.compile(r"^  fix: (?:[^;]*: )?(pancode [^;]*)", re.MULTILINE)
"""The command that a fix begins with, or that stands behind its reason and a colon."""
ENDS = re.compile(r",? (?:then|and|or|to|if)\b|, |\s\(| \.\.\.")
"""Where the words of that command end."""
OPEN = re.compile(r"\b(?:X|[A-Z]{3,}(?:/[A-Z]+)*)\b|\.\.\.|\$")
"""A place in a command that a person has to fill in."""
STATES = (
    *("run", "landed", "to_land", "running", "waiting", "blocked", "interrupted", "lost", "error"),
    *("verify_failed", "timeout", "policy_violation", "session", "scout"),
)
"""Names of runs of the fleet; each is in another state."""
OF_PEOPLE = {"node login", "node rm", "web", "up", "down", "demo", "sessions attach", "service remove"}
"""Commands that ask a person, or end what later tests need."""


def first_argument(command: click.Command) -> str:
    found = [one for one in command.params if isinstance(one, click.Argument)]
    return str(found[0].name) if found and found[0].required else ""


def provocations() -> Iterator[tuple[str, list[str]]]:
    """Yield the words of each command that is to be refused, with a name for it."""
    for path, command in leaves():
        if path in HOLDS or path in OF_PEOPLE:
            continue
        about = first_argument(command)
        more = ["x"] * (sum(isinstance(one, click.Argument) and one.required for one in command.params) - 1)
        if about == "run":
            for state in STATES:
                yield f"{path} {state}", [*path.split(), f"{{{state}}}", *more]
        elif about:
            yield f"{path} nothing", [*path.split(), "no-such-thing", *more]


CASES = dict(provocations())


@pytest.mark.parametrize("case", CASES)
def test_the_fix_is_not_refused_as_what_it_fixes(sweep: Sweep, case: str) -> None:
    words, _ = sweep.asked("", " ".join(CASES[case]))
    refused = sweep(words)
    found = FIX.search(refused.err)
    if found is None or OPEN.search(command := ENDS.split(found[1])[0]):
        return
    fix = shlex.split(command)[1:]
    if " ".join(fix[:2]) in OF_PEOPLE or fix[:1] == ["web"]:
        return
    helped = sweep(fix)
    message = refused.err.splitlines()[0]
    assert helped.status in (0, *range(3, 20)), f"{command}: {helped.err}"
    assert message not in helped.err, f"{command} is refused as before: {helped.err}"
