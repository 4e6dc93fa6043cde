"""Says how far the snapshot of the caller's own project is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pancode.cli.face import Face


class Snapshots:
    """`show` is for what `/v1/snapshots` answers; the same words are said once."""

    def __init__(self, face: Face, cwd: str) -> None:
        self._face = face
        self._mine = {str(folder) for folder in (Path(cwd), *Path(cwd).parents)} if cwd else set()
        self._last = ""

    def show(self, answer: dict[str, Any]) -> None:
        for one in answer.get("snapshots", []):
            words = taking(one["done"], one["of"])
            if one["project"] in self._mine and words != self._last:
                self._face.note(words)
                self._last = words


def taking(done: int, of: int) -> str:
    """`of` is 0 while the files are not counted yet."""
    return f"taking a snapshot: {done:,} of {of:,} files" if of else "taking a snapshot"
