"""Restores a fleet's home from a copy: reads and checks the copy, and fills the home."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from node_agent.wire.clock import Clock
from node_agent.wire.signing import SigningKey
from pancode.backups.model import MOST_MANIFEST, CopySource, Manifest, Value
from pancode.backups.records import RECIPIENT, CopyRecords
from pancode.backups.rules import (
    ManifestError,
    check_manifest,
    decode_path,
    record_of,
)
from pancode.backups.sealing import (
    Recipient,
    RecoveryKey,
    SealError,
    authenticate,
    derive_keys,
    open_sealed,
    parse_recipients,
)
from pancode.backups.service import manifest_context, object_context
from pancode.backups.snapshot import LEDGER, find_incomplete_repositories
from pancode.fleet.place import Reach
from pancode.fleet.ssh.home import OWN_KEY
from pancode.kernel.errors import ConflictError, NotFoundError, RefusedError
from pancode.kernel.host.files import sync_folder, write_durable
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Node, Run, RunState, Setting
from pancode.kernel.unfinished_restore import HARMLESS, MARK, RESTORING
from pancode.runs.core import RESTORED
from pancode.store.ledger import SqlLedger

FILES = "files"
_CACHED = 16


@dataclass(frozen=True, slots=True)
class OpenedCopies:
    """The copies of a fleet that a recovery key opens, newest first; `refused`: names with the reason."""

    fleet: str
    key: RecoveryKey
    recipient: Recipient
    copies: tuple[Manifest, ...]
    refused: Mapping[str, str]


class Restored(Value):
    """A finished restore. `active`: runs that were in flight when the copy was taken; `nodes`: the fleet's
    nodes."""

    fleet: str
    copy_name: str
    taken_ms: int
    files: int
    size: int
    active: Annotated[tuple[str, ...], Field(strict=False)]
    nodes: Annotated[tuple[str, ...], Field(strict=False)]
    warnings: Annotated[tuple[str, ...], Field(strict=False)] = ()


class Mark(Value):
    """The mark of a restore that has not ended. `command`: continues it. `restored`: None until the folder is
    filled; then `entries` are moved into the home."""

    command: str = ""
    entries: Annotated[tuple[str, ...], Field(strict=False)] = ()
    restored: Restored | None = None


def open_copies(source: CopySource, fleet: str, ask: Callable[[str], str]) -> OpenedCopies:
    """Open and check all manifests of a fleet. `ask`: asks the user for `key` or `passphrase`.

    NotFoundError if there is no copy, RefusedError if the key opens none, UsageError for a typing error.
    """
    described, names = parse_recipients(source.read_recipients()), sorted(source.list_copies())
    if not names:
        raise NotFoundError(
            f"the host has no finished copy of {fleet}", fix="pancode admin restore --from HOST --list"
        )
    kind, refused = described[0].kind, dict[str, str]()
    for key, recipient in derive_keys(ask(kind).strip("\r\n"), described):
        found = list[Manifest]()
        refused.clear()
        for name in names:
            try:
                found.append(read_manifest(source, fleet, name, key, recipient))
            except (SealError, ManifestError, NotFoundError) as error:
                refused[name] = error.words
        if found:
            found.sort(key=lambda one: one.order, reverse=True)
            return OpenedCopies(fleet, key, recipient, tuple(found), refused)
    raise RefusedError(
        f"the {'recovery key' if kind == 'key' else 'passphrase'} opens no copy of {fleet}",
        why=f"{names[-1]}: {refused[names[-1]]}",
        fix="check it; a copy made with an earlier recovery key or passphrase needs that one",
        code="recovery_key_wrong",
    )


def read_manifest(
    source: CopySource, fleet: str, name: str, key: RecoveryKey, recipient: Recipient
) -> Manifest:
    """Return a copy's manifest. SealError or ManifestError unless this fleet's coordinator wrote it under
    that name."""
    sealed = source.read_copy(name)
    plain = open_sealed(key, manifest_context(fleet, name), sealed, MOST_MANIFEST)
    code, _, text = plain.partition(b"\n")
    if code.decode("ascii", "replace") != authenticate(recipient, text):
        raise ManifestError(f"the copy {name} is forged", why="the fleet's coordinator did not write it")
    try:
        return check_manifest(Manifest.model_validate_json(text), fleet, name)
    except ValidationError as exc:
        why = "a newer version wrote it, or it is damaged: " + str(exc)[:200]
        raise ManifestError(f"the copy {name} cannot be read", why=why) from exc


def choose_copy(opened: OpenedCopies, name: str | None) -> Manifest:
    """Return the named copy, or the newest. NotFoundError, with the reason if that copy was refused."""
    if name is None:
        return opened.copies[0]
    for one in opened.copies:
        if one.name == name:
            return one
    why = opened.refused.get(name, "")
    raise NotFoundError(
        f"there is no usable copy {name}", why=why, fix="pancode admin restore --from HOST --list"
    )


# -- the home ---------------------------------------------------------------------------------------------


def must_be_empty(home: Path) -> None:
    """Raise ConflictError if the home has files; a restore never replaces or removes them. An interrupted
    restore, which can be repeated, does not count."""
    if not home.exists():
        return
    known = HARMLESS | frozenset(_read_mark(home).entries)
    others = sorted(one for one in os.listdir(home) if one not in known)
    if others:
        raise ConflictError(
            f"{home} is not empty",
            why=f"it has {', '.join(others[:5])}",
            fix=f"restore into another PANCODE_HOME, or move this one away first: mv {home} {home}.old",
            code="home_not_empty",
        )


def _read_mark(home: Path) -> Mark:
    """Return the mark of an interrupted restore; an empty one if there is none."""
    try:
        return Mark.model_validate_json((home / RESTORING / MARK).read_bytes())
    except FileNotFoundError:
        return Mark()
    except ValidationError as exc:
        raise ConflictError(f"{home / RESTORING} is damaged", fix=f"rm -r {home / RESTORING}") from exc


class Restore:
    """One restore into a home, under the home's lock. `command`: the user's command, which continues it.
    `notify`: called with the files done and their number."""

    def __init__(
        self,
        home: Path,
        clock: Clock,
        command: str,
        notify: Callable[[int, int], None] = lambda done, of: None,
    ) -> None:
        self._home, self._clock, self._notify = home, clock, notify
        self._folder, self._command = home / RESTORING, command

    def run(self, opened: OpenedCopies, manifest: Manifest, source: CopySource, host: str) -> Restored:
        """Fill the home from the copy. Raises ConflictError, SealError, ManifestError, UnavailableError; then
        only the mark is left, and a restore can be repeated. `host`: as the user named it."""
        must_be_empty(self._home)
        found = _read_mark(self._home)
        if found.restored is None:
            files = self._folder / FILES
            found = Mark(command=self._command)
            self._write_mark(found)
            shutil.rmtree(files, ignore_errors=True)  # left by an interrupted restore
            try:
                files.mkdir(mode=0o700)
                self._write_files(manifest, opened.key, source, files)
                restored = self._take_over(opened, manifest, source, files, host)
                entries = tuple(sorted(os.listdir(files)))
            except BaseException:
                shutil.rmtree(files, ignore_errors=True)  # it has secrets, and the next try reads them anew
                raise
            found = Mark(command=self._command, entries=entries, restored=restored)
            self._write_mark(found)
        self._move(found.entries)
        assert found.restored is not None  # set above, or by the interrupted restore
        return found.restored

    def _write_mark(self, mark: Mark) -> None:
        write_durable(self._folder / MARK, mark.model_dump_json().encode())

    def _write_files(self, manifest: Manifest, key: RecoveryKey, source: CopySource, files: Path) -> None:
        @lru_cache(maxsize=_CACHED)
        def read(name: str) -> bytes:
            sealed = source.read_object(name)
            if hashlib.sha256(sealed).hexdigest() != name:
                raise SealError(f"the object {name[:12]} of the copy is damaged", why="its digest is wrong")
            return open_sealed(key, object_context(manifest.fleet), sealed, manifest.objects[name])

        def cut(digest: str) -> bytes:
            place = manifest.chunks[digest]
            part = read(place.object)[place.offset : place.offset + place.size]
            if hashlib.sha256(part).hexdigest() != digest:
                raise SealError(f"a part of the copy is damaged: {digest[:12]}", why="its digest is wrong")
            return part

        links = list[tuple[Path, str]]()
        modes = list[tuple[Path, int]]()
        for number, file in enumerate(manifest.files):
            path = files / decode_path(file.path)
            if file.kind == "folder":
                path.mkdir(mode=0o700)
                modes.append((path, file.mode | 0o700))
            elif file.kind == "link":
                links.append((path, decode_path(file.link)))
            else:
                _write_file(path, file.mode, map(cut, file.chunks))
            self._notify(number + 1, len(manifest.files))
        # Last, so that no file is written through a link.
        for path, target in links:
            os.symlink(target, path)
        for path, mode in reversed(modes):
            path.chmod(mode)
            sync_folder(path)

    def _take_over(
        self,
        opened: OpenedCopies,
        manifest: Manifest,
        source: CopySource,
        files: Path,
        host: str,
    ) -> Restored:
        """Record in the restored ledger from which copy it is, and the copies on the host."""
        now_ms = self._clock.wall_ms()
        try:
            key = SigningKey.parse((files / OWN_KEY).read_text())
        except (OSError, ValueError) as exc:
            raise ManifestError("the copy has no usable coordinator key", why=str(exc)) from exc
        ledger = SqlLedger(files / LEDGER)
        try:
            with ledger.transaction() as tx:
                found = _read_ledger(tx, manifest)
                facts: dict[str, object] = {"copy": manifest.name, "taken_ms": manifest.taken_ms, "asked": []}
                tx.put(Setting(RESTORED, facts, now_ms, "restore"))
        finally:
            ledger.close()
        self._record_copies(opened, manifest, source, files, found.name_of(host), key.public.tag)
        warnings = [
            f"the repository {repo} of the copy is incomplete ({why}); runs that need the missing objects "
            "fail: dispatch again from the project, or restore an earlier copy with --copy"
            for repo, why in find_incomplete_repositories(files).items()
        ]
        if now_ms < manifest.taken_ms:
            warnings.append(
                "the clock of this machine is behind the time of the copy: set it before the first start"
            )
        return Restored(
            fleet=manifest.fleet,
            copy_name=manifest.name,
            taken_ms=manifest.taken_ms,
            files=len(manifest.files),
            size=sum(one.size for one in manifest.files),
            active=found.active,
            nodes=tuple(one.name for one in found.nodes),
            warnings=tuple(warnings),
        )

    def _record_copies(
        self, opened: OpenedCopies, manifest: Manifest, source: CopySource, files: Path, node: str, tag: str
    ) -> None:
        """Record the copies on the host, so that the restored coordinator continues and prunes them."""
        sizes = {name: int(stamp.split(" ", 1)[0]) for name, stamp in source.list_objects().items()}
        public, now_ms = opened.recipient.public, self._clock.wall_ms()
        CopyRecords(files).keep(record_of(node, public, opened.copies, sizes, manifest.name, tag, now_ms))
        stored = files / RECIPIENT
        if not stored.exists():
            write_durable(stored, opened.recipient.model_dump_json().encode() + b"\n")

    def _move(self, entries: Iterable[str]) -> None:
        """Move the filled entries into the home, the ledger last; then remove the mark. Repeatable at any
        point."""
        files = self._folder / FILES
        for name in sorted(entries, key=lambda one: (one == LEDGER, one)):
            is_moved = not os.path.lexists(files / name)
            is_there = os.path.lexists(self._home / name)
            if is_moved or (is_there and name in HARMLESS):
                continue
            if is_there:
                raise ConflictError(
                    f"{self._home / name} was made during the restore", fix=f"move it away: {name}"
                )
            os.rename(files / name, self._home / name)
        sync_folder(self._home)
        shutil.rmtree(files, ignore_errors=True)
        for draft in self._folder.glob(f".{MARK}.*"):
            draft.unlink()
        (self._folder / MARK).unlink()
        shutil.rmtree(self._folder)


def _write_file(path: Path, mode: int, parts: Iterable[bytes]) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as writing:
        for part in parts:
            writing.write(part)
        writing.flush()
        os.fchmod(writing.fileno(), mode & 0o777)
        os.fsync(writing.fileno())


@dataclass(frozen=True, slots=True)
class FoundLedger:
    """What a restore needs of the ledger in a copy. `active`: runs that had not ended."""

    active: tuple[str, ...]
    nodes: tuple[Node, ...]

    def name_of(self, host: str) -> str:
        """Return the name of the node that the user named for the restore."""
        aliases = ((one.name, Reach.of(one).target.get("alias")) for one in self.nodes)
        return next((name for name, alias in aliases if host in (name, alias)), host)


def _read_ledger(tx: Transaction, manifest: Manifest) -> FoundLedger:
    fleet = tx.get(Setting, "fleet")
    if fleet is None or fleet.value != manifest.fleet:
        raise ManifestError(f"the ledger of the copy {manifest.name} belongs to another fleet")
    active = (tx.find(Run, {"state": state}) for state in RunState if state is not RunState.ENDED)
    return FoundLedger(
        tuple(run.id for runs in active for run in runs),
        tuple(one for one in tx.find(Node) if one.removed is None),
    )
