"""Reads a skill (a folder with SKILL.md) and checks it against the open specification."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from node_agent.wire.prompt_commands import commands_in
from pancode.kernel.formatting import format_bytes, reveal_invisible
from pancode.skills.copies import FileMark, mark_of, tree_hash

FILE = "SKILL.md"
MOST_FILES, MOST_BYTES, MOST_TEXT, MOST_FRONT = 200, 4 << 20, 256 << 10, 16 << 10
LONG_BODY = 500
"""The number of lines up to which a skill causes no warning, as the specification recommends."""
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_FRONT = re.compile(r"---[ \t]*\r?\n(.*?\n)?---[ \t]*(?:\r?\n|$)(.*)", re.S)
_KNOWN = {"name", "description", "license", "compatibility", "metadata", "allowed-tools"}
_LONGEST = {"name": 64, "description": 1024, "compatibility": 500}
POWERS = ("gives_tools", "runs")
"""Codes of findings on power: a skill lets agents use tools without asking, or a part of it runs
automatically."""
_EMOJI = re.compile("(?<=[^\x00-\x7f])[\ufe0f\u200d]")
"""Two characters that join and style emoji; elsewhere they count as hidden characters."""


@dataclass(frozen=True, slots=True)
class SkillFile:
    """The bytes of a file, and whether it is executable."""

    data: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True)
class SkillFinding:
    """A problem of a skill. A skill with an error is not given to agents; a warning is only shown."""

    error: bool
    code: str
    what: str

    def shape(self) -> dict[str, str]:
        return {"level": "error" if self.error else "warning", "code": self.code, "what": self.what}


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill as in its source. `name`: the folder's name. `files`: by path below the folder, with `/`."""

    name: str
    files: Mapping[str, SkillFile]
    description: str
    body: str
    findings: tuple[SkillFinding, ...]
    front: str = ""
    """The raw front matter of SKILL.md."""

    @property
    def powers(self) -> tuple[SkillFinding, ...]:
        """Return the findings about what the skill lets agents do or makes programs run automatically."""
        return tuple(finding for finding in self.findings if finding.code in POWERS)

    @property
    def is_sound(self) -> bool:
        return not any(finding.error for finding in self.findings)

    @property
    def marks(self) -> dict[str, FileMark]:
        """Return the SHA-256 and the executable flag of each file by path; copies are compared by these."""
        return {path: mark_of(file.data, file.executable) for path, file in self.files.items()}

    @property
    def digest(self) -> str:
        return tree_hash(self.marks)

    @property
    def scripts(self) -> list[str]:
        """Return the paths of files that a program may run."""
        return sorted(p for p, file in self.files.items() if file.executable or p.startswith("scripts/"))


def make_error(code: str, what: str) -> SkillFinding:
    return SkillFinding(True, code, what)


def is_name(text: str) -> bool:
    """Whether the text is a valid skill name: at most 64 lowercase letters, digits and single hyphens."""
    return len(text) <= _LONGEST["name"] and _NAME.fullmatch(text) is not None


def made_of(name: str, files: Mapping[str, SkillFile], found: tuple[SkillFinding, ...] = ()) -> Skill:
    """Return the checked skill with these files. `found`: findings on unreadable files (links, sizes)."""
    findings = [*found, *_of_files(files)]
    front, body = "", ""
    if FILE not in files:
        if not any(finding.code == "too_big" for finding in found):
            findings.append(make_error("no_skill_file", f"{FILE} not found in the directory"))
        return Skill(name, files, "", "", tuple(findings))
    try:
        text = files[FILE].data.decode("utf-8")
    except UnicodeDecodeError as exc:
        findings.append(make_error("not_utf8", f"{FILE} is not UTF-8: byte {exc.start}"))
        return Skill(name, files, "", "", tuple(findings))
    parts = _FRONT.match(text)
    if parts is None:
        what = f"{FILE} does not begin with front matter: a line `---`, its fields, a line `---`"
        findings.append(make_error("no_front_matter", what))
        return Skill(name, files, "", text, tuple(findings))
    front, body = parts[1] or "", parts[2]
    fields = _parse_fields(front, findings)
    if fields is not None:
        findings += _of_fields(name, fields)
        findings += _of_powers(fields)
    findings += [*_of_body(body), *_of_commands(files)]
    description = fields.get("description") if fields is not None else None
    return Skill(
        name, files, description.strip() if isinstance(description, str) else "", body, tuple(findings), front
    )


def parse_definition(name: str, file: SkillFile) -> Skill:
    """Return a slash command or an agent definition, which is a single file and may lack front matter."""
    findings = list(_of_files({name: file}))
    try:
        text = file.data.decode("utf-8")
    except UnicodeDecodeError as exc:
        return Skill(
            name, {}, "", "", (*findings, make_error("not_utf8", f"{name} is not UTF-8: byte {exc.start}"))
        )
    parts = _FRONT.match(text)
    front, body = (parts[1] or "", parts[2]) if parts is not None else ("", text)
    fields = (_parse_fields(front, findings) if front else None) or {}
    findings += [*_of_powers(fields), *_of_body(body), *_of_commands({name: file})]
    return Skill(name, {"": file}, str(fields.get("description") or ""), body, tuple(findings), front)


def _parse_fields(front: str, findings: list[SkillFinding]) -> Mapping[str, Any] | None:
    if len(front) > MOST_FRONT:
        findings.append(
            make_error("front_too_long", f"the front matter is longer than {format_bytes(MOST_FRONT)}")
        )
        return None
    try:
        fields = yaml.safe_load(front)
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 2 if exc.problem_mark else 2
        findings.append(
            make_error("bad_front_matter", f"{FILE}:{line}: the front matter is not YAML: {exc.problem}")
        )
        return None
    except (yaml.YAMLError, ValueError, RecursionError):
        findings.append(make_error("bad_front_matter", "the front matter is not valid YAML"))
        return None
    if not isinstance(fields, dict) or not all(isinstance(key, str) for key in fields):
        findings.append(make_error("bad_front_matter", "the front matter is not a list of `field: value`"))
        return None
    return fields


def _of_fields(name: str, fields: Mapping[str, Any]) -> Iterator[SkillFinding]:
    for key in ("name", "description"):
        if key not in fields:
            yield make_error(f"no_{key}", f"the field {key} is missing")
    for key in ("name", "description", "license", "compatibility"):
        value = fields.get(key, "-")
        if not isinstance(value, str):
            yield make_error(f"bad_{key}", f"{key} is not text; quote it")
        elif not value.strip():
            yield make_error(f"bad_{key}", f"{key} is empty")
        elif len(value) > _LONGEST.get(key, MOST_FRONT):
            yield make_error(
                f"bad_{key}", f"{key} has {len(value)} characters; at most {_LONGEST[key]} are allowed"
            )
    named = fields.get("name")
    if isinstance(named, str) and not is_name(named):
        yield make_error(
            "bad_name",
            f"{named[:80]!r} is not a valid name: use lowercase letters, digits and single hyphens",
        )
    if isinstance(named, str) and named != name:
        yield make_error(
            "other_name", f"the directory is named {name!r}, but the skill is named {named[:80]!r}"
        )
    metadata = fields.get("metadata", {})
    if not isinstance(metadata, dict) or not all(
        isinstance(word, str | int | float | bool) for pair in metadata.items() for word in pair
    ):
        yield make_error("bad_metadata", "metadata is not a list of `key: value` with plain values")
    if not isinstance(fields.get("allowed-tools", ""), str):
        yield SkillFinding(False, "tools_not_text", "allowed-tools is not text; some programs refuse a list")
    if unknown := sorted(set(fields) - _KNOWN - {"hooks"}):
        what = (
            "not in the specification; some programs use them, others refuse them: "
            f"{', '.join(unknown)[:200]}"
        )
        yield SkillFinding(False, "unknown_field", what)


def _of_powers(fields: Mapping[str, Any]) -> Iterator[SkillFinding]:
    if given := fields.get("allowed-tools"):
        what = f"the skill lets an agent use these without approval: {_in_short(given)}"
        yield SkillFinding(False, "gives_tools", what)
    if mode := fields.get("permissionMode"):
        yield SkillFinding(
            False, "gives_tools", f"it sets how an agent asks for permission: {_in_short(mode)}"
        )
    for key in ("hooks", "mcpServers"):
        if runs := fields.get(key):
            what = f"the skill has {key}, which some programs run automatically: {_in_short(runs)}"
            yield SkillFinding(False, "runs", what)


def _in_short(value: object) -> str:
    """Return a field's value as one line, with hidden characters made visible."""
    return reveal_invisible(" ".join(str(value).split()))[:200]


def _of_body(body: str) -> Iterator[SkillFinding]:
    if not body.strip():
        yield make_error("no_body", f"{FILE} has no text after its front matter")
    if (lines := body.count("\n")) > LONG_BODY:
        what = f"{lines} lines; move rarely needed text to a separate file"
        yield SkillFinding(False, "long_body", what)


def _of_commands(files: Mapping[str, SkillFile]) -> Iterator[SkillFinding]:
    for path, file in sorted(files.items()):
        if commands := commands_in(path, file.data):
            runs = _in_short("; ".join(commands))
            yield SkillFinding(
                False, "runs", f"some programs run these commands when they read {path}: {runs}"
            )


def _of_files(files: Mapping[str, SkillFile]) -> Iterator[SkillFinding]:
    """Yield an error for text that looks different to a user and an agent: hidden or reversed characters."""
    for path, file in sorted(files.items()):
        if reveal_invisible(path) != path or not path.isprintable():
            yield make_error(
                "hidden_characters", f"a file's name has hidden characters: {reveal_invisible(path)!r}"
            )
        try:
            text = file.data.decode("utf-8")
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            continue
        for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
            plain = _EMOJI.sub("", line)
            if (shown := reveal_invisible(plain)) != plain:
                first = shown[shown.index("<U+") :][:8].rstrip(">") + ">"
                yield make_error("hidden_characters", f"{path}:{number} has an invisible character: {first}")
                break
