"""The run's home: a runtime's files, users' messages and answers, and the session for a later run."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from node_agent.attempt.ports import NotYet, StepFailed
from node_agent.files.durable import sync_folder
from node_agent.files.walk import walk_tree
from node_agent.shim.shim import PATIENCE
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import AttemptId, calls_in
from node_agent.wire.job import Job
from node_agent.wire.keep import DAY_MS, KEEP, KeepBound
from node_agent.wire.policy import ANSWERED, ASKED, MOST_FILE, CallAsked
from node_agent.wire.receipt import Usage
from node_agent.workspace import folders
from node_agent.workspace.git import WorkspaceFailure, translate_os_errors

KEPT = "home.json"
"""The file in the attempt's folder that records launch files; no process of the attempt can write it."""
PLACEHOLDER = ".keep"
"""The name of an empty file that makes its folder exist."""
LENT = "login.json"
"""The file in the attempt's folder with the agent's own files, its login; no sandbox shows it."""
MOST_NAMES = 2_000
"""The most names that are read in one folder, since every program of the run may write there."""


def store_files(places: folders.AttemptFolders, files: Mapping[str, bytes], name: str = KEPT) -> None:
    """Write the files into the record `name` in the attempt's folder, outside the home. Idempotent."""
    encoded = {name: base64.b64encode(data).decode("ascii") for name, data in files.items()}
    folders.write_below(places.folder, name, json.dumps(encoded).encode("ascii"))


def laid_in(home: str) -> tuple[str, ...]:
    """Return the files, without a login, that a launch wrote to this home of an attempt."""
    try:
        names = json.loads(Path(home).with_name(KEPT).read_bytes())
    except (FileNotFoundError, ValueError):
        return ()
    return tuple(name for name in names if not name.endswith("/") and Path(name).name != PLACEHOLDER)


def lend_login(places: folders.AttemptFolders, files: Mapping[str, bytes], later: bool) -> None:
    """Write login files, or (`later`) remove too early ones. Call before any process starts. Idempotent."""
    if not files:
        return
    store_files(places, files, LENT)
    for name, data in files.items():
        if later:
            (places.home / name).unlink(missing_ok=True)
        else:
            folders.write_below(places.home, name, data)


def take_back(places: folders.AttemptFolders) -> None:
    """Remove the login's files and topmost folders, where the program may have made copies. Idempotent."""
    for top in {Path(name).parts[0] for name in _read_stored(places, LENT)}:
        folders.must_be_folder(places.home)
        folders.erase(places.home / top)
    (places.folder / LENT).unlink(missing_ok=True)


def restore_files(places: folders.AttemptFolders) -> None:
    """Restore the launch's files and the login, and remove all other files below their topmost folders, where
    the program might read another setting.

    Leftover links are removed, never followed. If an older node agent stored no record, nothing changes.
    """
    stored = {**_read_stored(places, KEPT), **_read_stored(places, LENT)}
    if not stored:
        return
    folders.must_be_folder(places.home)
    owner = os.lstat(places.home).st_uid
    tops = {Path(name).parts[0] for name in stored}
    for top in tops:
        folders.erase(places.home / top)
    for name, data in stored.items():
        folders.write_below(places.home, name, base64.b64decode(data))
    for top in tops if owner != os.geteuid() else ():
        folders.change_owner(places.home / top, owner)
        os.chown(places.home / top, owner, owner, follow_symlinks=False)


def lay_anew(places: folders.AttemptFolders, before: folders.AttemptFolders) -> None:
    """Create the home with the launch's files, as they are recorded in the attempt's folders `before`."""
    places.home.mkdir(mode=0o700)
    with contextlib.suppress(FileNotFoundError):
        shutil.copyfile(before.folder / KEPT, places.folder / KEPT)
    restore_files(places)


def _read_stored(places: folders.AttemptFolders, name: str) -> dict[str, str]:
    try:
        return dict(json.loads((places.folder / name).read_bytes()))
    except FileNotFoundError:
        return {}


def write_file(home: Path, folder: str, name: str, data: bytes) -> None:
    """Write a file below the agent's home, for the home's owner. Idempotent. Raises OSError."""
    at = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        owner = os.fstat(at).st_uid
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700, dir_fd=at)
            _give_to_owner(folder, owner, at)
        below = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
        try:
            _write(name, data, owner, below)
        finally:
            os.close(below)
    finally:
        os.close(at)


def _write(name: str, data: bytes, owner: int, at: int) -> None:
    """Write the file atomically, so that a reader never sees a part of it."""
    fresh = f".{name}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh, dir_fd=at)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=at)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    _give_to_owner(fresh, owner, at)
    os.rename(fresh, name, src_dir_fd=at, dst_dir_fd=at)


def _give_to_owner(name: str, owner: int, at: int) -> None:
    if owner != os.geteuid():
        os.chown(name, owner, owner, dir_fd=at, follow_symlinks=False)


class HomeCalls:
    """The CallsPort of a real node, with the approval requests as files in a run's home."""

    def __init__(self, root: Path) -> None:
        self._home = folders.WorkspaceFolders(root)

    def open(self, identity: AttemptId) -> tuple[CallAsked, ...]:
        """Return the open approval requests, ordered by name. Unreadable files are skipped."""
        with self._open_folder(identity) as (at, names):
            stems = sorted(name.removesuffix(ASKED) for name in names if name.endswith(ASKED))
            read = (_read(at, stem) for stem in stems if f"{stem}{ANSWERED}" not in names)
            return tuple(one for one in read if one is not None)

    def folders(self, identity: AttemptId) -> tuple[Path, ...]:
        """Return the run's home, in which the first question creates the folder of questions, and that."""
        home = self._home.places(identity).home
        return home, home / calls_in(str(identity))

    def answers(self, identity: AttemptId) -> tuple[bytes, ...]:
        """Return the answer files' contents, unordered; any program of the run may have written one."""
        with self._open_folder(identity) as (at, names):
            return tuple(_read_bytes(at, name) for name in names if name.endswith(ANSWERED))

    @translate_os_errors("cannot write the answer to an approval request")
    def answer(self, identity: AttemptId, call: str, data: bytes) -> None:
        """Write the answer to an approval request atomically."""
        home = self._home.places(identity).home
        write_file(home, calls_in(str(identity)), f"{call}{ANSWERED}", data)

    def patience(self, phase: Path, waits: bool) -> None:
        """Set or remove the file that marks a pending user's answer; the agent cannot reach this file."""
        with contextlib.suppress(OSError):
            if waits:
                (phase / PATIENCE).touch(mode=0o600)
            else:
                (phase / PATIENCE).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _open_folder(self, identity: AttemptId) -> Iterator[tuple[int, frozenset[str]]]:
        """Yield the open folder of approval requests and the names in it; no names if it is unreadable."""
        with contextlib.ExitStack() as opened:
            try:
                folder = self._home.places(identity).home / calls_in(str(identity))
                at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                opened.callback(os.close, at)
                with os.scandir(at) as entries:
                    names = frozenset(entry.name for entry in islice(entries, MOST_NAMES))
            except OSError:
                at, names = -1, frozenset()
            yield at, names


def _read(at: int, stem: str) -> CallAsked | None:
    data = _read_bytes(at, f"{stem}{ASKED}")
    try:
        call = CallAsked.model_validate_json(data)
    except ValidationError:
        return None
    return call if call.call == stem else None


def _read_bytes(at: int, name: str) -> bytes:
    """Return the content of a regular file without blocking; empty for any other kind of file."""
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
    except OSError:
        return b""
    try:
        return os.read(handle, MOST_FILE) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(handle)


MOST_BYTES, MOST_FILES = 64 << 20, 2000
"""The most bytes, and the most files, of one session; a larger one is not stored."""
MOST_SESSIONS = 32
"""The most runs whose sessions a node stores, not counting interactive runs."""
_FACTS, _BEFORE = "session.json", "resumed.json"


class KeptSessions:
    """The Sessions port: the newest session of each run that reported one, stored in `<home>/sessions`.

    For a chain of interactive runs the newest two are stored. As users come back to interactive runs, these
    sessions are deleted only to make room for each other.

    A conversation contains paths, and some programs store it by path. So an attempt that continues a session
    uses the earlier attempt's folder. `names`: the parts of a home that are a runtime's session.
    """

    def __init__(
        self, home: Path, names: Callable[[str], Sequence[str]], bound: KeepBound = KEEP.sessions
    ) -> None:
        """`bound.size`: the limit for the sessions of all interactive runs together; beyond it, those used
        longest ago are deleted."""
        self._home, self._names, self._bound = folders.WorkspaceFolders(home), names, bound
        self._root = home / "sessions"

    def keep(self, job: Job, session: str | None, used: Usage) -> str:
        names = self._names(job.runtime)
        try:
            return self._keep(job, session, used, names) if names and session is not None else ""
        except (OSError, WorkspaceFailure) as failed:
            return f"the run's session was not stored: {failed}"[:500]

    def has(self, job: Job, session: str | None) -> bool:
        return session is not None and self._stored(job.identity.run, session, job.runtime) != {}

    def _keep(self, job: Job, session: str, used: Usage, names: Sequence[str]) -> str:
        places, run = self._home.places(job.identity), job.identity.run
        found = list(islice(files_below(places.home, names, MOST_FILES), MOST_FILES + 1))
        size = sum((places.home / name).lstat().st_size for name in found)
        if not found:
            return ""
        if size > MOST_BYTES or len(found) > MOST_FILES:
            many = f"more than {MOST_FILES}" if len(found) > MOST_FILES else str(len(found))
            return f"the run's session was not stored: it has {size >> 20} MiB in {many} files"
        before = job.resume.run if job.turns is not None and job.resume is not None else ""
        kept = self._list_kept()
        new = self._root / f".{run}"
        folders.erase(new)
        whole = _add_usage(self.used_before(job), used).model_dump(mode="json")
        facts: dict[str, Any] = {
            "session": session,
            "runtime": job.runtime,
            "used": whole,
            "place": places.folder.name,
        }
        if job.turns is not None:
            facts |= {"talked": size, "before": before}
        folders.write_below(new, _FACTS, json.dumps(facts).encode())
        for name in found:
            _copy(places.home / name, new / "home" / name)
        if job.turns is not None:
            _sync(new)
        folders.erase(self._root / run)
        os.rename(new, self._root / run)
        if job.turns is not None:
            sync_folder(self._root)
        runs = [name for name, one in kept.items() if "talked" not in one and name != run]
        over = runs[: max(0, len(runs) + (job.turns is None) - MOST_SESSIONS)]
        # stored until now, since a lost run restarts from this session
        older = kept.get(before, {}).get("before")
        for name in (*over, *([older] if older else ())):
            folders.erase(self._root / name)
        return "" if job.turns is None else self._made_room(size, run, before)

    def _made_room(self, size: int, run: str, before: str) -> str:
        """Delete other interactive runs' sessions, the least recently used first, until a session of `size`
        bytes fits. Return a message that names them."""
        kept = self._list_kept()
        sizes = {name: one["talked"] for name, one in kept.items() if "talked" in one}
        others = [name for name in sizes if name not in (run, before)]
        most = sys.maxsize if self._bound.size is None else self._bound.size
        over, gone = size + sum(sizes[name] for name in others) - most, list[str]()
        while over > 0 and others:
            gone.append(others.pop(0))
            over -= sizes[gone[-1]]
            folders.erase(self._root / gone[-1])
        if not gone:
            return ""
        names = ", ".join(gone)
        bound = f"this node stores at most {most >> 20} MiB of sessions"
        words = f"{bound}, so it deleted those used longest ago, of runs {names}"
        return f"{words}; their next interactive runs start with a summary instead of their memory"[:500]

    @translate_os_errors("cannot continue the session of an earlier run")
    def go_on(self, job: Job) -> None:
        if job.resume is None:
            return
        run, facts = job.resume.run, self._facts_for(job)
        if (
            not facts and job.turns is not None
        ):  # the run begins with the job's summary of the old run, and reports that
            return
        if not facts:
            kept = f"a node stores the newest {MOST_SESSIONS} sessions, up to {MOST_BYTES >> 20} MiB each, "
            kept += f"for {self._bound.age_ms // DAY_MS} days"
            words = (
                f"the session of {run} is not on this node ({kept}); to start without it: pancode runs retry "
                f"{run}"
            )
            raise StepFailed(FailureKind.CANNOT_START, words)
        if not self._home.take_place(job.identity, str(facts["place"])):
            raise NotYet(f"the folder of {run} still contains files")

    @translate_os_errors("cannot restore the session of an earlier run")
    def put_back(self, job: Job) -> None:
        if job.resume is None:
            return
        kept, places = self._root / job.resume.run, self._home.places(job.identity)
        if job.turns is not None and not self._facts_for(job):
            return
        tops = os.listdir(kept / "home")
        for name in files_below(kept / "home", tops):
            _copy(kept / "home" / name, places.home / name)
        before = self._read_facts(kept / _FACTS).get("used")
        folders.write_below(places.folder, _BEFORE, json.dumps(before).encode())
        os.utime(kept)  # marks the session as used now
        owner = os.lstat(places.home).st_uid
        for top in tops if owner != os.geteuid() else ():
            folders.change_owner(places.home / top, owner)
            os.chown(places.home / top, owner, owner, follow_symlinks=False)

    def used_before(self, job: Job) -> Usage:
        """Return the usage of all earlier runs of the continued session: some programs report the sum."""
        stored = self._read_facts(self._home.places(job.identity).folder / _BEFORE) if job.resume else {}
        return Usage.model_validate(stored, strict=False) if stored else Usage()

    def trim(self, now_ms: int) -> None:
        """Delete sessions that were not used for a long time, and leftovers of crashes. Idempotent."""
        for path in self._root.iterdir() if self._root.is_dir() else ():
            age_ms = now_ms - path.lstat().st_mtime_ns // 1_000_000
            if age_ms > self._bound.age_ms or (path.name.startswith(".") and age_ms > DAY_MS):
                folders.erase(path)

    def _list_kept(self) -> dict[str, dict[str, Any]]:
        """Return the facts of all stored sessions by run, the least recently used first."""
        kept = [path for path in self._root.iterdir() if path.name[0] != "."] if self._root.is_dir() else []
        kept.sort(key=lambda path: path.lstat().st_mtime_ns)
        return {path.name: self._read_facts(path / _FACTS) for path in kept}

    def _facts_for(self, job: Job) -> dict[str, Any]:
        """Return the facts of the session that the job continues; empty if it is not stored."""
        assert job.resume is not None
        return self._stored(job.resume.run, job.resume.session, job.runtime)

    def _stored(self, run: str, session: str, runtime: str) -> dict[str, Any]:
        facts = self._read_facts(self._root / run / _FACTS)
        return facts if (facts.get("session"), facts.get("runtime")) == (session, runtime) else {}

    def _read_facts(self, path: Path) -> dict[str, Any]:
        try:
            return dict(json.loads(path.read_bytes()))
        except (OSError, ValueError):
            return {}


def _add_usage(one: Usage, other: Usage) -> Usage:
    costs = [usd for usd in (one.cost_usd, other.cost_usd) if usd is not None]
    return Usage(
        input_tokens=one.input_tokens + other.input_tokens,
        cached_tokens=one.cached_tokens + other.cached_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cost_usd=sum(costs, Decimal(0)) if costs else None,
        cost_source="reported" if costs else "unknown",
        turns=one.turns + other.turns,
    )


def files_below(top: Path, names: Sequence[str], most: int | None = None) -> Iterator[str]:
    """Yield the regular files at or below these names, without links and files behind links. Raises OSError
    for a folder with more than `most` names."""
    for name in names:
        path, parts = top, Path(name).parts
        if not all(folders.real_folder(path := path / part) for part in parts[:-1]):
            continue
        path = path / parts[-1]
        if not folders.real_folder(path):
            if os.path.lexists(path) and stat.S_ISREG(path.lstat().st_mode):
                yield name
            continue
        for one in walk_tree(path, most=most):
            seen = os.stat(one.name, dir_fd=one.at, follow_symlinks=False)
            if stat.S_ISREG(seen.st_mode):
                yield "/".join((name, *one.way, one.name))


def _sync(folder: Path) -> None:
    """Sync the folder and its content to disk."""
    for at, _, names in os.walk(folder):
        for name in names:
            with open(Path(at) / name, "rb") as file:
                os.fsync(file.fileno())
        sync_folder(at)


def lay_copies(source: Path, target: Path, names: Sequence[str]) -> None:
    """Copy the regular files at or below these names, read-only; files that exist there stay. No link in a
    path is followed."""
    for name in files_below(source, names):
        above = (target.joinpath(*Path(name).parts[:n]) for n in range(len(Path(name).parts)))
        if not os.path.lexists(target / name) and not any(map(os.path.islink, above)):
            _copy(source / name, target / name)
            os.chmod(target / name, 0o444)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    with (
        os.fdopen(os.open(source, os.O_RDONLY | os.O_NOFOLLOW), "rb") as old,
        os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new,
    ):
        shutil.copyfileobj(old, new)
