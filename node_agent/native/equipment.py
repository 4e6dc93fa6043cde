"""Puts together what a program of our own works with: judge, tools, limits and prompt, as its spec says."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from node_agent.chat.guard import CAREFUL, VENDORS, Guard
from node_agent.chat.limits import MOST_CALLS, MOST_TURNS, ChatLimits
from node_agent.chat.messages import ToolForm
from node_agent.native.asking import judge_of
from node_agent.native.brief import system_of
from node_agent.native.places import Tree
from node_agent.native.tools.box import Box
from node_agent.native.tools.offer import forms
from node_agent.native.voice import PersonWords, Voice
from node_agent.policy.commands.tree import take_elsewhere
from node_agent.runtimes.workerspec import WorkerSpec
from node_agent.sandbox.grammar import Grammar
from node_agent.wire.clock import Clock


@dataclass(frozen=True, slots=True)
class Equipment:
    """The equipment of one run. `env`: for its commands, without forbidden variables."""

    voice: Voice
    words: PersonWords
    tools: list[ToolForm]
    system: str
    guard: Guard
    env: dict[str, str]
    box: Box
    limits: ChatLimits


def equipment_of(spec: WorkerSpec, clock: Clock) -> Equipment:
    """Takes a person's secret out of the home: it comes before anything of the run can read there."""
    take_elsewhere(Grammar(sys.executable).take_apart)
    began, voice = clock.mono_ms(), Voice(clock)
    words = PersonWords.of(spec.home, voice)
    tools = forms(spec.tools)
    system = system_of(spec, [one.name for one in tools])
    guard = Guard(spec.context or (VENDORS if spec.is_hosted else CAREFUL), system, tools)
    env = {name: value for name, value in os.environ.items() if name not in spec.hidden}
    judge = judge_of(spec, os.path.expanduser("~"), voice, clock)
    box = Box(Tree(spec.top, spec.folder), judge, clock, env, guard.most_chars)
    limits = ChatLimits(
        until_ms=began + spec.wall_ms,
        turns=spec.turns or MOST_TURNS,
        calls=MOST_CALLS,
        tokens=spec.tokens,
        output_bytes=spec.output_bytes,
        answers=spec.answers,
        wrap_up=spec.wrap_up,
    )
    return Equipment(voice, words, tools, system, guard, env, box, limits)
