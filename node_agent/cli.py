"""`pancode-node`: make the node's key, run the node agent, say how it is, end everything."""

from __future__ import annotations

import argparse
import fcntl
import gc
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from node_agent import removal, shim, status, wiring
from node_agent.agent import NodeAgent
from node_agent.durable import make_folder, write_atomic
from node_agent.grammar import Grammar
from node_agent.logging_in import NoLogin, log_in
from node_agent.notify import Watched
from node_agent.runner import Runner
from node_agent.runtimes.logins import tokens
from node_agent.settings import Home, SettingsError
from node_agent.vault import Vault
from node_agent.wire.clock import SystemClock, SystemIds
from node_agent.wire.commands.tree import take_elsewhere
from node_agent.worker import ThreadDrive, Worker

OK, FAILED, BAD_SETTINGS, HELD = 0, 1, 78, 73
"""Exit statuses; 73: another node agent holds this home (a service manager must not start it again)."""

HOLD_TRIES, HOLD_PAUSE_S = 20, 0.05
SWITCH_S = 0.002
"""Who wants the interpreter for a moment between two waits waits no longer for another thread's work.

Not less without need: each of those who wait wakes up that often.
"""
LOOK_S = 2.0
"""How often the node agent looks whether its home is still there."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command; an exit status."""
    args = _parser().parse_args(argv)
    os.umask(0o077)
    verb: Callable[[argparse.Namespace], int] = args.verb
    try:
        return verb(args)
    except SettingsError as error:
        _say(f"pancode-node: {error}", sys.stderr)
        return BAD_SETTINGS
    except OSError as error:
        _say(f"pancode-node: {error}", sys.stderr)
        return FAILED


def key(args: argparse.Namespace) -> int:
    """Print the public half of this node's key; make the key when there is none."""
    _say(_home(args).make_key(SystemIds()).text())
    return OK


def run(args: argparse.Namespace) -> int:
    """Run the node agent in the foreground until SIGTERM. Attempts go on without it."""
    home = _home(args)
    make_folder(home.root / "run")
    lock = _hold(home)
    if lock is None:
        _say(f"pancode-node: a node agent runs for {home.root} already", sys.stderr)
        return HELD
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    home.pid.unlink(missing_ok=True)
    try:
        _work(home, lock)
    finally:
        if _is_ours(home, lock):
            home.pid.unlink(missing_ok=True)
        os.close(lock)
    return OK


def show(args: argparse.Namespace) -> int:
    """Whether a node agent runs here, and every attempt in its journal."""
    seen = status.look(_home(args))
    if args.json:
        _say(json.dumps(seen.to_json(), sort_keys=True))
        return OK
    _say(f"running, pid {seen.pid}" if seen.running else "not running")
    for entry in seen.entries:
        _say(f"{entry.identity}  {entry.mark}{'' if entry.cleaned else '  (not done)'}")
    return OK


def login(args: argparse.Namespace) -> int:
    """Open a vendor's own login on this terminal, where the runs of this node will find it."""
    home = _home(args)
    vault = Vault(home.secrets, os.environ, SystemClock(), tokens(home.root))
    try:
        return log_in(home, args.runtime, os.environ, vault.values())
    except NoLogin as wrong:
        _say(f"pancode-node: {wrong}\n  fix: {wrong.fix}", sys.stderr)
        return wrong.status


def reach(args: argparse.Namespace) -> int:
    """Whether Redis and the depot are reached as this node; with --offered by the link on standard input."""
    from node_agent.reach import reach as try_reach

    found = try_reach(_home(args), sys.stdin.read() if args.offered else None, SystemClock())
    if args.json:
        _say(found.text())
    else:
        for name, wrong in (("redis", found.redis), ("depot", found.depot)):
            _say(f"{name}  {wrong or 'ok'}")
    return OK if found.ok else FAILED


def show_version(args: argparse.Namespace) -> int:
    """The version of this node agent."""
    _say(wiring.version())
    return OK


def remove(args: argparse.Namespace) -> int:
    """End every attempt and prove that no process of any is left. Nothing is deleted."""
    home = _home(args)
    if status.is_held(home.lock):
        _say(f"pancode-node: stop the node agent of {home.root} first", sys.stderr)
        return HELD
    runner = Runner(sys.executable, Path(shim.__file__), SystemClock())
    done = removal.end_all(home, runner)
    _say(json.dumps({"ended": list(done.ended), "left": [list(one) for one in done.left]}))
    return OK if not done.left else FAILED


def _work(home: Home, lock: int) -> None:
    watch = Watched(os.environ, SystemClock())
    gc.freeze()
    sys.setswitchinterval(SWITCH_S)
    grammar = Grammar(sys.executable)
    take_elsewhere(grammar.take_apart)  # a fault in the parser, which is C, must not be the node's
    parts = wiring.build(home, SystemClock(), SystemIds())
    world = parts.world
    drives: list[ThreadDrive] = []

    def threads(job: object) -> ThreadDrive:
        drives.append(
            ThreadDrive(job, world.journal, parts.runner, world.clock, world.tempo.poll_ms)  # type: ignore[arg-type]
        )
        return drives[0]

    agent = NodeAgent(world, threads)
    worker = Worker(agent, drives[0], parts.follower, watch.beat)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.leave())
    threading.Thread(target=_watch, args=(home, lock, worker.leave), name="home", daemon=True).start()
    logging.getLogger("pancode.node").info("node %s of %s", world.node.name, world.node.fleet)
    write_atomic(home.pid, f"{os.getpid()}\n".encode())  # only now: it says that this home can be worked in
    watch.ready()
    worker.run()
    watch.stopping()
    parts.runner.close()
    grammar.close()


def _watch(home: Home, lock: int, leave: Callable[[], None]) -> None:
    """End with the home: one that was removed, or made anew for another agent, is no longer written to."""
    while _is_ours(home, lock):
        time.sleep(LOOK_S)
    logging.getLogger("pancode.node").error("%s was removed or replaced: the node agent ends", home.root)
    leave()


def _is_ours(home: Home, lock: int) -> bool:
    """Whether the lock that we hold is still the one in the home."""
    try:
        return os.path.samestat(os.stat(home.lock), os.fstat(lock))
    except OSError:
        return False


def _hold(home: Home) -> int | None:
    """The lock of this home, held as long as this process lives; None when another agent has it.

    Whoever looks whether it is held takes it for a moment: that must not keep an agent from starting.
    """
    fd = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(HOLD_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            time.sleep(HOLD_PAUSE_S)
    os.close(fd)
    return None


def _home(args: argparse.Namespace) -> Home:
    path = args.home or os.environ.get("PANCODE_NODE_HOME")
    if not path:
        raise SettingsError("which home? give --home H, or set PANCODE_NODE_HOME")
    return Home(Path(path).absolute())


def _say(text: str, stream: TextIO | None = None) -> None:
    (stream or sys.stdout).write(text + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pancode-node", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, verb in (
        ("key", key),
        ("run", run),
        ("status", show),
        ("version", show_version),
        ("remove", remove),
        ("login", login),
        ("reach", reach),
    ):
        sub = verbs.add_parser(name, help=verb.__doc__, description=verb.__doc__)
        sub.add_argument("--home", help="this fleet's folder on this node")
        sub.add_argument("--json", action="store_true", help="for programs")
        sub.set_defaults(verb=verb)
        if verb is login:
            sub.add_argument("runtime", help="whose login it is, such as claude")
        if verb is reach:
            sub.add_argument("--offered", action="store_true", help="by the link on standard input")
    return parser
