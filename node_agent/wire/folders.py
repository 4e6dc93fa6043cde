"""Decides which folders and files of a checkout may be named: relative, plainly written, inside it."""

from __future__ import annotations

from itertools import combinations
from typing import Annotated

from pydantic import AfterValidator, Field

MAX_FOLDERS, MAX_LENGTH = 16, 200
MAX_REPORTS = 8
MAX_PLACE = 4000
"""Of a place, which is a path of the user's own: any characters that a path may have."""


def checked_folder(text: str) -> str:
    """The name of a folder below the checkout's top; ValueError that says what is wrong with it."""
    if not text.isprintable() or not 0 < len(text) <= MAX_LENGTH:
        raise ValueError(f"a folder's name has 1 to {MAX_LENGTH} printable characters")
    parts = text.split("/")
    if parts[0] == "" or parts[0] == "~":
        raise ValueError(f"{text!r} is not below the repository's top: write it as in `node_modules`")
    if not {"", ".", ".."}.isdisjoint(parts):
        raise ValueError(f"{text!r} is not written plainly: no `.`, no `..`, no / twice or at the end")
    if ".git" in (part.lower() for part in parts):
        raise ValueError(f"{text!r} is git's own")
    return text


def checked_place(text: str) -> str:
    """A run's folder below the checkout's top, empty for the top itself; ValueError as above."""
    if len(text) > MAX_PLACE or "\0" in text:
        raise ValueError(f"a place has at most {MAX_PLACE} characters, and no NUL")
    parts = text.split("/")
    if text and not {"", ".", ".."}.isdisjoint(parts):
        raise ValueError(f"{text!r} is not plainly below the top: no / at its ends, no `.`, no `..`")
    if ".git" in (part.lower() for part in parts):
        raise ValueError(f"{text!r} is git's own")
    return text


def checked_report(text: str) -> str:
    """The name of a file below the checkout's top, which a gate writes; ValueError as above."""
    if not 0 < len(text) <= MAX_LENGTH or not text.isprintable():
        raise ValueError(f"the name of a report has 1 to {MAX_LENGTH} printable characters")
    return checked_place(text)


def checked_reports(files: tuple[str, ...]) -> tuple[str, ...]:
    """All of them; ValueError also for too many, and for one that is named twice."""
    if len(files) > MAX_REPORTS:
        raise ValueError(f"a run has {MAX_REPORTS} reports at most")
    if len(set(files)) < len(files):
        raise ValueError("a report is named twice")
    return tuple(map(checked_report, files))


def _apart(folders: tuple[str, ...]) -> tuple[str, ...]:
    for one, other in combinations(sorted(folders), 2):
        if one == other or other.startswith(one + "/"):
            raise ValueError(f"{other!r} is named twice, as {one!r} is named too")
    return folders


Folder = Annotated[str, AfterValidator(checked_folder)]
Place = Annotated[str, AfterValidator(checked_place)]
Folders = Annotated[tuple[Folder, ...], Field(max_length=MAX_FOLDERS), AfterValidator(_apart)]
"""Folders that do not lie in one another."""
ReportFiles = Annotated[tuple[str, ...], AfterValidator(checked_reports)]
"""Files that the gates write about themselves."""
