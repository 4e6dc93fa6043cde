"""The folder of copies on a node, over SSH: every answer of the node is checked for errors, delay and
completeness."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import Any, Protocol, TypeVar

from pancode.backups.model import FOLDER, MOST_MANIFEST, OBJECT, Place, StoppedError
from pancode.backups.rules import is_copy_name
from pancode.fleet.seat import SeatKeeper
from pancode.fleet.ssh.machines import Machines
from pancode.fleet.ssh.remote import Completed, Remote
from pancode.fleet.ssh.seat_claims import must_hold_seat
from pancode.kernel.errors import NotFoundError, UnavailableError

T = TypeVar("T")
Work = Callable[[Remote], Coroutine[Any, Any, T]]


class Begin(Protocol):
    """Begins work over a connection to the node, in the event loop's thread."""

    def __call__(self, work: Work[T], /) -> Future[T]: ...


STEP_S = 0.25
"""Seconds between two checks of whether the coordinator stops."""
SHORT_S, SLOW_S = 60, 600
BATCH = 64
"""Objects whose digests one command computes: at most 256 MiB."""
LISTING = 256 << 20
"""The most bytes of a list of copies."""
END = "end of list"
MOST_DESCRIPTIONS = 20
OBJECTS, COPIES = "objects", "copies"
_STAMP = re.compile(r"\./([0-9A-Za-z.-]+) ([0-9]+ .+)")
_DESCRIPTION = re.compile(r"recovery-[0-9a-f]{16}\.json")
_DIGEST = re.compile(r"([0-9a-f]{64})[ \t]+\*?([0-9A-Za-z.-]+)")

_PREPARE = """\
umask 077
d="${HOME:?}/$1/$2"
mkdir -p "$d/objects" "$d/copies" || exit 71
cd -P "$d" || exit 71
rm -f objects/*.part copies/*.part *.part || exit 71
pwd -P
"""
"""$1 folder below the home, $2 fleet. Prints the absolute path."""
_LOCATE = """\
cd -P "${HOME:?}/$1/$2" || exit 71
pwd -P
"""
_FIND = """\
cd -P "${HOME:?}/$1" 2>/dev/null || exit 0
for one in */; do if [ -d "$one/copies" ]; then echo "${one%/}"; fi; done
"""
_LIST = """\
cd "$1" || exit 71
find . -type f ! -name '*.part' -exec stat -c '%n %s %y' {} + || exit 71
echo 'end of list'
"""
_DESCRIPTIONS = """\
cd "$1" || exit 71
ls -1t recovery-*.json 2>/dev/null || true
"""
_DIGEST_ALL = """\
cd "$1" || exit 71
sync -f . 2>/dev/null || sync
xargs sha256sum -- || exit 71
echo 'end of list'
"""
"""$1 folder; the names are on standard input."""
_REMOVE = """\
cd "$1" || exit 71
xargs rm -f -- || exit 71
echo 'end of list'
"""


class RemoteCopies:
    """CopyPlace and CopySource of one fleet on one host. `keeper`: whose seat must hold there; None: a
    restore, which only reads."""

    def __init__(
        self, begin: Begin, fleet: str, keeper: SeatKeeper | None, stopping: threading.Event
    ) -> None:
        self._begin, self.fleet, self._keeper, self._stopping = begin, fleet, keeper, stopping
        self.folder = ""
        """The absolute path on the host; empty before `prepare`."""

    def prepare(self) -> None:
        self.folder = self._find_folder(_PREPARE)
        self._must_hold_seat()

    def locate(self) -> None:
        """Find the folder and change nothing, for a restore. UnavailableError if there is none."""
        self.folder = self._find_folder(_LOCATE)

    def _find_folder(self, script: str) -> str:
        done = self._script(script, (FOLDER, self.fleet), "opening the folder of copies", SHORT_S)
        path = done.text.strip()
        if not path.startswith("/") or "\n" in path:
            raise UnavailableError("the node gave an unexpected path for copies", why=path[:200])
        return path

    def list_objects(self) -> Mapping[str, str]:
        return self._list(OBJECTS)

    def digest_objects(self, names: Collection[str]) -> Mapping[str, str]:
        return self._digest(OBJECTS, names)

    def put_object(self, name: str, data: bytes) -> None:
        self._put(f"{OBJECTS}/{name}", data)

    def put_recipient(self, data: bytes) -> None:
        self._put(f"recovery-{hashlib.sha256(data).hexdigest()[:16]}.json", data)

    def put_copy(self, name: str, data: bytes) -> str:
        self._put(f"{COPIES}/{name}", data)
        return self._digest(COPIES, (name,))[name]

    def remove(self, copies: Collection[str], objects: Collection[str]) -> None:
        self._must_hold_seat()
        for folder, names in ((COPIES, copies), (OBJECTS, objects)):
            if names:
                done = self._script(
                    _REMOVE, (f"{self.folder}/{folder}",), "removing old copies", SLOW_S, names
                )
                _must_be_whole(done, "removing old copies")

    # -- reading ------------------------------------------------------------------------------------

    def read_recipients(self) -> Sequence[bytes]:
        done = self._script(_DESCRIPTIONS, (self.folder,), "reading how the key is made", SHORT_S)
        names = [name for name in done.text.split() if _DESCRIPTION.fullmatch(name)]
        return [self._read(name, 1 << 16) for name in names[:MOST_DESCRIPTIONS]]

    def list_copies(self) -> Collection[str]:
        return [name for name in self._list(COPIES) if is_copy_name(name)]

    def read_copy(self, name: str) -> bytes:
        return self._read(f"{COPIES}/{name}", MOST_MANIFEST)

    def read_object(self, name: str) -> bytes:
        return self._read(f"{OBJECTS}/{name}", 2 * OBJECT)

    # -- one command each ------------------------------------------------------------------------------

    def do(self, work: Work[T], limit_s: float) -> T:
        """Run the work over the connection. StoppedError once the coordinator stops; UnavailableError if it
        is late. Then the work is cancelled."""
        if self._stopping.is_set():
            raise StoppedError
        future = self._begin(work)
        waited_s = 0.0
        while True:
            try:
                return future.result(STEP_S)
            except NotYet:
                waited_s += STEP_S
                if future.done():
                    raise UnavailableError("the node did not answer in time", code="backup_late") from None
                if self._stopping.is_set():
                    future.cancel()
                    raise StoppedError from None
                if waited_s > limit_s + SHORT_S:
                    future.cancel()
                    raise UnavailableError(
                        "the node did not answer in time", why=f"{limit_s:g} s", code="backup_late"
                    ) from None

    def _must_hold_seat(self) -> None:
        """Raise UnavailableError if a newer coordinator owns these copies."""
        keeper, folder = self._keeper, self.folder
        if keeper is not None:
            self.do(lambda remote: must_hold_seat(remote, folder, keeper), SHORT_S)

    def _list(self, folder: str) -> Mapping[str, str]:
        done = self._script(_LIST, (f"{self.folder}/{folder}",), "listing copies", SLOW_S)
        found = dict[str, str]()
        for line in _must_be_whole(done, "listing copies"):
            if match := _STAMP.fullmatch(line):  # other names are not ours
                found[match[1]] = match[2]
        return found

    def _digest(self, folder: str, names: Collection[str]) -> Mapping[str, str]:
        found, wanted = dict[str, str](), sorted(names)
        for at in range(0, len(wanted), BATCH):
            part = wanted[at : at + BATCH]
            done = self._script(_DIGEST_ALL, (f"{self.folder}/{folder}",), "verifying the copy", SLOW_S, part)
            for line in _must_be_whole(done, "verifying the copy"):
                match = _DIGEST.fullmatch(line)
                if match is not None:
                    found[match[2]] = match[1]
        missing = [name for name in wanted if name not in found]
        if missing:
            raise UnavailableError("the node did not verify the whole copy", why=f"no digest of {missing[0]}")
        return found

    def _script(
        self,
        text: str,
        args: tuple[str, ...],
        what: str,
        limit_s: float,
        names: Iterable[str] = (),
        limit: int = LISTING,
    ) -> Completed:
        lines = "".join(f"{name}\n" for name in names).encode()
        argv = ("sh", "-c", text, "pancode", *args)

        async def run(remote: Remote) -> Completed:
            return await remote.run(argv, limit_s, stdin=lines, limit=limit)

        done = self.do(run, limit_s).check(what)
        if done.truncated:
            raise UnavailableError(f"{what} failed on the node", why="its answer is too long")
        return done

    def _put(self, name: str, data: bytes) -> None:
        path = f"{self.folder}/{name}"
        self.do(lambda remote: remote.put(path, data), SLOW_S)

    def _read(self, name: str, most: int) -> bytes:
        argv = ("cat", "--", f"{self.folder}/{name}")

        async def run(remote: Remote) -> Completed:
            return await remote.run(argv, SLOW_S, limit=most)

        done = self.do(run, SLOW_S)
        if done.status == 1 and b"No such file" in done.stderr:
            raise NotFoundError(
                f"{name} is missing among the copies", fix="pancode admin restore --from HOST --list"
            )
        done.check("reading the copy")
        if done.truncated:
            raise UnavailableError("reading the copy failed on the node", why=f"{name} is too large")
        return done.stdout


def copies_on(machines: Machines, fleet: str, keeper: SeatKeeper) -> Place:
    """Return how a coordinator finds the folder of its copies on a node."""

    def find(node: str, stopping: threading.Event) -> RemoteCopies:
        def begin(work: Work[T]) -> Future[T]:
            return machines.begin(node, work)

        return RemoteCopies(begin, fleet, keeper, stopping)

    return find


def find_fleets(begin: Begin) -> list[str]:
    """Return the fleets of which the host has copies."""

    async def run(remote: Remote) -> Completed:
        return await remote.run(("sh", "-c", _FIND, "pancode", FOLDER), SHORT_S)

    try:
        done = begin(run).result(2 * SHORT_S).check("looking for copies")
    except NotYet as exc:
        raise UnavailableError("the host did not answer in time", code="backup_late") from exc
    return [line for line in done.text.split() if re.fullmatch(r"f-[a-z0-9]{1,32}", line)]


def _must_be_whole(done: Completed, what: str) -> list[str]:
    """Return the lines of a list. UnavailableError if the list was cut."""
    *lines, last = done.text.rstrip("\n").split("\n")
    if last != END:
        raise UnavailableError(
            f"{what} failed on the node", why="its answer is incomplete", code="backup_cut"
        )
    return lines
