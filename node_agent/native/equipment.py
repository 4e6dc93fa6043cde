"""Assembles what a native worker uses: judge, tools, limits and prompt; and reports the run's end."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from node_agent.chat.client import HEARTBEAT_S
from node_agent.chat.guard import CAREFUL, VENDORS, Guard
from node_agent.chat.limits import MOST_CALLS, MOST_TURNS, ChatLimits, Over
from node_agent.chat.messages import ToolForm
from node_agent.native.fleet import fleet_forms
from node_agent.native.judge import Ask, Judge
from node_agent.native.places import Tree
from node_agent.native.tools.files import Box
from node_agent.native.tools.offer import Deeds, list_forms, made_forms
from node_agent.native.voice import UserMessages, Voice
from node_agent.policy.commands.tree import take_elsewhere
from node_agent.runtimes.workerspec import PROMPT, SKILLS, WorkerSpec
from node_agent.sandbox.grammar import Grammar
from node_agent.wire.clock import Clock, SystemIds
from node_agent.wire.model import MOST
from node_agent.wire.policy import CommandRule

WAITS, GOES_ON = "[waits for a user: {}]", "[a user has answered: {}]"
BY_RULE = "[a user has allowed this for the whole run: {}]"


def pause(seconds: float) -> None:
    """Sleep for this time; a signal still ends the program."""
    threading.Event().wait(seconds)


def first_words() -> str:
    """Read the run's task, or the first message of an interactive run, from standard input."""
    return sys.stdin.buffer.read().decode("utf-8", "replace")


class WorkerHeartbeat:
    """Called during every wait of the worker. `on`: called at each heartbeat; None in a run without turns."""

    def __init__(self, sleep: Callable[[float], None]) -> None:
        self._sleep = sleep
        self.on: Callable[[], None] | None = None
        self.pause_s = HEARTBEAT_S
        """The seconds until the next heartbeat is due; `on` may set them."""

    def __call__(self) -> float:
        """Return the seconds until the next heartbeat is due."""
        if self.on is not None:
            self.on()
        return self.pause_s

    def wait(self, seconds: float) -> None:
        """Sleep for this long, while heartbeats continue."""
        while seconds > 0:
            part = seconds if self.on is None else min(seconds, self.pause_s)
            self._sleep(part)
            seconds -= part
            self()


def judge_of(
    spec: WorkerSpec, home: str, voice: Voice, clock: Clock, wait: Callable[[float], None] = pause
) -> Judge:
    """Return this run's judge, which may ask a user. `home`: the run's home; `wait`: sleeps between two
    checks."""
    return Judge(spec, home, _asker_of(spec, voice, clock, wait))


def _asker_of(spec: WorkerSpec, voice: Voice, clock: Clock, wait: Callable[[float], None]) -> Ask | None:
    """Return the function that asks a user; None if users cannot be asked in this run."""
    if spec.desk is None:
        return None
    channel = spec.desk

    def ask(command: str, rules: Sequence[CommandRule]) -> str:
        from node_agent.hooks.asking import Asker  # imports cryptography, which no other run needs

        asker = Asker(channel, clock, SystemIds(), wait)
        if asker.is_allowed(rules):
            voice.tell("noted", text=BY_RULE.format(command))
            return ""
        voice.tell("noted", text=WAITS.format(command), asks=True)
        no = asker.refusal(command, rules)
        voice.tell("noted", text=GOES_ON.format(no or "yes"))
        return no

    return ask


RESULT_CHARS = 2_000_000
"""The maximum number of characters of the last message; a longer line of the stream would not be read."""
_HEAD = """\
You are a coding agent at work in {where}. Use the tools; paths are inside it. {may} \
Work until the task is done, then answer in plain words, without a tool call: what you did, what is left. \
{asks} What is denied stays denied: find another way, or say so."""
_READ_THEM = "Before you do what a skill is about, read its instructions with the tool `skill`. Your skills:"
_ALONE = "Nobody answers questions."
_IN_TALK = "A user reads along: where you need a decision, end with a question, and it is answered."


def system_of(spec: WorkerSpec, tools: Sequence[str]) -> str:
    """Return the system prompt: PanCode's, then the agent's own."""
    may = "You may change files." if spec.writes else "You change nothing: this run only looks."
    guide = _ALONE if spec.interactive_run is None else _IN_TALK
    head = _HEAD.format(where=os.path.join(spec.top, spec.folder).rstrip("/"), may=may, asks=guide)
    try:
        prompt = Path(spec.home, PROMPT).read_text("utf-8", "replace")
    except FileNotFoundError:
        prompt = ""
    without = "" if tools else " You have no tools."
    skills = "".join(f"\n- {name}: {about}" for name, about in spec.skills.items())
    named = f"\n\n{_READ_THEM}{skills}" if skills else ""
    return f"{head}{without}{named}\n\n{prompt}".rstrip()


def tell_end(voice: Voice, spec: WorkerSpec, deeds: Deeds, turns: int, result: str, over: Over | None) -> int:
    """Write the `final` event; return the exit status of the program."""
    report = {
        "scope": f"{spec.folder or 'the whole checkout'}, {'writing' if spec.writes else 'reading only'}",
        "files": list(deeds.box.changed),
        "commands": deeds.box.commands,
        "turns": turns,
        "calls": deeds.calls,
        "denied": deeds.denied,
    }
    voice.tell(
        "final",
        status="done" if over is None else "failed",
        failure=None if over is None else over.kind.value,
        reason="" if over is None else str(over),
        result=result[-RESULT_CHARS:],
        report=report,
    )
    return 0 if over is None else 1


@dataclass(frozen=True, slots=True)
class Equipment:
    """The parts with which one run works. `env`: for its commands, without forbidden variables."""

    voice: Voice
    words: UserMessages
    tools: list[ToolForm]
    system: str
    guard: Guard
    env: dict[str, str]
    box: Box
    limits: ChatLimits


def equipment_of(spec: WorkerSpec, clock: Clock, wait: Callable[[float], None] = pause) -> Equipment:
    """Return the run's equipment. Removes the user's secret from the home before the run's programs can read
    it. `wait`: sleeps between two checks for a user's approval."""
    grammar = Grammar(sys.executable)
    take_elsewhere(grammar.take_apart, grammar.ready)
    began, voice = clock.mono_ms(), Voice(clock)
    words = UserMessages.of(spec.home, voice)
    made = {one.name: one for one in spec.made if spec.walled}
    tools = [*list_forms(spec.tools), *fleet_forms(spec.fleet), *made_forms(made.values())]
    system = system_of(spec, [one.name for one in tools])
    guard = Guard(spec.context or (VENDORS if spec.is_hosted else CAREFUL), system, tools)
    env = {name: value for name, value in os.environ.items() if name not in spec.hidden}
    judge = judge_of(spec, os.path.expanduser("~"), voice, clock, wait)
    skills = {name: Tree(os.path.join(spec.home, SKILLS, name), "") for name in spec.skills}
    box = Box(Tree(spec.top, spec.folder), judge, clock, env, guard.most_chars, skills=skills, made=made)
    limits = ChatLimits(
        until_ms=began + spec.wall_ms,
        turns=spec.turns or (MOST_TURNS if spec.interactive_run is None else MOST),
        calls=MOST_CALLS,
        tokens=spec.tokens,
        output_bytes=spec.output_bytes,
        answers=spec.answers,
        wrap_up=spec.wrap_up,
    )
    return Equipment(voice, words, tools, system, guard, env, box, limits)
