"""`pancode mcp`: the fleet as tools for other agent programs, and adding it to them with their commands."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pancode.interfaces.cli.parameters import Argument, Face, Json, option, verb
from pancode.interfaces.cli.terminal import escape_line, safe_block
from pancode.kernel.errors import ConfigError, ExitCode, UsageError

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


Program = Annotated[str, Argument(metavar="PROGRAM", help=f"One of: {', '.join(PROGRAMS)}.")]
DryRun = Annotated[bool, option("Only show the change, without making it.", "--dry-run")]
Yes = Annotated[bool, option("Make the change without a question.", "--yes", "-y")]
_TOOLS = (
    "More groups of tools to offer, separated by commas: workflows, schedules, sessions, settings, choices, "
    "proof, history, or all."
)
Tools = Annotated[str, option(_TOOLS, "--tools", "GROUPS")]


@verb("mcp serve", "pancode mcp serve", "pancode mcp serve --tools workflows,schedules")
def serve(*, tools: Tools = "") -> int:
    """Serve tools on standard input and output. An agent program starts this command itself."""
    from pancode.interfaces.mcp.server import serve as answer

    if sys.stdin.isatty():
        way = "to register the server in Claude Code: pancode mcp install claude"
        sys.stderr.write(f"this command is for programs, not for users; {way}\n")
    answer(_split_names(tools))
    return ExitCode.DONE


@verb(
    "mcp install",
    "pancode mcp install claude",
    "pancode mcp install claude --tools workflows",
    "pancode mcp install codex --dry-run",
)
def install(
    program: Program, *, tools: Tools = "", dry_run: DryRun = False, yes: Yes = False, face: Json
) -> int:
    """Add this MCP server to another agent program, with that program's own command.

    If the program is not on PATH, print the lines to add and the file for them.
    """
    known = program_of(program)
    found = shutil.which("pancode")
    argv = [os.path.abspath(found)] if found else [sys.executable, "-m", "pancode"]
    argv += ["mcp", *(["--tools", tools] if _split_names(tools) else [])]
    variables = handed_on(os.environ)
    fix = f"if the entry already exists: pancode mcp uninstall {program}, then run this command again"
    command, lines = known.add_command(argv, variables), known.lines(argv, variables)
    return _apply(face, known, command, "add to", lines, fix, dry_run=dry_run, approved=yes)


@verb("mcp uninstall", "pancode mcp uninstall claude")
def uninstall(program: Program, *, dry_run: DryRun = False, yes: Yes = False, face: Json) -> int:
    """Remove this MCP server from another agent program, with that program's own command."""
    known = program_of(program)
    lines, fix = (
        f"the entry {NAME} below {known.section}\n",
        (f"see the registered servers: {program} mcp list"),
    )
    command = known.remove_command()
    return _apply(face, known, command, "remove from", lines, fix, dry_run=dry_run, approved=yes)


def _split_names(tools: str) -> list[str]:
    return [name for name in tools.split(",") if name]


def _apply(
    face: Face,
    known: ClientProgram,
    command: Sequence[str],
    act: str,
    lines: str,
    fix: str,
    *,
    dry_run: bool,
    approved: bool,
) -> int:
    """Run the program's own command to change its settings; if it has none, show what the user must edit."""
    file, program = str(known.place(Path.home(), os.environ)), shutil.which(known.name)
    answer = {"program": known.name, "command": [], "file": file, "lines": lines, "changed": False}
    if not command or program is None:
        face.note(f"{known.name} {'is not on PATH' if program is None else 'has no command for this'}")
        return face.end(ExitCode.DONE, answer, lambda: safe_block(f"{act} {file}:\n{lines}"))
    shown = escape_line(shlex.join(command))
    answer |= {"command": list(command), "changed": not dry_run}
    if dry_run:
        return face.end(ExitCode.DONE, answer, lambda: f"would run: {shown}\n")
    if not approved and not face.confirm(f"Run {shown}?", "--yes"):
        return ExitCode.REFUSED
    text = safe_block(f"{run_command(program, command, fix)}\n") + "restart the program to apply the change\n"
    return face.end(ExitCode.DONE, answer, lambda: text)
