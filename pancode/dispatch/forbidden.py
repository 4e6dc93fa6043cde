"""Checks the command of a dispatch against people's rules, because no agent's stream would show it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from node_agent.policy.judging import judge_command
from node_agent.wire.policy import ActionClass, Policy
from pancode.dispatch import requested
from pancode.dispatch.resolve import Resolution


def forbidden(resolution: Resolution) -> str | None:
    """The forbidden command and its rule; None: all may run. The result is checked for forbidden paths."""
    rules = resolution.rules.commands
    if not rules:
        return None
    policy = Policy(allowed=tuple(ActionClass), commands=rules)
    for what, text in _commands(resolution):
        for offence in judge_command(policy, text).offences:
            return f"{what} {offence.words}"
    return None


def _commands(resolution: Resolution) -> Iterator[tuple[str, str]]:
    """Set-up, gates, and the user's own script, each in the words of a shell."""
    yield from (("setup", shlex.join(argv)) for argv in resolution.setup)
    yield from (("verify", shlex.join(argv)) for argv in resolution.gates)
    score = requested.score(resolution.request)
    if score:
        yield "score", shlex.join(score)
    if resolution.runtime.name == "shell":
        argv = resolution.request.argv
        yield "the script", resolution.request.task if argv is None else shlex.join(argv)
