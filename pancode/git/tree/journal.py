"""Applies a landing's steps to the user's tree with a journal on disk: either all of them or none."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pancode.git.runner import GitRefusal
from pancode.git.tree.steps import FileIdentity, FileStep, missing_folders
from pancode.kernel.declared import from_json, to_json

Checkpoint = Callable[[str], None]
"""Called with a name before each change of the files; a test ends the process there."""


class TreeChanged(Exception):
    """The error that a file of the user's tree has changed since the landing was planned."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


@dataclass(frozen=True, slots=True)
class LandingJournal:
    """The journal of one landing: a folder on the tree's own file system.

    `new/` contains the files to install, `old/<number>` the files that they replace, `plan.json` the steps.
    `applying` is written before the first change of the tree, `done` after the last.
    """

    folder: Path
    top: Path
    checkpoint: Checkpoint

    @property
    def new(self) -> Path:
        return self.folder / "new"

    @property
    def exists(self) -> bool:
        return self.folder.is_dir()

    def create(self) -> None:
        self.folder.mkdir(mode=0o700)
        self.new.mkdir()
        (self.folder / "old").mkdir()

    def plan(self, steps: tuple[FileStep, ...]) -> tuple[FileStep, ...]:
        """Write the plan durably before any change; return the steps as they were written."""
        staged = tuple(self._stage(step) for step in steps)
        folders = missing_folders(self.top, staged)
        plan = {"top": str(self.top), "folders": folders, "steps": to_json(staged)}
        self._write("plan.json", json.dumps(plan))
        return staged

    def _stage(self, step: FileStep) -> FileStep:
        """Set the final permissions of a file to install; return the step with the identity of that file."""
        if not step.new:
            return step
        path = os.path.join(self.new, step.path)
        seen = os.lstat(path)
        if stat.S_ISREG(seen.st_mode):
            os.chmod(path, _choose_mode(step))
            _sync(path)
        return replace(step, staged=FileIdentity.of(path))

    def apply(self, steps: tuple[FileStep, ...]) -> None:
        """Carry out the plan. An exception rolls back and is raised again; a crash requires `recover`."""
        try:
            self._write("applying", "")
            for number, step in enumerate(steps):
                self._take(number, step)
            for name in self._read_folders():
                self.checkpoint(f"mkdir {name}")
                os.mkdir(os.path.join(self.top, name))
            for step in steps:
                self._put(step)
            self._sync_tree(steps)
            self._write("done", "")
        except Exception:
            self.roll_back()
            raise
        self.finish()

    def _take(self, number: int, step: FileStep) -> None:
        target, kept = os.path.join(self.top, step.path), self._make_old_path(number)
        if step.old is None:
            return
        self.checkpoint(f"take {step.path}")
        if FileIdentity.of(target) != step.old:
            raise TreeChanged(step.path)
        os.rename(target, kept)
        if FileIdentity.of(kept) != step.old:
            raise TreeChanged(step.path)

    def _put(self, step: FileStep) -> None:
        if not step.new:
            return
        target = os.path.join(self.top, step.path)
        self.checkpoint(f"put {step.path}")
        if stat.S_ISDIR(step.below):
            _clear_empty(target)
        try:
            # This uses a link instead of a rename, because a link fails if a file has appeared there.
            os.link(os.path.join(self.new, step.path), target, follow_symlinks=False)
        except FileExistsError as exc:
            raise TreeChanged(step.path) from exc

    def recover(self) -> str | None:
        """Complete a landing that a crash interrupted after its last change, or else undo it. Return a text
        that says which was done, or None."""
        shutil.rmtree(self._gone, ignore_errors=True)
        if not self.exists:
            return None
        if (self.folder / "done").exists():
            self.finish()
            return "an earlier landing was interrupted at its end: completed"
        if (self.folder / "applying").exists():
            self.roll_back()
            return "an earlier landing was interrupted: rolled back"
        self._forget()
        return None

    def finish(self) -> None:
        """Remove folders that became empty, and then the journal."""
        self.checkpoint("finish")
        for step in self._read_steps():
            if not step.new:
                self._drop_empty(os.path.dirname(step.path))
        self._forget()

    def _forget(self) -> None:
        """Rename the journal, then remove it, because a partly removed journal would be misread."""
        self.checkpoint("forget")
        os.rename(self.folder, self._gone)
        self.checkpoint("remove")
        shutil.rmtree(self._gone)

    @property
    def _gone(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.gone")

    def _drop_empty(self, name: str) -> None:
        while name:
            try:
                os.rmdir(os.path.join(self.top, name))
            except OSError:
                return
            name = os.path.dirname(name)

    def roll_back(self) -> None:
        """Undo the landing. Files that the user has edited since stay; GitRefusal names them."""
        steps = self._read_steps()
        for step in steps:
            target = os.path.join(self.top, step.path)
            if step.staged is not None and FileIdentity.of(target) == step.staged:
                os.unlink(target)
        for name in reversed(self._read_folders()):
            with suppress(OSError):
                os.rmdir(os.path.join(self.top, name))
        kept = [step.path for number, step in enumerate(steps) if not self._give_back(number, step)]
        kept += [step.path for step in steps if self._is_edited(step) and step.path not in kept]
        self._sync_tree(steps)
        if kept:
            number = 1
            while (aside := self.folder.with_name(f"{self.folder.name}.kept-{number}")).exists():
                number += 1
            self.folder.rename(aside)
            raise GitRefusal(
                "a landing was interrupted, and its files were edited afterwards; the edited files were "
                "not changed",
                why=f"the versions before the landing are in {aside / 'old'}",
                fix=f"compare the files, then remove {aside}",
                paths=tuple(kept),
            )
        self._forget()

    def _is_edited(self, step: FileStep) -> bool:
        """Whether the user has edited the file since the landing put it there."""
        there = FileIdentity.of(os.path.join(self.top, step.path))
        return step.staged is not None and there is not None and there.inode == step.staged.inode

    def _give_back(self, number: int, step: FileStep) -> bool:
        """Restore the old file; return False if another file exists there now, which is not changed."""
        target, old = os.path.join(self.top, step.path), self._make_old_path(number)
        if not os.path.lexists(old):
            return True
        try:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.link(old, target, follow_symlinks=False)
        except (FileExistsError, NotADirectoryError):
            # Both are the same file if an earlier rollback was interrupted here.
            if not os.path.lexists(target) or not os.path.samestat(os.lstat(old), os.lstat(target)):
                return False
        os.unlink(old)
        return True

    def _make_old_path(self, number: int) -> str:
        return str(self.folder / "old" / str(number))

    def _read(self) -> dict[str, list[object]]:
        try:
            plan = json.loads((self.folder / "plan.json").read_text())
        except FileNotFoundError:
            return {"folders": [], "steps": []}
        return plan if isinstance(plan, dict) else {}

    def _read_steps(self) -> tuple[FileStep, ...]:
        return tuple(from_json(FileStep, entry) for entry in self._read()["steps"] if isinstance(entry, dict))

    def _read_folders(self) -> list[str]:
        return [str(name) for name in self._read()["folders"]]

    def _write(self, name: str, text: str) -> None:
        """Write a file of the journal atomically and durably."""
        self.checkpoint(f"write {name}")
        fresh = self.folder / f"{name}.new"
        fresh.write_text(text)
        _sync(str(fresh))
        fresh.rename(self.folder / name)
        _sync(str(self.folder))

    def _sync_tree(self, steps: tuple[FileStep, ...]) -> None:
        folders = {os.path.dirname(os.path.join(self.top, step.path)) for step in steps}
        for folder in (*folders, str(self.folder / "old")):
            with suppress(FileNotFoundError, NotADirectoryError):
                _sync(folder)


def _clear_empty(target: str) -> None:
    """Remove an empty folder whose place a file takes. Raises TreeChanged if a file has appeared in it."""
    for root, _, files in os.walk(target, topdown=False):
        if files:
            raise TreeChanged(os.path.join(root, files[0]))
        try:
            os.rmdir(root)
        except OSError as exc:
            raise TreeChanged(root) from exc


def _choose_mode(step: FileStep) -> int:
    """Return the permissions for the new file: those of the replaced file, or the default; executable if the
    result's file is."""
    base = stat.S_IMODE(step.old.mode) if step.old and stat.S_ISREG(step.old.mode) else 0o644
    return base | (base & 0o444) >> 2 if step.executable else base & ~0o111


def _sync(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
