"""Reads a task of the scripted stand-in as a list of acts. Standard library only; forms: see program.py."""

from __future__ import annotations

import json
import shlex

MARK = "#!scripted"


class BadScript(Exception):
    """The task is not of the documented form."""


def parse(task: str) -> list[list[str]] | None:
    """The acts as lists of words; None for prose."""
    text = task.strip()
    if text.startswith(MARK):
        return [words for line in text.splitlines()[1:] if (words := split(line))]
    if not text.startswith(("[", "{")):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None  # prose may begin with a bracket
    acts = value.get("acts") if isinstance(value, dict) else value
    if not isinstance(acts, list):
        raise BadScript('the object has no list "acts"')
    return [one(act) for act in acts]


def one(act: object) -> list[str]:
    """One act of a JSON script."""
    if isinstance(act, str):
        return split(act)
    if isinstance(act, list) and act:
        return [word if isinstance(word, str) else json.dumps(word) for word in act]
    raise BadScript(f"not an act: {act!r}")


def split(line: str) -> list[str]:
    """One act of a line script."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError as exc:
        raise BadScript(f"{exc}: {line}") from exc
    return [word.replace("\\n", "\n").replace("\\t", "\t") for word in words]


def prose(task: str, read_only: bool) -> list[list[str]]:
    """The script for a task in plain words: a small edit, the same for the same words."""
    words = " ".join(task.split())[:200] or "nothing to do"
    if read_only:
        return [["say", f"Looked at: {words}"], ["answer", f"Read the task: {words}"]]
    line = ["append", "NOTES.md", f"- {words}\n"]
    return [["say", "I note it in NOTES.md."], line, ["answer", f"Noted in NOTES.md: {words}"]]
