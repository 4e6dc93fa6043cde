"""Ends every attempt of a node's home and shows that nothing of them is left; deletes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from node_agent.attempt.plans import GATES, SETUP
from node_agent.home.settings import NodeHome
from node_agent.journal.storage import JournalFiles
from node_agent.runner.runner import Runner
from node_agent.shim.spool import RunnerError, Running

SLOW_S = 40.0
"""Both graces of a stop, and some time to sweep."""


@dataclass(frozen=True, slots=True)
class Removed:
    """`ended`: attempts that ran. `left`: processes that survive, as (attempt, pid)."""

    ended: tuple[str, ...]
    left: tuple[tuple[str, int], ...]


def end_all(home: NodeHome, runner: Runner, wait_s: float = SLOW_S) -> Removed:
    """Stop, wait, sweep, look. Repeatable; only while no node agent holds the home."""
    names = JournalFiles(home.journal).names() if home.journal.is_dir() else []
    running = [(name, phase) for name in names for phase in _phases(home, name) if _runs(runner, phase)]
    for _, phase in running:
        runner.stop(phase, "the node is removed")
    for _, phase in running:
        runner.wait(phase, wait_s)
    for name in names:
        _sweep(runner, name)
    left = tuple((name, pid) for name in names for pid, _ in runner.members(name))
    return Removed(tuple(dict.fromkeys(name for name, _ in running)), left)


def _phases(home: NodeHome, name: str) -> tuple[Path, ...]:
    folder = home.journal / name
    return (folder / SETUP, folder, folder / GATES)


def _runs(runner: Runner, phase: Path) -> bool:
    try:
        return isinstance(runner.look(phase), Running)
    except RunnerError:
        return False


def _sweep(runner: Runner, name: str) -> None:
    try:
        runner.sweep(name)
    except RunnerError:
        return  # what is left is named by the caller
