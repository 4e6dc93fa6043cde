"""Adds the MCP server to another agent program and removes it, with that program's own commands."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pancode.kernel.errors import ConfigError, UsageError

NAME = "pancode"
HANDED_ON = ("PANCODE_HOME",)
"""Variables that the entry passes to the server, because some agent programs pass on none of their own."""


@dataclass(frozen=True, slots=True)
class ClientProgram:
    """One agent program: its commands for MCP servers, and the file in which it stores them."""

    name: str
    file: str
    """The file's path, relative to the home folder."""
    section: str = "mcpServers"
    """The section of the file that contains the servers."""
    variable: str = ""
    """An environment variable that changes the file's folder."""
    moved: str = ""
    """The file's path, relative to the folder in that variable."""
    scope: tuple[str, ...] = ()
    """The option that selects the user's own settings."""
    removes: bool = True
    """Whether the agent program has a command to remove a server."""
    splits: bool = False
    """Whether `mcp add` takes the server's program before `--`, and only its arguments after it."""

    def place(self, home: Path, environ: Mapping[str, str]) -> Path:
        folder = environ.get(self.variable) if self.variable else None
        file = Path(folder) / self.moved if folder else home / self.file
        other = file.with_suffix(".jsonc")  # OpenCode creates this file if the user has no other
        return other if other.exists() else file

    def add_command(self, argv: Sequence[str], variables: Mapping[str, str]) -> list[str]:
        """Return the program's own command that adds the server."""
        env = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
        command = [self.name, "mcp", "add", *self.scope, NAME]
        if self.splits:
            return [*command, argv[0], *env, "--", *argv[1:]]
        return [*command, *env, "--", *argv]

    def remove_command(self) -> list[str]:
        """Return the program's own command that removes the server; empty if it has none."""
        return [self.name, "mcp", "remove", *self.scope, NAME] if self.removes else []

    def lines(self, argv: Sequence[str], variables: Mapping[str, str]) -> str:
        """Return the server's entry as the program's file contains it."""
        if self.name == "codex":
            return _format_toml(self.section, argv, variables)
        text = json.dumps(
            {self.section: {NAME: self._make_entry(argv, variables)}}, indent=2, ensure_ascii=False
        )
        return f"{text}\n"

    def _make_entry(self, argv: Sequence[str], variables: Mapping[str, str]) -> dict[str, Any]:
        if self.name == "opencode":
            local = {"type": "local", "command": list(argv), "enabled": True}
            return {**local, "environment": dict(variables)} if variables else local
        entry: dict[str, Any] = {"command": argv[0], "args": list(argv[1:])}
        if variables:
            entry["env"] = dict(variables)
        if self.name == "claude":
            return {"type": "stdio", **entry}
        return {"type": "local", **entry, "tools": ["*"]} if self.name == "copilot" else entry


_OF_USER = ("--scope", "user")
PROGRAMS = {
    program.name: program
    for program in (
        ClientProgram(
            "claude", ".claude.json", variable="CLAUDE_CONFIG_DIR", moved=".claude.json", scope=_OF_USER
        ),
        ClientProgram(
            "codex", ".codex/config.toml", "mcp_servers", variable="CODEX_HOME", moved="config.toml"
        ),
        ClientProgram("gemini", ".gemini/settings.json", scope=_OF_USER, splits=True),
        ClientProgram(
            "opencode",
            ".config/opencode/opencode.json",
            "mcp",
            "XDG_CONFIG_HOME",
            "opencode/opencode.json",
            removes=False,
        ),
        ClientProgram(
            "copilot", ".copilot/mcp-config.json", variable="COPILOT_HOME", moved="mcp-config.json"
        ),
        ClientProgram("qwen", ".qwen/settings.json", scope=_OF_USER, splits=True),
    )
}


def program_of(name: str) -> ClientProgram:
    """Return the agent program with this name. Raises UsageError, which lists the supported ones."""
    known = PROGRAMS.get(name)
    if known is None:
        raise UsageError(f"agent program {name!r} is not supported", fix=f"one of: {', '.join(PROGRAMS)}")
    return known


def handed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """Return those variables of `environ` that the entry passes to the MCP server."""
    return {name: environ[name] for name in HANDED_ON if environ.get(name)}


def run_command(program: str, command: Sequence[str], fix: str) -> str:
    """Run an agent program's own command, and return its output. Raises ConfigError with that output if the
    command fails. `program`: the path of the program's executable."""
    shown = shlex.join(command)
    try:
        done = subprocess.run(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    except OSError as exc:
        raise ConfigError(f"cannot start {command[0]}", why=str(exc), fix=fix) from exc
    output = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode:
        raise ConfigError(f"{shown} failed with exit status {done.returncode}", why=output[-800:], fix=fix)
    return output


def _format_toml(section: str, argv: Sequence[str], variables: Mapping[str, str]) -> str:
    lines = [f"[{section}.{NAME}]", f"command = {json.dumps(argv[0])}", f"args = {json.dumps(argv[1:])}"]
    pairs = ", ".join(f"{name} = {json.dumps(value)}" for name, value in variables.items())
    lines += [f"env = {{ {pairs} }}"] if pairs else []
    return "".join(f"{line}\n" for line in lines)
