"""Manages copies of skills in the folders of agent programs on one node, as a stand-alone program.

On this computer, this module is called as a function. On a node, that node's Python reads this file and a
request from standard input, so the file only uses the standard library.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

STATE = ".pancode-skills"
"""The folder below the home with the manifest and the backups made by `--force`."""
STAGE = ".pancode-skills.tmp"
"""The name of unfinished copies, next to the folder of skills, so that no program lists half a skill."""
IGNORED = ("__pycache__", ".DS_Store")
"""Names of files that programs leave in a folder; they do not count as changes."""
MOST_READ = 8 << 20
NONE, LINK, OTHER = "", "link", "other"
HASH = 64
FileMark = tuple[str, bool]
"""SHA-256 of a file, and whether it is executable."""
Json = dict[str, Any]


def mark_of(data: bytes, executable: bool) -> FileMark:
    return hashlib.sha256(data).hexdigest(), executable


def tree_hash(marks: dict[str, FileMark]) -> str:
    """Return one hash for a whole skill, from the marks of its files by path."""
    lines = [[path, *marks[path]] for path in sorted(marks)]
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def decide_copy(found: str, wanted: str | None, known: list[str] | None, force: bool) -> tuple[str, str]:
    """Return the state of one copy and the action: `write`, `remove`, `forget` or none.

    `found`: the hash of the copy, or NONE, LINK, OTHER. `known`: hashes that we have written there, or None.
    `force`: also overwrite a user's own files, but never a link.
    """
    if found in (LINK, OTHER):
        return ("link" if found == LINK else "unknown"), ""
    if found == NONE:
        return ("missing", "write") if wanted is not None else ("gone", "forget")
    if found == wanted:
        return "same", ""
    if known is None:
        return "unknown", "write" if force and wanted is not None else ""
    if found in known:
        return ("old", "write") if wanted is not None else ("extra", "remove")
    if not force:
        return "changed", ""
    return "changed", "write" if wanted is not None else "remove"


def act(home: Path, body: Json) -> Json:
    """Carry out a request below this home. The answer has `rows`, or `need`, or `error`.

    `act`: status, sync or remove. `folders`: folders below the home, by key. `skills`: each
    file's FileMark, by skill and path. `files`: the marks of single-file copies, by folder key and name.
    `held`: names to leave alone. `names`: the only names to handle. `blobs`: file contents in base64, by
    SHA-256; a sync that lacks some changes nothing and returns those it needs. `owner`: the copies' owner; a
    removal removes only that owner's. `time`: the name of the backups.
    """
    try:
        return Copies(home, body).answer()
    except (OSError, ValueError) as exc:
        return {"error": f"{type(exc).__name__}: {exc}"}


class Copies:
    """One request for one home."""

    def __init__(self, home: Path, body: Json) -> None:
        self.home, self.asked = home, body
        self.state = home / STATE
        self.folders: dict[str, str] = body["folders"]
        self.wanted: dict[str, dict[str, FileMark]] = {
            _check_part(name): {_check_path(path): (mark[0], bool(mark[1])) for path, mark in files.items()}
            for name, files in body.get("skills", {}).items()
        }
        self.files: dict[str, dict[str, FileMark]] = {
            folder: {_check_part(name): (mark[0], bool(mark[1])) for name, mark in names.items()}
            for folder, names in body.get("files", {}).items()
        }
        self.force = bool(body.get("force"))
        self.blobs: dict[str, str] = body.get("blobs", {})
        self.known: dict[str, dict[str, Json]] = {}
        self.made: list[str] = []

    def answer(self) -> Json:
        match self.asked["act"]:
            case "status":
                self.load()
                return {"rows": [_check_row(one) for one in self.plan()]}
            case "sync":
                with self.locked():
                    return self.sync()
            case "remove":
                if not self.state.is_dir():
                    return {"rows": [], "left": []}
                with self.locked():
                    return self.remove()
        raise ValueError(f"unknown action {self.asked['act']!r}")

    # -- the manifest ------------------------------------------------------------------------------

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock this home for one request, and remove the unfinished files of a killed one."""
        if self.state.is_symlink():
            raise ValueError(f"{self.state} is a link; move it away")
        lock = self.lock()
        try:
            self.load()
            for folder in self.folders.values():
                if not self.is_beyond_link(folder):
                    shutil.rmtree(self.stage(folder), ignore_errors=True)
            yield
        finally:
            os.close(lock)

    def lock(self) -> int:
        """Open and lock the current folder's lock; retry if a removal deleted the folder meanwhile."""
        while True:
            self.state.mkdir(mode=0o700, exist_ok=True)
            with suppress(FileNotFoundError):
                lock = os.open(self.state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                fcntl.flock(lock, fcntl.LOCK_EX)
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(lock), os.stat(self.state / "lock")):
                        return lock
                os.close(lock)

    def load(self) -> None:
        try:
            kept = json.loads((self.state / "manifest.json").read_text())
            self.known = {
                folder: {
                    name: {"hashes": list(one["hashes"]), "owner": one["owner"]}
                    for name, one in names.items()
                }
                for folder, names in kept["copies"].items()
            }
            self.made = [_check_path(place) for place in kept["made"]]
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(
                f"{self.state}/manifest.json is damaged; move it away (existing copies will be left alone)"
            ) from None

    def save(self) -> None:
        draft = self.state / f"manifest.{os.getpid()}"
        copies = {folder: names for folder, names in self.known.items() if names}
        with open(draft, "w") as writer:
            json.dump({"copies": copies, "made": self.made}, writer, indent=1, sort_keys=True)
            writer.flush()
            os.fsync(writer.fileno())
        draft.replace(self.state / "manifest.json")

    # -- existing copies ---------------------------------------------------------------------------

    def wanted_in(self, folder: str) -> dict[str, dict[str, FileMark]]:
        """Return the wanted file marks by name and path; a copy that is a single file has an empty path."""
        if folder in self.files:
            return {name: {"": mark} for name, mark in self.files[folder].items()}
        return self.wanted

    def plan(self) -> list[Json]:
        """Return a row with the action for each copy that exists or should exist."""
        rows = []
        names, held = self.asked.get("names"), set(self.asked.get("held", ()))
        for folder, place in self.folders.items():
            known, there = self.known.get(folder, {}), self.wanted_in(folder)
            for name in sorted({*known, *there}):
                if (names and name not in names) or name in held:
                    continue
                others = name not in there and known[name]["owner"] != self.asked.get("owner")
                if others and self.asked["act"] != "remove":
                    continue  # The owner of this copy has its source and removes the copy.
                wanted = tree_hash(there[name]) if name in there else None
                found, marks = self.found(f"{place}/{_check_part(name)}", folder in self.files)
                hashes = known[name]["hashes"] if name in known else None
                state, do = decide_copy(found, wanted, hashes, self.force)
                rows.append(
                    {
                        "folder": folder,
                        "skill": name,
                        "state": state,
                        "do": do,
                        "found": found,
                        "marks": marks,
                    }
                )
        return rows

    def found(self, place: str, as_file: bool) -> tuple[str, dict[str, FileMark]]:
        """Return the hash and files of this place; do not follow links. `as_file`: the copy is one file."""
        if self.is_beyond_link(place):
            return LINK, {}
        path = self.home / place
        try:
            about = path.lstat()
            is_ours = stat.S_ISREG(about.st_mode) if as_file else stat.S_ISDIR(about.st_mode)
            if not is_ours or (as_file and about.st_size > MOST_READ):
                return OTHER, {}
            marks = _read_marks(path)
        except (FileNotFoundError, NotADirectoryError):
            return NONE, {}
        except PermissionError:
            return OTHER, {}
        return tree_hash(marks), marks

    def is_beyond_link(self, place: str) -> bool:
        """Whether any part of the path below the home is a link, including a broken one."""
        parts = place.split("/")
        return any((self.home / "/".join(parts[: n + 1])).is_symlink() for n in range(len(parts)))

    # -- changes -----------------------------------------------------------------------------------

    def sync(self) -> Json:
        rows = self.plan()
        writes = [row for row in rows if row["do"] == "write"]
        marks = [mark for row in writes for mark in self.wanted_in(row["folder"])[row["skill"]].values()]
        if need := sorted({digest for digest, _ in marks} - set(self.blobs)):
            return {"need": need}
        for row in rows:
            if row["state"] == "same" and self.hashes(row) and self.hashes(row) != [row["found"]]:
                self.note(row, [row["found"]])  # A user wrote the same content there before.
                self.save()
        if any(row["do"] for row in rows):
            # Record the copy before writing it, so that a copy made by a killed sync is known as ours.
            for row in writes:
                wanted = self.wanted_in(row["folder"])[row["skill"]]
                self.note(row, [*self.hashes(row), tree_hash(wanted)])
            self.save()
            for row in rows:
                self.carry_out(row)
            self.save()
        return {"rows": [_check_row(row) for row in rows]}

    def remove(self) -> Json:
        """Remove this owner's copies; a copy that a user changed is kept and becomes the user's."""
        owner = self.asked.get("owner")
        rows = self.plan()
        if owner is not None:
            rows = [r for r in rows if self.known[r["folder"]][r["skill"]].get("owner") == owner]
        for row in rows:
            self.carry_out(row)
            if row["state"] in ("changed", "link", "unknown"):
                self.forget(row)
        for place in sorted(self.made, key=len, reverse=True):
            _remove_folder(self.home / place)
        self.made = [place for place in self.made if (self.home / place).is_dir()]
        self.save()
        left = [str(self.state / "backups")] if (self.state / "backups").is_dir() else []
        if not left and not any(self.known.values()):
            shutil.rmtree(self.state)
        return {"rows": [_check_row(row) for row in rows], "left": left}

    def carry_out(self, row: Json) -> None:
        """Carry out one row; an error is recorded in the row and does not stop the other rows."""
        place, name = self.folders[row["folder"]], row["skill"]
        try:
            if row["do"] and row["state"] in ("changed", "unknown"):
                row["backup"] = self.back_up(row["folder"], name)
            if row["do"] == "write":
                wanted = self.wanted_in(row["folder"])[name]
                self.write(place, name, wanted)
                self.note(row, [tree_hash(wanted)])
            elif row["do"] == "remove":
                self.replace(place, name, None)
            if row["do"] in ("remove", "forget"):
                self.forget(row)
        except OSError as exc:
            row["state"], row["why"] = "failed", f"{exc.strerror}: {exc.filename}"

    def write(self, place: str, name: str, wanted: dict[str, FileMark]) -> None:
        new = self.stage(place) / name
        self.make_folder(place)
        for path, (digest, executable) in wanted.items():
            data = base64.b64decode(self.blobs[digest])
            if hashlib.sha256(data).hexdigest() != digest:
                raise OSError(0, "the bytes do not match their announced SHA-256", path)
            _put(new / path, data, 0o755 if executable else 0o644)
        self.replace(place, name, new)

    def replace(self, place: str, name: str, new: Path | None) -> None:
        """Replace the old folder with the new one; after a crash it may be absent until the next sync."""
        target, old = self.home / place / name, self.stage(place) / f"{name}.old"
        old.parent.mkdir(exist_ok=True)
        if target.exists():
            target.rename(old)
        if new is not None:
            new.rename(target)
            handle = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        shutil.rmtree(self.stage(place), ignore_errors=True)

    def back_up(self, folder: str, name: str) -> str:
        """Copy the current content into a backup; links stay links."""
        time = _check_part(self.asked["time"])
        kept = self.state / "backups" / time / folder / name
        if not kept.exists():
            draft = kept.with_name(f".{name}.part")
            _remove(draft)
            kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _copy(self.home / self.folders[folder] / name, draft)
            draft.rename(kept)
        return time

    def stage(self, place: str) -> Path:
        return (self.home / place).parent / STAGE

    def make_folder(self, place: str) -> None:
        """Create the folder; each created parent is recorded first, so that a removal deletes it."""
        path = self.home
        for part in place.split("/"):
            path = path / part
            if not path.is_dir():
                self.made.append(path.relative_to(self.home).as_posix())
                self.save()
                path.mkdir()

    def hashes(self, row: Json) -> list[str]:
        hashes: list[str] = self.known.get(row["folder"], {}).get(row["skill"], {}).get("hashes", [])
        return hashes

    def note(self, row: Json, hashes: list[str]) -> None:
        entry = {"hashes": hashes, "owner": self.asked.get("owner")}
        self.known.setdefault(row["folder"], {})[row["skill"]] = entry

    def forget(self, row: Json) -> None:
        self.known.get(row["folder"], {}).pop(row["skill"], None)


def _check_row(row: Json) -> Json:
    return {key: row[key] for key in ("folder", "skill", "state", "do", "backup", "why") if key in row}


def _walk_tree(top: Path) -> Iterator[tuple[str, FileMark]]:
    """Yield the path and mark of each regular file below `top` that is not too large."""
    waiting = [top]
    while waiting:
        for entry in os.scandir(waiting.pop()):
            path = Path(entry.path).relative_to(top).as_posix()
            about = entry.stat(follow_symlinks=False)
            if entry.name in IGNORED:
                continue
            if stat.S_ISDIR(about.st_mode):
                waiting.append(Path(entry.path))
            elif stat.S_ISREG(about.st_mode) and about.st_size <= MOST_READ:
                yield path, mark_of(Path(entry.path).read_bytes(), bool(about.st_mode & stat.S_IXUSR))
            else:
                yield path, (f"{stat.S_IFMT(about.st_mode)} {about.st_size} {about.st_mtime_ns}", False)


def _read_marks(place: Path) -> dict[str, FileMark]:
    """Return the marks of a folder's files, or of a copy that is a single file."""
    if place.is_dir():
        return dict(_walk_tree(place))
    return {"": mark_of(place.read_bytes(), bool(place.lstat().st_mode & stat.S_IXUSR))}


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, ignore=_no_file)
    else:
        shutil.copy2(source, target)


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)


def _check_part(name: str) -> str:
    """Return the name if it is a single path component that is not hidden; else raise ValueError."""
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise ValueError(f"{name!r} is not a valid skill name")
    return name


def _check_path(path: str) -> str:
    """Return the path if it stays within its skill; else raise ValueError."""
    if "\0" in path or path.startswith("/") or not set(path.split("/")).isdisjoint({"", ".", ".."}):
        raise ValueError(f"{path!r} is not a valid path within a skill")
    return path


def _put(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as writer:
        writer.write(data)
        writer.flush()
        os.fchmod(writer.fileno(), mode)
        os.fsync(writer.fileno())


def _no_file(folder: str, names: list[str]) -> list[str]:
    """Return the pipes and sockets among these names, which are not copied."""
    modes = {name: os.lstat(os.path.join(folder, name)).st_mode for name in names}
    kinds = (stat.S_ISREG, stat.S_ISDIR, stat.S_ISLNK)
    return [name for name, mode in modes.items() if not any(kind(mode) for kind in kinds)]


def _remove_folder(path: Path) -> None:
    try:
        path.rmdir()
    except OSError:
        return  # The folder contains files that PanCode did not create.


def main() -> None:
    """Read the request from standard input and write the answer to standard output."""
    sys.stdout.write(json.dumps(act(Path.home(), json.load(sys.stdin))) + "\n")


if __name__ == "__main__":
    main()
