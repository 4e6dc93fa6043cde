"""Restores a fleet's home from a copy: opens the heads of all copies, chooses one, and fills the home."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from node_agent.wire.clock import Clock
from node_agent.wire.signing import SigningKey
from pancode.backups.answers import RestoredAnswer
from pancode.backups.contents import LEDGER, ContentsError, find_incomplete_repositories, unpack
from pancode.backups.model import CopyHead, CopyPlace, CopyRecord, FoundCopy, PlaceRecord, Value
from pancode.backups.records import CopyRecords
from pancode.backups.rules import find_chain, number_of
from pancode.backups.sealing import ClearPart, Opener, RecoveryKey, SealError, TypedKey
from pancode.backups.service import copy_context
from pancode.fleet.place import Reach
from pancode.fleet.ssh.home import OWN_KEY
from pancode.git.runner import GitFailure
from pancode.kernel.errors import ConflictError, NotFoundError, PancodeError, RefusedError, UnavailableError
from pancode.kernel.formatting import first_few, format_seconds
from pancode.kernel.host.files import sync_folder, write_durable
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Node, Run, RunState, Setting
from pancode.kernel.unfinished_restore import HARMLESS, MARK, RESTORING
from pancode.runs.core import RESTORED
from pancode.runs.views import format_iso
from pancode.store.ledger import SqlLedger
from pancode.store.tables import Schema

FILES, SEALED = "files", "copy.part"
_SHOWN = 5
_OTHER_KEY = "it was made with another recovery key or passphrase"


class CopyDamagedError(RefusedError):
    """A copy is not whole."""

    code = "copy_damaged"


@dataclass(frozen=True, slots=True)
class OpenedCopies:
    """The copies of a fleet on a host whose heads a user's key opens, newest first. `refused`: why others, or
    some of them, cannot be used; `again`: the command that restores from there."""

    fleet: str
    keys: Mapping[str, RecoveryKey]
    heads: tuple[CopyHead, ...]
    found: Mapping[str, FoundCopy]
    refused: Mapping[str, str]
    again: str

    @property
    def whole(self) -> list[CopyHead]:
        """Return the copies that are complete, also in the copies on which they are based, newest first."""
        return [one for one in self.heads if one.name not in self.refused]

    def make_damage_error(self, name: str, why: str, without: Collection[str] = ()) -> CopyDamagedError:
        """Return the error that this copy cannot be used. It names those that are whole, here and elsewhere;
        `without`: what they must not need."""
        good = {one.name: one for one in self.whole if one.name not in {name, *without}}
        here = [one for one in good.values() if find_chain(good, one.name)]
        others = list(self.heads[0].others) if self.heads else []
        told = others + [f"{one.name} here, taken {format_iso(one.taken_ms)}" for one in here]
        fix = f"restore another one: {self.again} --copy {here[0].name}" if here else ""
        if others and not here:
            fix = "restore one of those: pancode admin restore --from NODE, or --from-folder PATH"
        why += f"; whole: {first_few(told, _SHOWN)}" if told else "; no other copy is known"
        return CopyDamagedError(f"the copy {name} cannot be used", why=why, fix=fix)


class Mark(Value):
    """The mark of a restore that has not ended. `command`: continues it. `restored`: None until the folder is
    filled; then `entries` are moved into the home."""

    command: str = ""
    entries: Annotated[tuple[str, ...], Field(strict=False)] = ()
    restored: RestoredAnswer | None = None


def open_copies(
    found: Iterable[FoundCopy], fleet: str, ask: Callable[[str], str], again: str
) -> OpenedCopies:
    """Open the heads of all copies of a fleet. `ask`: asks the user for `key` or `passphrase`.

    RefusedError if the key opens none, or for copies of PanCode 0.1.0; UsageError for a typing error.
    """
    files = {one.name: one for one in found if one.fleet == fleet and not one.is_old}
    if not files:
        raise RefusedError(
            f"PanCode 0.1.0 made the copies of {fleet}, and only that version restores them",
            why="later versions write a copy as one file",
            fix=f"python3 -m venv old && old/bin/pip install pancode==0.1.0 && old/bin/{again}",
            code="copy_of_0_1_0",
        )
    clear, refused = dict[str, ClearPart](), dict[str, str]()
    for name, one in sorted(files.items(), reverse=True):
        try:
            clear[name] = ClearPart.parse(one.head)
        except SealError as error:
            refused[name] = str(error) if one.size is not None else "it is not a regular file"
    if not clear:
        why = f"{max(files)}: {refused[max(files)]}"
        raise CopyDamagedError(
            f"no copy of {fleet} can be read here", why=why, fix="look for copies on other nodes"
        )
    kind = next(iter(clear.values())).kind
    typed = TypedKey(ask(kind).strip("\r\n"))
    keys = {name: key for name, part in clear.items() if (key := typed.opens(part)) is not None}
    if not keys:
        raise RefusedError(
            f"the {'recovery key' if kind == 'key' else 'passphrase'} opens no copy of {fleet}",
            why="all copies there were made with another one",
            fix="check it; a copy made with an earlier recovery key or passphrase needs that one",
            code="recovery_key_wrong",
        )
    heads = list[CopyHead]()
    refused |= dict.fromkeys(clear.keys() - keys.keys(), _OTHER_KEY)
    for name, key in keys.items():
        try:
            heads.append(_open_head(files[name], key))
        except (SealError, ContentsError) as error:
            refused[name] = error.words
    heads.sort(key=lambda one: one.order, reverse=True)
    cut = {
        one.name: f"it has {size} of {one.size} bytes"
        for one in heads
        if (size := files[one.name].size) != one.size
    }
    good = {one.name: one for one in heads if one.name not in cut}
    alone = [one for one in good.values() if not find_chain(good, one.name)]
    lacks = {one.name: f"{one.base}, which it needs, or one before it is missing or damaged" for one in alone}
    return OpenedCopies(fleet, keys, tuple(heads), files, refused | cut | lacks, again)


def _open_head(found: FoundCopy, key: RecoveryKey) -> CopyHead:
    text = Opener(key, copy_context(found.fleet, found.name), BytesIO(found.head)).head
    try:
        head = CopyHead.model_validate_json(text)
    except ValidationError as exc:
        raise ContentsError("a newer version made it, or it is damaged", why=str(exc)[:200]) from exc
    if (head.fleet, head.name) != (found.fleet, found.name):
        raise ContentsError("its contents do not match its name")
    return head


def choose_copy(opened: OpenedCopies, name: str | None) -> CopyHead:
    """Return the named copy, or the newest. CopyDamagedError if it is not whole, or if a newer one cannot be
    used and none was named; NotFoundError."""
    if name is None:
        newest = opened.heads[0].name if opened.heads else max(opened.found)
        numbers = {one: number_of(one) or 0 for one in opened.found}
        damaged = [one for one, why in opened.refused.items() if why != _OTHER_KEY]
        above = [one for one in damaged if numbers[one] > numbers[newest]]
        name = max(above, default=newest)
    if name in opened.refused:
        raise opened.make_damage_error(name, opened.refused[name])
    for one in opened.heads:
        if one.name == name:
            return one
    raise NotFoundError(f"there is no copy {name}", fix=f"{opened.again} --list")


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


@dataclass(frozen=True, slots=True)
class Restore:
    """One restore into a home, under the home's lock. `command`: the user's command, which continues it.
    `place`: where the copies are, as the user named it. `notify`: called with the files done and their
    number."""

    home: Path
    clock: Clock
    command: str
    place: str
    notify: Callable[[int, int], None] = lambda done, of: None

    def run(self, opened: OpenedCopies, head: CopyHead, source: CopyPlace) -> RestoredAnswer:
        """Fill the home from the copy. Raises ConflictError, CopyDamagedError, UnavailableError; then only
        the mark is left, and a restore can be repeated."""
        must_be_empty(self.home)
        found, folder = _read_mark(self.home), self.home / RESTORING
        if found.restored is None:
            files = folder / FILES
            found = Mark(command=self.command)
            self._write_mark(found)
            _remove(files, folder / SEALED)  # left by an interrupted restore
            try:
                files.mkdir(mode=0o700)
                digests = self._write_files(opened, head, source, files)
                restored = self._take_over(opened, head, files, digests)
                entries = tuple(sorted(os.listdir(files)))
            except BaseException:
                _remove(files, folder / SEALED)  # they have secrets, and the next try reads them anew
                raise
            found = Mark(command=self.command, entries=entries, restored=restored)
            self._write_mark(found)
        self._move(found.entries)
        assert found.restored is not None  # set above, or by the interrupted restore
        return found.restored

    def _write_mark(self, mark: Mark) -> None:
        write_durable(self.home / RESTORING / MARK, mark.model_dump_json().encode())

    def _write_files(
        self, opened: OpenedCopies, head: CopyHead, source: CopyPlace, files: Path
    ) -> Mapping[str, str]:
        """Apply the copies that are needed, the whole one first. Return their digests."""
        chain = find_chain({one.name: one for one in opened.heads}, head.name) or []
        digests, sealed = dict[str, str](), self.home / RESTORING / SEALED
        links: Mapping[str, str] = {}
        for number, one in enumerate(chain):
            source.get(opened.found[one.name], sealed)
            try:
                with sealed.open("rb") as reading:
                    digests[one.name] = hashlib.file_digest(reading, "sha256").hexdigest()
                    reading.seek(0)
                    opener = Opener(opened.keys[one.name], copy_context(one.fleet, one.name), reading)
                    links = unpack(opener, files, self.notify, one.files)
                    while opener.read(1 << 20):  # to its last frame
                        pass
            except (SealError, ContentsError, GitFailure, tarfile.TarError, ValueError) as error:
                why = error.words if isinstance(error, PancodeError) else str(error)
                bad = {later.name for later in chain[number:]}
                raise opened.make_damage_error(one.name, why, bad) from error
            except OSError as error:
                what, fix = (
                    f"the copy cannot be written into {self.home}",
                    "free disk space (df), then repeat it",
                )
                raise UnavailableError(what, why=str(error), fix=fix) from error
            sealed.unlink()
        for path, target in links.items():
            os.symlink(target, files / path)
        for path, _, _ in os.walk(files):
            sync_folder(Path(path))
        return digests

    def _take_over(
        self, opened: OpenedCopies, head: CopyHead, files: Path, digests: Mapping[str, str]
    ) -> RestoredAnswer:
        """Record in the restored ledger from which copy it is, and the copies in the place."""
        now_ms = self.clock.wall_ms()
        try:
            SigningKey.parse((files / OWN_KEY).read_text())
        except (OSError, ValueError) as exc:
            raise ContentsError("the copy has no usable coordinator key", why=str(exc)) from exc
        ledger = SqlLedger(files / LEDGER, Schema((Node, Run, Setting)))
        try:
            facts: dict[str, object] = {"copy": head.name, "taken_ms": head.taken_ms}
            with ledger.transaction() as tx:
                active, nodes = _read_ledger(tx, head)
                tx.put(Setting(RESTORED, facts, now_ms, "restore"))
        finally:
            ledger.close()
        self._record_copies(opened, files, digests, nodes)
        warnings = [
            f"the repository {repo} of the copy is incomplete ({why}); runs that need the missing objects "
            "fail: dispatch again from the project, or restore an earlier copy with --copy"
            for repo, why in find_incomplete_repositories(files)
        ]
        if now_ms < head.taken_ms:
            warnings.append(
                "the clock of this machine is behind the time of the copy: set it before the first start"
            )
        return {
            "fleet": head.fleet,
            "copy": head.name,
            "taken_at": format_iso(head.taken_ms),
            "age": format_seconds(max(0, now_ms - head.taken_ms) / 1_000),
            "files": head.files,
            "size": head.plain,
            "active": active,
            "nodes": [one.name for one in nodes],
            "warnings": warnings,
        }

    def _record_copies(
        self, opened: OpenedCopies, files: Path, digests: Mapping[str, str], nodes: Collection[Node]
    ) -> None:
        """Record the copies in the place, so that the restored coordinator numbers and prunes them."""
        now_ms, host = self.clock.wall_ms(), self.place
        names = (one.name for one in nodes if host in (one.name, Reach.of(one).target.get("alias")))
        copies = [
            CopyRecord.model_validate(
                one.model_dump()
                | {"digest": digests.get(one.name, ""), "is_damaged": one.name in opened.refused}
                | {"verified_ms": now_ms if one.name in digests else 0}
            )
            for one in opened.heads
        ]
        last = max(one.sequence for one in copies)
        CopyRecords(files).keep(
            PlaceRecord(place=next(names, host), copies=tuple(reversed(copies)), last=last)
        )

    def _move(self, entries: Iterable[str]) -> None:
        """Move the filled entries into the home, the ledger last; then remove the mark. Repeatable at any
        point."""
        folder = self.home / RESTORING
        files = folder / FILES
        for name in sorted(entries, key=lambda one: (one == LEDGER, one)):
            is_moved = not os.path.lexists(files / name)
            is_there = os.path.lexists(self.home / name)
            if is_moved or (is_there and name in HARMLESS):
                continue
            if is_there:
                what = f"{self.home / name} was made during the restore"
                raise ConflictError(what, fix=f"move it away: {name}")
            os.rename(files / name, self.home / name)
        sync_folder(self.home)
        shutil.rmtree(files, ignore_errors=True)
        for draft in folder.glob(f".{MARK}.*"):
            draft.unlink()
        (folder / MARK).unlink()
        shutil.rmtree(folder)


def _read_ledger(tx: Transaction, head: CopyHead) -> tuple[list[str], list[Node]]:
    """Return the runs that had not ended, and the nodes. ContentsError for the ledger of another fleet."""
    fleet = tx.get(Setting, "fleet")
    if fleet is None or fleet.value != head.fleet:
        raise ContentsError(f"the ledger of the copy {head.name} belongs to another fleet")
    states = (state for state in RunState if state is not RunState.ENDED)
    active = [run.id for state in states for run in tx.find(Run, {"state": state})]
    return active, [one for one in tx.find(Node) if one.removed is None]


def _remove(files: Path, sealed: Path) -> None:
    """Remove what a restore has written, if it is there."""
    shutil.rmtree(files, ignore_errors=True)
    sealed.unlink(missing_ok=True)
