"""Runs the node agent in the foreground: one per home, with threads, signals, shutdown and systemd."""

from __future__ import annotations

import faulthandler
import fcntl
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress

from node_agent import wiring
from node_agent.agent.agent import NodeAgent
from node_agent.agent.worker import ThreadDrive, Worker
from node_agent.files.durable import make_folder, write_atomic
from node_agent.machine.home import NodeHome
from node_agent.policy.commands.tree import take_elsewhere
from node_agent.sandbox.grammar import Grammar
from node_agent.wire import logs
from node_agent.wire.clock import Clock, SystemClock, SystemIds

_OFTEN = 4
"""The number of notifications sent in the interval within which the service manager expects one."""


class AgentWatchdog:
    """Notifies the service manager on each `heartbeat`; if the main thread hangs, there are no
    notifications."""

    def __init__(self, environ: MutableMapping[str, str], clock: Clock) -> None:
        """Remove the service manager's variables from `environ`, so that no attempt can notify it as us."""
        names = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
        self._address, usec, pid = (environ.pop(name, "") for name in names)
        notified = self._address and usec.isdecimal() and pid in ("", str(os.getpid()))
        self._every_ms = int(usec) // 1000 // _OFTEN if notified else None
        self._clock = clock
        self._next_ms = 0
        if notified:
            faulthandler.enable()  # a hung process is killed by SIGABRT: log each thread's position

    def ready(self) -> None:
        self._tell("READY=1")

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    def heartbeat(self) -> None:
        """Note that another pass was completed, and notify the service manager if that is due."""
        if self._every_ms is not None and self._clock.mono_ms() >= self._next_ms:
            self._next_ms = self._clock.mono_ms() + self._every_ms
            self._tell("WATCHDOG=1")

    def _tell(self, words: str) -> None:
        if self._address:
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
                at = self._address
                made.sendto(words.encode(), "\0" + at[1:] if at[0] == "@" else at)


HOLD_TRIES, HOLD_PAUSE_S = 20, 0.05
SWITCH_S = 0.002
"""The maximum time that a thread keeps the interpreter while another thread waits for it. It is not shorter
than necessary: each waiting thread wakes up that often."""
LOOK_S = 2.0
"""The interval at which the node agent checks that its home still exists."""


class HeldError(Exception):
    """Another node agent already runs with this home."""


def run_foreground(home: NodeHome) -> None:
    """Run the node agent until SIGTERM, or until its home is removed. Raises HeldError, SettingsError. The
    lock is held until the process ends, because a thread may still write."""
    make_folder(home.root / "run")
    lock = hold_home(home)
    home.pid.unlink(missing_ok=True)
    try:
        _work(home, lock)
    finally:
        if _is_ours(home, lock):
            home.pid.unlink(missing_ok=True)


def _work(home: NodeHome, lock: int) -> None:
    watch = AgentWatchdog(os.environ, SystemClock())
    gc.freeze()
    sys.setswitchinterval(SWITCH_S)
    grammar = Grammar(sys.executable)
    # a crash of the parser, which is written in C, must not crash the node agent
    take_elsewhere(grammar.take_apart, grammar.ready)
    parts = wiring.build(home, SystemClock(), SystemIds())
    logs.set_up(os.environ.get(logs.VARIABLE) or parts.log, sys.stderr)
    world = parts.world
    drives: list[ThreadDrive] = []

    def threads(procedure: object) -> ThreadDrive:
        drives.append(
            ThreadDrive(procedure, world.journal, parts.runner, world.clock, world.intervals.poll_ms)  # type: ignore[arg-type]
        )
        return drives[0]

    agent = NodeAgent(world, threads)
    worker = Worker(agent, drives[0], parts.follower, watch.heartbeat)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.leave())
    threading.Thread(target=_watch, args=(home, lock, worker.leave), name="home", daemon=True).start()
    logging.getLogger("pancode.node").info("node %s of %s", world.node.name, world.node.fleet)
    # written only now, because this file signals that the home is in use
    write_atomic(home.pid, f"{os.getpid()}\n".encode())
    watch.ready()
    worker.run()
    watch.stopping()
    parts.runner.close()
    grammar.close()


def _watch(home: NodeHome, lock: int, leave: Callable[[], None]) -> None:
    """End the node agent if its home was removed or recreated for another agent, and must not be written."""
    while _is_ours(home, lock):
        time.sleep(LOOK_S)
    logging.getLogger("pancode.node").error("%s was removed or replaced: the node agent ends", home.root)
    leave()


def _is_ours(home: NodeHome, lock: int) -> bool:
    """Whether the lock that this process holds is still the one in the home."""
    try:
        return os.path.samestat(os.stat(home.lock), os.fstat(lock))
    except OSError:
        return False


def hold_home(home: NodeHome) -> int:
    """Take the lock of this home and hold it until this process ends. Raises HeldError. Takes several tries,
    because a check by `is_held` holds the lock for a moment."""
    fd = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(HOLD_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            time.sleep(HOLD_PAUSE_S)
    os.close(fd)
    raise HeldError
