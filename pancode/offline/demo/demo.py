"""`pancode demo`: plays all acts with a fleet of its own, and removes everything again, whatever happens."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from types import FrameType
from typing import Any

from node_agent.wire.clock import Clock, SystemClock
from pancode.errors import PancodeError
from pancode.offline.demo.demo_acts import ACTS, OPENING, Play
from pancode.offline.demo.demo_report import DemoReport, Write
from pancode.offline.demo.demo_stage import Stage, new_stage, others
from pancode.offline.demo.demo_work import FILES

_ENDING = (signal.SIGTERM, signal.SIGHUP)


NEXT = """
What next, in a repository of yours:
    pancode fleet up                                      this machine becomes a node
    pancode dispatch --runtime shell 'uname -a'           a run without a model
    pancode node add gpubox && pancode fleet up gpubox    another machine, by its name in ~/.ssh/config
    pancode runtimes                                      which agents are here, and what the others need
    pancode init                                          your settings, and this repository's"""


def play(
    environ: Mapping[str, str], *, keep: bool, write: Write, clock: Clock | None = None
) -> dict[str, Any]:
    """Play it. `{"ok", "checks", "seconds", "kept"}`; `kept`: the folder that was left, or None.

    KeyboardInterrupt and the end of the terminal take everything away first.
    """
    clock = clock or SystemClock()
    story = DemoReport(write, clock)
    stage = new_stage(environ, clock)
    left = False
    with _ended_by_signals():
        clear(environ, story, clock, kept=False)
        whole = False
        try:
            story.say(OPENING.format(root=stage.root))
            stage.furnish(FILES, keep)
            whole = _acts(Play(stage, story))
            left = keep
        finally:
            if not left:
                _take_away(stage, story, whole)
    if left:
        _kept(stage, story)
    story.say(_verdict(story))
    if story.good and not left:
        story.say(NEXT)
    checks = [asdict(check) for check in story.checks]
    kept = str(stage.root) if left else None
    return {"ok": story.good, "checks": checks, "seconds": round(story.seconds, 1), "kept": kept}


def _acts(current: Play) -> bool:
    """Whether they came to their end; an error is told, and counts as a check that did not hold."""
    try:
        for act in ACTS:
            act(current)
    except (PancodeError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        why = error.why if isinstance(error, PancodeError) else ""
        current.story.check("the demo went on to its end", False, f"{error} {why}".strip())
        return False
    return True


def _take_away(stage: Stage, story: DemoReport, whole: bool) -> None:
    """Nothing may come between: signals wait, and a terminal that is gone is not told."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with suppress(OSError):
            story.act("The end: everything is taken away" if whole else "Taking everything away")
        problems = stage.take_down() if whole else []
        polite = not problems and not stage.processes()
        ended = stage.sweep()
        with suppress(OSError):
            _prove_gone(stage, story, (whole, polite), problems + ended)
    finally:
        signal.signal(signal.SIGINT, before)


def _prove_gone(stage: Stage, story: DemoReport, how: tuple[bool, bool], problems: list[str]) -> None:
    whole, polite = how
    if whole:
        words = "each node was removed as pancode node rm does it, and nothing of ours was left there"
        story.check(words, polite, "; ".join(problems))
    story.check("no process of the demo is left", not stage.processes(), stage.processes())
    story.check(f"{stage.root} is gone", not stage.root.exists())


def clear(environ: Mapping[str, str], story: DemoReport, clock: Clock, *, kept: bool) -> int:
    """Take away what demos have left that were killed; `kept`: also those that were to stay. How many."""
    found = others(environ, clock, kept=kept)
    for stage in found:
        stage.take_down()
        stage.sweep()
        story.say(f"taken away: {stage.root}, left by an earlier demo")
    return len(found)


def remove(environ: Mapping[str, str], *, write: Write, clock: Clock | None = None) -> int:
    """Take away every demo of this user that nobody plays now; how many there were."""
    clock = clock or SystemClock()
    return clear(environ, DemoReport(write, clock), clock, kept=True)


def _kept(stage: Stage, story: DemoReport) -> None:
    story.say(f"\nThe fleet is left running. Look around (the project is in {stage.project}):")
    story.tell(f"export PANCODE_HOME={stage.home}")
    story.tell("pancode fleet status; pancode runs; pancode why last; pancode audit; pancode queue")
    story.say("Take it away, with its folder:")
    story.tell("pancode demo --remove")


def _verdict(story: DemoReport) -> str:
    passed = sum(check.ok for check in story.checks)
    count = len(story.checks)
    words = "all of them" if passed == count else "NOT all"
    return f"\n{passed} of {count} checks held, {words}; {story.seconds:.0f} s"


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the demo as Ctrl-C does: with everything taken away."""

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, end) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            with suppress(TypeError):
                signal.signal(number, handler)
