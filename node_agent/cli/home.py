"""Inspects a node's home, ends its attempts and writes its owner's secrets, from outside the node agent."""

from __future__ import annotations

import fcntl
import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node_agent.attempt.plans import AGAIN, ANEW, GATES, SETUP
from node_agent.attempt.records import JournalRecord, apply_record, open_entry
from node_agent.files.durable import from_json, write_atomic
from node_agent.journal.storage import JournalFiles
from node_agent.machine.home import NodeHome, current_link
from node_agent.runner.runner import Runner
from node_agent.shim.spool import RunnerError, Running
from node_agent.vault.vault import MOST_BYTES, NoValue, read_secrets


@dataclass(frozen=True, slots=True)
class HomeReport:
    """The state of a node's home. `unreadable`: journal folders that cannot be read as entries."""

    running: bool
    pid: int | None
    linked: bool
    entries: tuple[JournalRecord, ...]
    unreadable: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON."""
        return {
            "running": self.running,
            "pid": self.pid,
            "linked": self.linked,
            "attempts": [
                {
                    "identity": str(entry.identity),
                    "mark": entry.mark.value,
                    "holds_slot": entry.holds_slot,
                    "done": entry.cleaned,
                    "stop": entry.stop.reason if entry.stop else None,
                }
                for entry in self.entries
            ],
            "unreadable": list(self.unreadable),
        }


def inspect_home(home: NodeHome) -> HomeReport:
    """Return the state of the home. Reads only; the journal may be in use."""
    entries, unreadable = [], []
    if home.journal.is_dir():
        storage = JournalFiles(home.journal)
        for name in storage.names():
            try:
                records = [from_json(raw) for raw in storage.read(name)]
                entry = open_entry(records[0])
                for record in records[1:]:
                    entry = apply_record(entry, record)
                entries.append(entry)
            except (ValueError, KeyError, IndexError, TypeError):
                if storage.folder(name).exists():  # otherwise the folder was just reused for another attempt
                    unreadable.append(name)
    running = is_held(home.lock)
    return HomeReport(
        running=running,
        pid=_read_pid(home.pid) if running else None,
        linked=current_link(home.links) is not None,
        entries=tuple(entries),
        unreadable=tuple(unreadable),
    )


def is_held(lock: Path) -> bool:
    """Whether a node agent uses this home now."""
    try:
        fd = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def _read_pid(path: Path) -> int | None:
    try:
        return int(path.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


PHASES = (SETUP, "", ANEW, GATES, AGAIN)
SLOW_S = 40.0
"""Seconds to wait: both grace periods of a stop, and killing the rest."""


@dataclass(frozen=True, slots=True)
class Removed:
    """The result of `end_all`. `ended`: attempts that ran. `left`: surviving processes, as (attempt, pid)."""

    ended: tuple[str, ...]
    left: tuple[tuple[str, int], ...]


def end_all(home: NodeHome, runner: Runner, wait_s: float = SLOW_S) -> Removed:
    """Stop all attempts, wait, kill the rest, check. Repeatable; only while no node agent uses the home."""
    names = JournalFiles(home.journal).names() if home.journal.is_dir() else []
    phases = [(name, home.journal / name / phase) for name in names for phase in PHASES]
    running = [(name, phase) for name, phase in phases if _is_running(runner, phase)]
    for _, phase in running:
        runner.stop(phase, "the node is removed")
    for _, phase in running:
        runner.wait(phase, wait_s)
    for name in names:
        with suppress(RunnerError):  # the caller reports what is left
            runner.sweep(name)
    left = tuple((name, pid) for name in names for pid, _ in runner.members(name))
    return Removed(tuple(dict.fromkeys(name for name, _ in running)), left)


def _is_running(runner: Runner, phase: Path) -> bool:
    try:
        return isinstance(runner.look(phase), Running)
    except RunnerError:
        return False


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def set_secret(path: Path, name: str, given: bytes) -> str:
    """Set a secret; return a sentence about the change. Raises NoValue for an invalid name, value or file.
    The newline that `echo` and editors append to a value is removed; the other secrets are not changed."""
    value, path = _value_of(name, given), Path(os.path.realpath(path))
    stored = read_secrets(path) if path.exists() else {}
    before = stored.get(name)
    text = json.dumps({**stored, name: value}, indent=2, ensure_ascii=False)
    write_atomic(path, f"{text}\n".encode())
    path.chmod(0o600)
    if read_secrets(path).get(name) != value:
        raise NoValue(f"{path} does not contain {name}: another program wrote to it at the same time")
    done = "set" if before is None else "unchanged" if before == value else "replaced"
    return f"{name} is {done} in {path} ({len(value)} characters); the next run uses it"


def _value_of(name: str, given: bytes) -> str:
    if not _NAME.fullmatch(name):
        raise NoValue(f"{name!r} is not a valid name: use letters, digits and _, such as ANTHROPIC_API_KEY")
    try:
        value = given.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as exc:
        raise NoValue("the value must be UTF-8 text") from exc
    if not value.strip() or "\0" in value:
        raise NoValue("the value is empty" if not value.strip() else "the value contains a NUL character")
    if len(given) > MOST_BYTES:
        raise NoValue(f"the value is longer than {MOST_BYTES} bytes")
    return value
