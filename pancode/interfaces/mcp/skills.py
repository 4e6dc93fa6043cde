"""Puts our skill where agent programs look for skills, and takes it away again.

Two folders reach all of them: `.agents/skills` and `.claude/skills`. Both get the same bytes.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from pancode.kernel.errors import ConfigError, ConflictError

NAME, FILE = "pancode", "SKILL.md"
FOLDERS = (".agents/skills", ".claude/skills")
_MARK = f"name: {NAME}\n"


@dataclass(frozen=True, slots=True)
class SkillChange:
    """A file as it is, and as it is to be; None: there is no file."""

    file: Path
    before: str | None
    after: str | None

    @property
    def needed(self) -> bool:
        return self.before != self.after

    def diff(self) -> str:
        """The change as `diff -u` shows it."""
        old, new = (self.before or "").splitlines(True), (self.after or "").splitlines(True)
        return "".join(difflib.unified_diff(old, new, str(self.file), str(self.file)))

    def make(self) -> None:
        """Write or remove the file. ConfigError where that cannot be done."""
        try:
            if self.after is None:
                self.file.unlink()
                if not any(self.file.parent.iterdir()):
                    self.file.parent.rmdir()
                return
            self.file.parent.mkdir(parents=True, exist_ok=True)
            draft = self.file.with_name(f".{FILE}.{os.getpid()}")
            draft.write_text(self.after, encoding="utf-8")
            draft.replace(self.file)
        except OSError as exc:
            fix = f"ls -ld {self.file.parent}"
            raise ConfigError(f"{self.file} cannot be written", why=str(exc), fix=fix) from exc


def skill_text() -> str:
    return files("pancode.interfaces.mcp").joinpath("skill", NAME, FILE).read_text(encoding="utf-8")


def changes(top: Path, *, install: bool) -> list[SkillChange]:
    """Return the changes below a home or a repository. ConflictError for such a skill that is not ours."""
    return [_change(top / folder / NAME / FILE, install) for folder in FOLDERS]


def _change(file: Path, install: bool) -> SkillChange:
    try:
        before = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        before = None
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{file} cannot be read", why=str(exc), fix=f"ls -l {file}") from exc
    if before is not None and (_MARK not in before or "PanCode" not in before):
        raise ConflictError(f"{file} is not ours", fix=f"move it away: mv {file.parent} {file.parent}.old")
    return SkillChange(file, before, skill_text() if install else None)
