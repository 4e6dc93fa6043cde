"""Enters the MCP server into the configuration of another agent program, and takes it out again.

Each program has one file of its own. The change is computed as text first, so that it can be shown.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pancode.errors import ConfigError, UsageError

Json = dict[str, Any]
NAME = "pancode"
HANDED_ON = ("PANCODE_HOME",)
"""Variables that the server needs, too; some programs hand none of their own on."""
_OURS = re.compile(r"[ \t]*\[[ \t]*mcp_servers[ \t]*\.[ \t]*(pancode|\"pancode\"|'pancode')[ \t]*[.\]]")
_HEADER = re.compile(r"[ \t]*\[")
"""Matches the start of a table of TOML, ours and any."""


@dataclass(frozen=True, slots=True)
class ClientProgram:
    """The place of a program's MCP servers. `variable`: moves the folder that holds the file."""

    name: str
    file: str
    """Below the home folder."""
    key: str = "mcpServers"
    variable: str = ""
    moved: str = ""
    """Below the folder that the variable names."""

    def place(self, home: Path, environ: Mapping[str, str]) -> Path:
        folder = environ.get(self.variable) if self.variable else None
        return Path(folder) / self.moved if folder else home / self.file

    def entry(self, argv: Sequence[str], variables: Mapping[str, str]) -> Json:
        """The program's entry for a server on standard input and output."""
        if self.name == "opencode":
            entry: Json = {"type": "local", "command": list(argv), "enabled": True}
            return {**entry, "environment": dict(variables)} if variables else entry
        entry = {"command": argv[0], "args": list(argv[1:])}
        if variables:
            entry["env"] = dict(variables)
        if self.name == "claude":
            return {"type": "stdio", **entry}
        return {"type": "local", **entry, "tools": ["*"]} if self.name == "copilot" else entry


PROGRAMS = {
    program.name: program
    for program in (
        ClientProgram("claude", ".claude.json", variable="CLAUDE_CONFIG_DIR", moved=".claude.json"),
        ClientProgram("codex", ".codex/config.toml", variable="CODEX_HOME", moved="config.toml"),
        ClientProgram("gemini", ".gemini/settings.json"),
        ClientProgram(
            "opencode", ".config/opencode/opencode.json", "mcp", "XDG_CONFIG_HOME", "opencode/opencode.json"
        ),
        ClientProgram(
            "copilot", ".copilot/mcp-config.json", variable="COPILOT_HOME", moved="mcp-config.json"
        ),
        ClientProgram("qwen", ".qwen/settings.json"),
    )
}


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """A file as it is and as it is to be. `before` None: there is no file yet."""

    file: Path
    before: str | None
    after: str

    @property
    def needed(self) -> bool:
        return (self.before or "") != self.after

    def diff(self) -> str:
        """As `diff -u` shows it."""
        name = str(self.file)
        old, new = (self.before or "").splitlines(keepends=True), self.after.splitlines(keepends=True)
        lines = difflib.unified_diff(old, new, name, name)
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)

    def write(self) -> None:
        """The whole file at once, with the rights that it had; a link's target is what is written.

        ConfigError where the program has written it meanwhile.
        """
        if _read(self.file) != self.before:
            raise ConfigError(
                f"{self.file} has changed meanwhile; nothing was written", fix="give the command again"
            )
        real = Path(os.path.realpath(self.file))
        real.parent.mkdir(parents=True, exist_ok=True)
        mode = real.stat().st_mode & 0o777 if self.before is not None else 0o600
        handle, name = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(self.after)
        os.chmod(name, mode)
        os.replace(name, real)


def change_of(program: str, argv: Sequence[str], home: Path, environ: Mapping[str, str]) -> ConfigChange:
    """Enter the server with this command line; an empty one takes it out. UsageError, ConfigError."""
    known = PROGRAMS.get(program)
    if known is None:
        raise UsageError(
            f"PanCode knows no configuration of {program!r}", fix=f"one of: {', '.join(PROGRAMS)}"
        )
    file = known.place(home, environ)
    before = _read(file)
    kept = {name: environ[name] for name in HANDED_ON if environ.get(name)}
    write = _toml if file.suffix == ".toml" else _json
    return ConfigChange(file, before, write(known, before, _Wanted(file, argv, kept)))


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{file} cannot be read", why=str(exc), fix=f"ls -l {file}") from exc


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The file, and what our entry is to say; no `argv`: there is to be none."""

    file: Path
    argv: Sequence[str]
    variables: Mapping[str, str]


def _json(program: ClientProgram, before: str | None, wanted: _Wanted) -> str:
    argv = wanted.argv
    try:
        document = json.loads(before) if before and before.strip() else {}
    except ValueError as exc:
        raise _unreadable(wanted.file, exc) from exc
    servers = document.get(program.key, {}) if isinstance(document, dict) else None
    if not isinstance(servers, dict):
        raise _unreadable(wanted.file, ValueError(f"{program.key} is no object"))
    if not argv and NAME not in servers:
        return before or ""
    kept = {name: entry for name, entry in servers.items() if name != NAME}
    entries = {**kept, NAME: program.entry(argv, wanted.variables)} if argv else kept
    return json.dumps({**document, program.key: entries}, indent=2, ensure_ascii=False) + "\n"


def _toml(program: ClientProgram, before: str | None, wanted: _Wanted) -> str:
    """Our own table is replaced as text: comments stay. ConfigError unless all other settings stay, too."""
    text, argv = before or "", wanted.argv
    after = rest = _without_ours(text)
    if argv:
        command, args = json.dumps(argv[0]), json.dumps(list(argv[1:]))
        gap = "" if not rest or rest.endswith("\n\n") else "\n" if rest.endswith("\n") else "\n\n"
        after = f"{rest}{gap}[mcp_servers.{NAME}]\ncommand = {command}\nargs = {args}\n"
        pairs = ", ".join(f"{name} = {json.dumps(value)}" for name, value in wanted.variables.items())
        after += f"env = {{ {pairs} }}\n" if pairs else ""
    try:
        same = _others(text) == _others(after)
    except tomllib.TOMLDecodeError as exc:
        raise _unreadable(wanted.file, exc) from exc
    if not same:
        raise _unreadable(wanted.file, ValueError("our entry cannot be told apart from the others"))
    return after


def _without_ours(text: str) -> str:
    """Without our tables; blank lines and comments before the next table belong to that."""
    kept: list[str] = []
    dropped: list[str] = []
    ours = False
    for line in text.splitlines(keepends=True):
        if _HEADER.match(line):
            if ours:
                kept += _trailing(dropped)
            ours, dropped = bool(_OURS.match(line)), []
        (dropped if ours else kept).append(line)
    return "".join([*kept, *_trailing(dropped)])


def _trailing(lines: list[str]) -> list[str]:
    """The comments at the end."""
    first = len(lines)
    while first and (not lines[first - 1].strip() or lines[first - 1].lstrip().startswith("#")):
        first -= 1
    while first < len(lines) and not lines[first].strip():
        first += 1
    return lines[first:]


def _others(text: str) -> Json:
    """All that a file says but our entry."""
    document = tomllib.loads(text)
    servers = {name: one for name, one in document.pop("mcp_servers", {}).items() if name != NAME}
    return {**document, "mcp_servers": servers}


def _unreadable(file: Path, why: Exception) -> ConfigError:
    return ConfigError(
        f"{file} is not written as its program writes it; nothing was changed",
        why=str(why),
        fix=f"mend {file}, or enter the server by hand: command pancode, argument mcp",
    )
