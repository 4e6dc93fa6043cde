"""Text at both ends of a run: the first message to the model, and the last event of the stream."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from node_agent.chat.limits import Over
from node_agent.native.deeds import Deeds
from node_agent.native.voice import Voice
from node_agent.runtimes.workerspec import PROMPT, WorkerSpec

RESULT_CHARS = 2_000_000
"""The characters of the last words; a longer line of the stream would not be read."""
_HEAD = """\
You are a coding agent at work in {where}. Use the tools; paths are inside it. {may} \
Work until the task is done, then answer in plain words, without a tool call: what you did, what is left. \
Nobody answers questions. What is denied stays denied: find another way, or say so."""


def system_of(spec: WorkerSpec, tools: Sequence[str]) -> str:
    """The system prompt: ours, and behind it the agent's own."""
    may = "You may change files." if spec.writes else "You change nothing: this run only looks."
    head = _HEAD.format(where=os.path.join(spec.top, spec.folder).rstrip("/"), may=may)
    try:
        prompt = Path(spec.home, PROMPT).read_text("utf-8", "replace")
    except FileNotFoundError:
        prompt = ""
    without = "" if tools else " You have no tools."
    return f"{head}{without}\n\n{prompt}".rstrip()


def tell_end(voice: Voice, spec: WorkerSpec, deeds: Deeds, turns: int, result: str, over: Over | None) -> int:
    """The `final` event; the exit status of the program."""
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
