"""Lets the worker ask a person about a command, and says so in its stream."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from node_agent.native.judge import Ask, Judge
from node_agent.native.voice import Voice
from node_agent.runtimes.workerspec import WorkerSpec
from node_agent.wire.clock import Clock, SystemIds
from node_agent.wire.policy import CommandRule

WAITS, GOES_ON = "[waits for a person: {}]", "[a person has answered: {}]"


def judge_of(spec: WorkerSpec, home: str, voice: Voice, clock: Clock) -> Judge:
    """The judge of this run, who may ask a person. `home`: as for the judge."""
    return Judge(spec, home, _asker_of(spec, voice, clock))


def _asker_of(spec: WorkerSpec, voice: Voice, clock: Clock) -> Ask | None:
    """None where nobody is asked in this run."""
    if spec.desk is None:
        return None
    desk = spec.desk

    def ask(command: str, rules: Sequence[CommandRule]) -> str:
        from node_agent.hooks.asking import Asker  # with cryptography, which no other run needs

        asker = Asker(desk, clock, SystemIds(), _wait)
        voice.tell("noted", text=WAITS.format(command))
        no = asker.refusal(command, rules)
        voice.tell("noted", text=GOES_ON.format(no or "yes"))
        return no

    return ask


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)
