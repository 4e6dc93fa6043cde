"""Fills a task with what earlier steps have left: each place once, and literally."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pancode.errors import UsageError

INPUT, ORIGINAL = "INPUT", "ORIGINAL"
_PLACE = re.compile(
    r"\{\{\s*steps\.(?P<step>[^\s.{}]+)\.(?P<what>answer|commit|files\.(?P<path>[^\s{}]+))\s*\}\}"
    r"|\$(?P<word>INPUT|ORIGINAL)(?![A-Za-z0-9_])"
)
_ANY = re.compile(r"\{\{\s*steps\b[^{}]*\}\}")
_FORMS = "{{ steps.NAME.answer }}, {{ steps.NAME.commit }} or {{ steps.NAME.files.PATH }}"


@dataclass(frozen=True, slots=True)
class TemplatePlace:
    """One place of a task that is to be filled. `step` is empty for `$INPUT` and `$ORIGINAL`."""

    step: str
    what: str
    """answer, commit, files, INPUT or ORIGINAL."""
    path: str = ""


def fill(text: str, value: Callable[[TemplatePlace], str]) -> str:
    """The text with every place filled. What is put in is not looked at again."""
    return _PLACE.sub(lambda found: value(_place(found)), text)


def places(text: str) -> Iterator[TemplatePlace]:
    """All places of a text, in their order."""
    return map(_place, _PLACE.finditer(text))


def first_task(text: str, task: str) -> str:
    """The task of a step that needs no other: `$INPUT` and `$ORIGINAL` are both the workflow's own."""
    return fill(text, lambda place: task)


def check_places(text: str, needed: dict[str, tuple[str, ...]]) -> None:
    """UsageError for a place that names nothing. `needed`: the files kept of each step it may name."""
    for found in _ANY.finditer(text):
        if _PLACE.fullmatch(found[0]) is None:
            raise UsageError(f"{found[0]} does not name a value", fix=f"write {_FORMS}", code="bad_workflow")
    for place in places(text):
        if place.step and place.step not in needed:
            known = ", ".join(sorted(needed)) or "none"
            raise UsageError(
                f"{{{{ steps.{place.step}.{place.what} }}}} names a step that this one does not need",
                why=f"it needs, directly or through others: {known}",
                fix=f"add {place.step} to its needs",
                code="bad_workflow",
            )
        kept = needed.get(place.step, ())
        if place.path and not any(is_kept(place.path, pattern) for pattern in kept):
            raise UsageError(
                f"{place.step} does not keep the file {place.path}, which a task names",
                why=f"it keeps: {', '.join(kept) or 'none'}",
                fix=f"add {place.path} to the files of {place.step}",
                code="bad_workflow",
            )


def is_kept(path: str, pattern: str) -> bool:
    """Whether a file's path fits a name or pattern; `*` also crosses folders."""
    return path == pattern or fnmatchcase(path, pattern)


def _place(found: re.Match[str]) -> TemplatePlace:
    word = found["word"]
    if word:
        return TemplatePlace("", word)
    path = found["path"] or ""
    return TemplatePlace(found["step"], "files" if path else found["what"], path)
