"""`pancode-node`: create the node's key, run the node agent, show its status, end everything. Each verb
imports only its own needs, because `fleet up` requests every node's key, which needs very little."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from node_agent.machine.home import NodeHome, SettingsError
from node_agent.wire.clock import SystemClock, SystemIds

OK, FAILED, BAD_SETTINGS, HELD = 0, 1, 78, 73
"""Exit statuses; 73: another node agent uses this home (a service manager must not start it again)."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    args = _make_parser().parse_args(argv)
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


def print_key(args: argparse.Namespace) -> int:
    """Print the public half of this node's key; create the key if there is none."""
    _say(_find_home(args).make_key(SystemIds()).text())
    return OK


def run(args: argparse.Namespace) -> int:
    """Run the node agent in the foreground until SIGTERM. Attempts continue without it."""
    from node_agent.cli.foreground import HeldError, run_foreground

    home = _find_home(args)
    try:
        run_foreground(home)
    except HeldError:
        _say(f"pancode-node: a node agent already runs for {home.root}", sys.stderr)
        return HELD
    return OK


def show(args: argparse.Namespace) -> int:
    """Show whether a node agent runs here, and every attempt in its journal."""
    from node_agent.cli.home import inspect_home

    seen = inspect_home(_find_home(args))
    if args.json:
        _say(json.dumps(seen.to_json(), sort_keys=True))
        return OK
    _say(f"running, pid {seen.pid}" if seen.running else "not running")
    for entry in seen.entries:
        _say(f"{entry.identity}  {entry.mark}{'' if entry.cleaned else '  (not done)'}")
    return OK


def login(args: argparse.Namespace) -> int:
    """Open a vendor's own login on this terminal, which this node's runs then use."""
    from node_agent.cli.logging_in import NoLogin, log_in

    home = _find_home(args)
    try:
        return log_in(home, args.runtime, os.environ, _read_values(home))
    except NoLogin as wrong:
        _say(f"pancode-node: {wrong}\n  fix: {wrong.fix}", sys.stderr)
        return wrong.status


def write_secret(args: argparse.Namespace) -> int:
    """Write the value on standard input into this node's secrets.json, under NAME."""
    from node_agent.cli.home import set_secret
    from node_agent.vault.vault import NoValue

    try:
        _say(set_secret(_find_home(args).secrets, args.name, sys.stdin.buffer.read()))
    except NoValue as wrong:
        _say(f"pancode-node: {wrong}", sys.stderr)
        return FAILED
    return OK


def change(args: argparse.Namespace) -> int:
    """Print the change of a run in progress, as the coordinator asks for it."""
    from node_agent.cli.changing import show_change
    from node_agent.workspace.git import WorkspaceFailure

    try:
        sys.stdout.buffer.write(show_change(_find_home(args), args.attempt))
    except (WorkspaceFailure, ValueError) as wrong:
        _say(f"pancode-node: {wrong}", sys.stderr)
        return FAILED
    return OK


def install(args: argparse.Namespace) -> int:
    """Install the programs of these runtimes for this node's user; with --away remove them."""
    from node_agent.cli.installing import NoProgram, uninstall
    from node_agent.cli.installing import install as bring
    from node_agent.machine.programs import read_installed
    from node_agent.wire.other_runtimes import REMOVED_RUNTIMES

    home, status = _find_home(args), OK
    values = _read_values(home)
    ours = read_installed(home.root)
    all_of_it = [
        name for name, one in ours.items() if args.away or not (one.chosen or name in REMOVED_RUNTIMES)
    ]
    for name in args.runtimes or all_of_it:
        try:
            if args.away:
                uninstall(home, name, os.environ)
                _say(f"{name}: taken away")
            else:
                done = bring(home, name, args.version, os.environ, values)
                _say(f"{name}: {done.package} {done.version} is installed (sha256 {done.sha256[:16]})")
        except NoProgram as wrong:
            _say(f"{name}: {wrong}\n  fix: {wrong.fix}")
            status = FAILED
    return status


def show_version(args: argparse.Namespace) -> int:
    """Print the version of this node agent."""
    from node_agent import wiring

    _say(wiring.read_version())
    return OK


def remove(args: argparse.Namespace) -> int:
    """End every attempt, verify that none of its processes is left, and remove the installed programs."""
    from node_agent.cli.home import end_all, is_held
    from node_agent.cli.installing import NoProgram, uninstall
    from node_agent.machine.programs import read_installed
    from node_agent.runner.runner import Runner
    from node_agent.shim import shim

    home = _find_home(args)
    if is_held(home.lock):
        _say(f"pancode-node: first stop the node agent of {home.root}", sys.stderr)
        return HELD
    runner = Runner(sys.executable, Path(shim.__file__), SystemClock())
    done = end_all(home, runner)
    for name in read_installed(home.root):
        try:
            uninstall(home, name, os.environ)
        except NoProgram as wrong:
            _say(f"pancode-node: {wrong}", sys.stderr)
    _say(json.dumps({"ended": list(done.ended), "left": [list(one) for one in done.left]}))
    return OK if not done.left else FAILED


def _read_values(home: NodeHome) -> Mapping[str, str]:
    """Return the values of the owner's secrets and variables, by name."""
    from node_agent.runtimes.logins import list_token_paths
    from node_agent.vault.vault import Vault

    return Vault(home.secrets, os.environ, SystemClock(), list_token_paths(home.root)).values()


def _find_home(args: argparse.Namespace) -> NodeHome:
    path = args.home or os.environ.get("PANCODE_NODE_HOME")
    if not path:
        raise SettingsError("no home given: use --home H, or set PANCODE_NODE_HOME")
    return NodeHome(Path(path).absolute())


def _say(text: str, stream: TextIO | None = None) -> None:
    (stream or sys.stdout).write(text + "\n")


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pancode-node", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, verb in (
        ("key", print_key),
        ("run", run),
        ("status", show),
        ("version", show_version),
        ("remove", remove),
        ("login", login),
        ("secret", write_secret),
        ("install", install),
        ("change", change),
    ):
        sub = verbs.add_parser(name, help=verb.__doc__, description=verb.__doc__)
        sub.add_argument("--home", help="this fleet's folder on this node")
        sub.add_argument("--json", action="store_true", help="for programs")
        sub.set_defaults(verb=verb)
        if verb is login:
            sub.add_argument("runtime", help="the runtime to log in to, such as claude")
        if verb is change:
            sub.add_argument("attempt", help="RUN.ATTEMPT.LEASE")
        if verb is write_secret:
            sub.add_argument("name", help="such as ANTHROPIC_API_KEY")
        if verb is install:
            sub.add_argument(
                "runtimes",
                nargs="*",
                help="runtimes, such as claude (default: those that were installed before)",
            )
            sub.add_argument(
                "--version", default="", help="version to install (default: the newest that fits)"
            )
            sub.add_argument("--away", action="store_true", help="remove what was installed")
    return parser
