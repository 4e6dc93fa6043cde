"""Enters the MCP server into the configuration of another agent program, and takes it out again.

Each program has one file of its own. The change is computed as text first, so that it can be shown. What is
taken out leaves the file byte for byte as it was before: the form of our entry tells what was added with it.
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

from pancode.kernel.errors import ConfigError, UsageError

Json = dict[str, Any]
NAME = "pancode"
HANDED_ON = ("PANCODE_HOME",)
"""Variables that the entry hands to the server; some programs hand on none of their own."""
_OURS = re.compile(r"[ \t]*\[[ \t]*mcp_servers[ \t]*\.[ \t]*(pancode|\"pancode\"|'pancode')[ \t]*[.\]]")
_HEADER = re.compile(r"[ \t]*\[")
"""Matches the start of a table of TOML, ours and any."""


@dataclass(frozen=True, slots=True)
class ClientProgram:
    """Where a program keeps its MCP servers. `variable`: a variable that moves the folder of the file."""

    name: str
    file: str
    """The file's path below the home folder."""
    key: str = "mcpServers"
    variable: str = ""
    moved: str = ""
    """The file's path below the folder that the variable names."""

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
    """A file as it is and as it is to be. None: there is no file."""

    file: Path
    before: str | None
    after: str | None

    @property
    def text(self) -> str:
        return self.after or ""

    @property
    def needed(self) -> bool:
        return self.before != self.after

    def diff(self) -> str:
        """The change as `diff -u` shows it."""
        name = str(self.file)
        old, new = ((one or "").splitlines(keepends=True) for one in (self.before, self.after))
        lines = difflib.unified_diff(old, new, name, name)
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)

    def write(self) -> None:
        """Write the whole file at once, with the rights that it had; of a link, the target is written.

        ConfigError where the program has written the file meanwhile.
        """
        if _read(self.file) != self.before:
            raise ConfigError(
                f"{self.file} has changed meanwhile; nothing was written", fix="give the command again"
            )
        real = Path(os.path.realpath(self.file))
        if self.after is None:
            real.unlink(missing_ok=True)
            return
        real.parent.mkdir(parents=True, exist_ok=True)
        mode = real.stat().st_mode & 0o777 if self.before is not None else 0o600
        handle, name = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(self.after)
        os.chmod(name, mode)
        os.replace(name, real)


def change_of(program: str, argv: Sequence[str], home: Path, environ: Mapping[str, str]) -> ConfigChange:
    """Return the change that enters the server, or removes it if `argv` is empty. UsageError, ConfigError."""
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
        return file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{file} cannot be read", why=str(exc), fix=f"ls -l {file}") from exc


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The file, and what our entry is to say; an empty `argv`: there is to be no entry."""

    file: Path
    argv: Sequence[str]
    variables: Mapping[str, str]


def _json(program: ClientProgram, before: str | None, wanted: _Wanted) -> str | None:
    text = before or ""
    try:
        document = json.loads(text) if text.strip() else {}
        servers = document.get(program.key, {}) if isinstance(document, dict) else None
        if not isinstance(servers, dict):
            raise ValueError(f"{program.key} is no object")
        if not wanted.argv:
            return _taken_out(text, program.key) if NAME in servers else before
        return _entered(text, program.key, program.entry(wanted.argv, wanted.variables), before is None)
    except ValueError as exc:
        raise _unreadable(wanted.file, exc) from exc


def _whole(key: str, entry: Any) -> str:
    """Return the text of a file that holds only our entry."""
    return json.dumps({key: {NAME: entry}}, indent=2, ensure_ascii=False)


def _entered(text: str, key: str, entry: Json, fresh: bool) -> str:
    """Return the text with our entry, written as the others are. `fresh`: there was no file; only then the
    text ends with a line break.
    """
    if not text.strip():
        return text + _whole(key, entry) + ("\n" if fresh else "")
    top = JsonObject.of(text, text.index("{"))
    servers = top.member(key)
    if servers is None:
        return top.with_member(key, {NAME: entry}, inner=" ")
    inside = JsonObject.of(text, servers.begin)
    ours = inside.member(NAME)
    if ours is None:
        return inside.with_member(NAME, entry, inner="")
    if json.loads(text[ours.begin : ours.end]) == entry:
        return text
    return text[: ours.begin] + _written(entry, ours.gap) + text[ours.end :]


def _taken_out(text: str, key: str) -> str | None:
    """Return the text without our entry, and without an object that came with it: its bracket has a blank."""
    top = JsonObject.of(text, text.index("{"))
    servers = top.member(key)
    assert servers is not None
    inside = JsonObject.of(text, servers.begin)
    ours = inside.member(NAME)
    assert ours is not None
    whole = _whole(key, json.loads(text[ours.begin : ours.end]))
    if text == f"{whole}\n":
        return None
    if text.lstrip() == whole:
        return text.removesuffix(whole)
    came = len(inside.members) == 1 and text[servers.begin + 1].isspace()
    return top.without(servers) if came else inside.without(ours)


@dataclass(frozen=True, slots=True)
class JsonMember:
    """A member of a JSON object. `gap`: the blanks before its name; the numbers are places in the text."""

    name: str
    gap: str
    name_at: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class JsonObject:
    """A JSON object as it stands in a text that was read already."""

    text: str
    begin: int
    members: tuple[JsonMember, ...]

    @classmethod
    def of(cls, text: str, begin: int) -> JsonObject:
        members: list[JsonMember] = []
        place = begin + 1
        while True:
            gap = _BLANK.match(text, place)
            assert gap is not None
            if text[gap.end()] == "}":
                return cls(text, begin, tuple(members))
            if text[gap.end()] == ",":
                place = gap.end() + 1
                continue
            name, after = _DECODER.raw_decode(text, gap.end())
            colon = _COLON.match(text, after)
            assert colon is not None
            _, end = _DECODER.raw_decode(text, colon.end())
            members.append(JsonMember(name, gap[0], gap.end(), colon.end(), end))
            place = end

    def member(self, name: str) -> JsonMember | None:
        return next((one for one in self.members if one.name == name), None)

    def with_member(self, name: str, value: Any, inner: str) -> str:
        """Add the member last, as others are written; `inner`: the blank that begins an object of one
        line."""
        if not self.members:
            entry = f"{json.dumps(name)}: {_marked(json.dumps(value, ensure_ascii=False), inner)}"
            return self.text[: self.begin + 1] + entry + self.text[self.begin + 1 :]
        last = self.members[-1]
        written = _written(value, last.gap)
        entry = f",{last.gap}{json.dumps(name)}: {written if chr(10) in written else _marked(written, inner)}"
        return self.text[: last.end] + entry + self.text[last.end :]

    def without(self, member: JsonMember) -> str:
        """Return the text without this member and its comma: the one before it, or behind a first one."""
        number = self.members.index(member)
        if number:
            return self.text[: self.members[number - 1].end] + self.text[member.end :]
        if len(self.members) == 1:
            return self.text[: member.name_at] + self.text[member.end :]
        return self.text[: member.name_at] + self.text[self.members[1].name_at :]


_DECODER = json.JSONDecoder()
_BLANK, _COLON = re.compile(r"[ \t\r\n]*"), re.compile(r"[ \t\r\n]*:[ \t\r\n]*")


def _marked(written: str, inner: str) -> str:
    return f"{{{inner}{written[1:]}" if inner else written


def _written(value: Any, gap: str) -> str:
    """Return the value as JSON: indented, on lines of its own, where the other members stand so."""
    if "\n" not in gap:
        return json.dumps(value, ensure_ascii=False)
    end = "\r\n" if "\r" in gap else "\n"
    indent = gap.rpartition("\n")[2]
    step = indent if indent and len(indent) <= 2 else "\t" if "\t" in indent else "  "
    return json.dumps(value, indent=step, ensure_ascii=False).replace("\n", f"{end}{indent}")


def _toml(program: ClientProgram, before: str | None, wanted: _Wanted) -> str | None:
    """Return the text with our table replaced; comments stay. ConfigError unless all other settings stay."""
    text, argv = before or "", wanted.argv
    try:
        after = before if not text else _without_ours(text)
        if argv:
            after = _with_ours(after, argv, wanted.variables)
        same = _others(text) == _others(after or "")
    except tomllib.TOMLDecodeError as exc:
        raise _unreadable(wanted.file, exc) from exc
    if not same:
        raise _unreadable(wanted.file, ValueError("our entry cannot be told apart from the others"))
    return after


def _with_ours(rest: str | None, argv: Sequence[str], variables: Mapping[str, str]) -> str:
    """Return the rest, a blank line and our table. It ends as the rest did, so that it can be undone."""
    command, args = json.dumps(argv[0]), json.dumps(list(argv[1:]))
    pairs = ", ".join(f"{name} = {json.dumps(value)}" for name, value in variables.items())
    ours = [f"[mcp_servers.{NAME}]", f"command = {command}", f"args = {args}"]
    ours += [f"env = {{ {pairs} }}"] if pairs else []
    ends = rest is None or rest.endswith("\n")
    gap = "" if not rest else "\n" if ends else "\n\n"
    return f"{rest or ''}{gap}{chr(10).join(ours)}{chr(10) if ends else ''}"


def _without_ours(text: str) -> str | None:
    """Return the text without our tables and the blank line that came with them; what stands before the next
    table belongs to that. None: the file came with our tables.
    """
    kept: list[str] = []
    dropped: list[str] = []
    ours = False
    for line in text.splitlines(keepends=True):
        if _HEADER.match(line):
            if ours:
                kept += _trailing(dropped)
            ours, dropped = bool(_OURS.match(line)), []
        (dropped if ours else kept).append(line)
    rest = "".join([*kept, *_trailing(dropped)])
    if not ours or _trailing(dropped):
        return rest
    if not rest:
        return None if text.endswith("\n") else ""
    if not text.endswith("\n"):
        return rest.removesuffix("\n\n")
    return rest[:-1] if rest.endswith("\n\n") else rest


def _trailing(lines: list[str]) -> list[str]:
    """Return the blank lines and comments at the end, without the first blank lines."""
    first = len(lines)
    while first and (not lines[first - 1].strip() or lines[first - 1].lstrip().startswith("#")):
        first -= 1
    while first < len(lines) and not lines[first].strip():
        first += 1
    return lines[first:]


def _others(text: str) -> Json:
    """Return everything that a file says, without our entry."""
    document = tomllib.loads(text)
    servers = {name: one for name, one in document.pop("mcp_servers", {}).items() if name != NAME}
    return {**document, "mcp_servers": servers}


def _unreadable(file: Path, why: Exception) -> ConfigError:
    return ConfigError(
        f"{file} is not written as its program writes it; nothing was changed",
        why=str(why),
        fix=f"mend {file}, or enter the server by hand: command pancode, argument mcp",
    )
