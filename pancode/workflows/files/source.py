"""Reads the text of a workflow as YAML, JSON, JSONL or lines, into plain values with line numbers."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from pathlib import PurePath

from pancode.kernel.documents import Document, parse_document
from pancode.kernel.errors import ConfigError

MOST_BYTES = 8_000_000
TASKS = "tasks"
"""The key that stands for a list at the top of a file: it is a list of tasks."""
_LIST = re.compile(r"(?:\s*(?:#.*)?\n)*-(?:\s|$)")
_KEY = re.compile(r"^(?:tasks|matrix|steps|defaults)\s*:(?:\s|$)", re.MULTILINE)


class FileFormat(StrEnum):
    YAML = "yaml"
    JSON = "json"
    JSONL = "jsonl"
    LINES = "lines"


_BY_SUFFIX = {
    ".yaml": FileFormat.YAML,
    ".yml": FileFormat.YAML,
    ".json": FileFormat.JSON,
    ".jsonl": FileFormat.JSONL,
    ".ndjson": FileFormat.JSONL,
    ".txt": FileFormat.LINES,
}


def read_source(text: str, place: str) -> tuple[Document, list[ConfigError]]:
    """Return the values, and an error per unreadable line of a file with one task per line. ConfigError."""
    match format_of(text, place):
        case FileFormat.JSON:
            return _read_json(text, place), []
        case FileFormat.JSONL:
            tasks: list[object] = []
            lines: dict[str, int] = {}
            wrong: list[ConfigError] = []
            for number, line in enumerate(text.split("\n"), start=1):
                if not line.strip():
                    continue
                try:
                    value = json.loads(line, parse_constant=_no_number)
                except (ValueError, RecursionError) as exc:
                    fix = "write one JSON string or object on each line"
                    wrong.append(ConfigError(f"{place}:{number}: not valid JSON", why=str(exc), fix=fix))
                    continue
                lines[f"{TASKS}.{len(tasks)}"] = number
                tasks.append(value)
            return Document(place, {TASKS: tasks}, lines), wrong
        case FileFormat.LINES:
            return _read_lines(text, place), []
        case _:
            return parse_document(text, place, TASKS), []


def format_of(text: str, place: str) -> FileFormat:
    """Return the format according to the file's name, or else to the beginning of its text."""
    known = _BY_SUFFIX.get(PurePath(place).suffix.lower())
    if known is not None:
        return known
    if text.lstrip()[:1] in ("{", "["):
        # The text is JSONL if its first line is complete and others follow; a `{...}` in YAML counts as YAML.
        first, _, rest = text.strip().partition("\n")
        if rest.strip() and _is_json(first):
            return FileFormat.JSONL
        return FileFormat.JSON if _is_json(text) else FileFormat.YAML
    if text.lstrip()[:1] == '"' and _is_json(text.strip().partition("\n")[0]):
        return FileFormat.JSONL
    return FileFormat.YAML if _LIST.match(text) or _KEY.search(text) else FileFormat.LINES


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _read_json(text: str, place: str) -> Document:
    """Parse JSON; the YAML reader (without tabs and surrogates) finds the line numbers."""
    try:
        data = json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as exc:
        what = f"{place}:{exc.lineno}: not valid JSON"
        raise ConfigError(what, why=exc.msg, fix=f"check line {exc.lineno} of {place}") from exc
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{place}:1: not valid JSON", why=str(exc)) from exc
    lines = parse_document(text.replace("\t", " "), place, TASKS).lines
    if isinstance(data, list):
        data = {TASKS: data}
    return Document(place, data or {}, lines)


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is not a JSON number")


def _read_lines(text: str, place: str) -> Document:
    """Read a file in which each line is a task; empty lines and lines that begin with # are skipped."""
    tasks: list[object] = []
    lines: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        task = line.strip()
        if task and not task.startswith("#"):
            lines[f"{TASKS}.{len(tasks)}"] = number
            tasks.append(task)
    return Document(place, {TASKS: tasks} if tasks else {}, lines)
