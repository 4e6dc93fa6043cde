"""A fix that is printed helps: carried out in the same state, it does not end in the same refusal.

Each command that is about a run is asked about a run in each state, and each command about a thing with a
name about one that is not there. Where it is refused, the command that its fix names is carried out at once.
"""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Iterator

import click
import pytest

from tests.integration.faces.test_sweep import HOLDS, Said, Sweep, leaves, sweep

__all__ = ["sweep"]
FIX = re.compile(r"^  fix: (?:[^;]*: )?(pancode [^;]*)", re.MULTILINE)
"""The command that a fix begins with, or that stands behind its reason and a colon."""
ENDS = re.compile(r",? (?:then|and|or|to|if)\b|, |\s\(| \.\.\.")
"""Where the words of that command end."""
OPEN = re.compile(r"\b(?:X|[A-Z]{3,}(?:/[A-Z]+)*)\b|\.\.\.|\$")
"""A place in a command that a user has to fill in."""
STATES = (
    *("run", "landed", "to_land", "running", "waiting", "blocked", "interrupted", "lost", "error"),
    *("verify_failed", "timeout", "policy_violation", "session", "scout"),
)
"""Names of runs of the fleet; each is in another state."""
OF_USERS = {
    *("fleet demo", "down", "node login", "node rm", "node secret", "config secret", "sessions attach"),
    *("admin service", "up", "web"),
}
"""Commands that ask a user, or end what later tests need."""
WAITS = {
    *("answer", "runs continue", "logs", "runs retry"),
    *("sessions checkpoint", "sessions restore", "workspace open"),
}
"""Commands that wait for a run, which in this fleet continues for ever."""
NAMES = {
    *("channel", "issue", "key", "lane", "model", "name", "names", "node", "program", "project"),
    *("w", "workflow", "workspace"),
}
"""Arguments that are the name of a thing."""


def first_argument(command: click.Command) -> str:
    found = [one for one in command.params if isinstance(one, click.Argument)]
    return str(found[0].name) if found and (found[0].required or found[0].name == "run") else ""


def provocations() -> Iterator[tuple[str, list[str]]]:
    """Yield the words of each command that is to be refused, with a name for it."""
    for path, command in leaves():
        if path in HOLDS or path in OF_USERS or path in WAITS:
            continue
        about = first_argument(command)
        more = ["x"] * (sum(isinstance(one, click.Argument) and one.required for one in command.params) - 1)
        if about == "run":
            for state in STATES:
                yield f"{path} {state}", [*path.split(), f"{{{state}}}", *more]
        elif about in NAMES:
            yield f"{path} nothing", [*path.split(), "no-such-thing", *more]


CASES = dict(provocations())
PATIENCE_S = 2


def asked(sweep: Sweep, words: list[str]) -> Said:
    """What the command says; one that waits is left with Ctrl-C."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(PATIENCE_S)
    try:
        return sweep(words)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("case", CASES)
def test_the_fix_is_not_refused_as_what_it_fixes(sweep: Sweep, case: str) -> None:
    words, _ = sweep.asked("", " ".join(CASES[case]))
    refused = asked(sweep, words)
    found = FIX.search(refused.err)
    if found is None or OPEN.search(command := ENDS.split(found[1])[0]):
        return
    fix = shlex.split(command)[1:]
    if " ".join(fix[:2]) in OF_USERS or fix[:1] == ["web"]:
        return
    helped = asked(sweep, fix)
    message = refused.err.splitlines()[0]
    assert message not in helped.err, f"{command} is refused as before: {helped.err}"
