"""The folder of copies on a node, over SSH, or on this machine: the same scripts, and every answer is checked
for errors, delay and completeness."""

from __future__ import annotations

import base64
import binascii
import os
import re
import shutil
import stat
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Coroutine, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pancode.backups.model import FOLDER, CopyPlace, FindPlace, FoundCopy, StoppedError, is_folder
from pancode.backups.rules import number_of
from pancode.backups.sealing import HEADED
from pancode.fleet.seat import SeatKeeper
from pancode.fleet.ssh.machines import Machines
from pancode.fleet.ssh.remote import Completed, Remote
from pancode.fleet.ssh.seat_claims import must_hold_seat
from pancode.kernel.errors import UnavailableError
from pancode.kernel.host.files import sync_folder

T = TypeVar("T")
Work = Callable[[Remote], Coroutine[Any, Any, T]]
STEP_S = 0.25
"""Seconds between two checks of whether the coordinator stops."""
SHORT_S, SLOW_S, SLOWEST = 60, 3_600, 50_000
"""Seconds for a short command and for one that reads all copies; the fewest bytes a second of a slow line."""
LISTING = 256 << 20
"""The most bytes of a list of copies."""
END = "end of list"
_PLAIN = '[ -f "$one" ] && [ ! -L "$one" ]'
_PREPARE = """\
umask 077
case "$1" in /*) cd -P "$1" ;; *) mkdir -p "${HOME:?}/$1" && cd -P "${HOME:?}/$1" ;; esac || exit 71
mkdir -p "$2" && cd -P "$2" || exit 71
rm -f -- *.part || exit 71
pwd -P
"""
"""$1 the folder of all copies: below the home, or absolute; $2 the fleet. Prints the absolute path."""
_DIGEST = f"""\
cd "$1" || exit 71
sync -f . 2>/dev/null || sync
while read -r one; do
  if {_PLAIN}; then sha256sum -- "$one" || exit 71; fi
done
echo '{END}'
"""
_REMOVE = f"""\
cd "$1" || exit 71
xargs rm -f -- || exit 71
echo '{END}'
"""
_LOOK = f"""\
case "$1" in /*) cd -P "$1" ;; *) cd -P "${{HOME:?}}/$1" ;; esac 2>/dev/null || {{ echo '{END}'; exit 0; }}
for one in */c-* */copies/c-*; do
  if {_PLAIN}; then echo "$one $(wc -c < "$one") $(head -c $2 "$one" | base64 | tr -d '\\n')"
  elif [ -e "$one" ] || [ -L "$one" ]; then echo "$one - "
  fi
done
echo '{END}'
"""
"""$1 the folder of all copies, $2 how many bytes of each copy are shown."""
_SEEN = re.compile(r"(f-[a-z0-9]{1,32})/(copies/)?(\S+) +(-|[0-9]+) (\S*)")
_SUM = re.compile(r"([0-9a-f]{64})[ \t]+\*?(\S+)")


class _Scripts(ABC):
    """CopyPlace by shell scripts. `root`: the folder of all copies; `fleet`: empty for a
    restore, which only reads."""

    def __init__(self, root: str, fleet: str) -> None:
        self._root, self._fleet = root, fleet
        self.folder = ""
        """The absolute path of the fleet's copies; empty before `prepare`."""

    def prepare(self) -> None:
        path = self._run(_PREPARE, (self._root, self._fleet), SHORT_S, "opening the folder of copies").strip()
        if not path.startswith("/") or "\n" in path:
            raise UnavailableError("the node gave an unexpected path for copies", why=path[:200])
        self.folder = path
        self._must_hold_seat()

    def digest(self, names: Collection[str]) -> Mapping[str, str]:
        lines = self._list(_DIGEST, (self.folder,), "verifying the copy", names) if names else []
        return {found[2]: found[1] for line in lines if (found := _SUM.fullmatch(line))}

    def put(self, name: str, source: Path) -> None:
        self._put(f"{self.folder}/{name}", source)

    def remove(self, names: Collection[str]) -> None:
        self._must_hold_seat()
        self._list(_REMOVE, (self.folder,), "removing old copies", names)

    def look(self) -> Collection[FoundCopy]:
        found = list[FoundCopy]()
        for line in self._list(_LOOK, (self._root, str(HEADED)), "looking for copies"):
            seen = _SEEN.fullmatch(line)
            if seen is not None and number_of(seen[3]) is not None:  # other names are not ours
                size, head = None if seen[4] == "-" else int(seen[4]), b""
                with suppress(binascii.Error):
                    head = base64.b64decode(seen[5])
                found.append(FoundCopy(seen[1], seen[3], size, head, seen[2] is not None))
        return found

    def _list(self, script: str, args: tuple[str, ...], what: str, names: Collection[str] = ()) -> list[str]:
        """Return the lines that a script prints. UnavailableError if its answer was cut."""
        text = "".join(f"{name}\n" for name in sorted(names))
        *lines, last = self._run(script, args, SLOW_S, what, text.encode()).rstrip("\n").split("\n")
        if last != END:
            raise UnavailableError(f"{what} failed", why="the answer is incomplete", code="backup_cut")
        return lines

    @abstractmethod
    def get(self, found: FoundCopy, target: Path) -> None: ...
    @abstractmethod
    def _run(
        self, script: str, args: tuple[str, ...], limit_s: float, what: str, stdin: bytes = b""
    ) -> str: ...
    @abstractmethod
    def _put(self, path: str, source: Path) -> None: ...
    @abstractmethod
    def _must_hold_seat(self) -> None:
        """Raise UnavailableError if a newer coordinator owns these copies."""


class FolderCopies(_Scripts):
    """The copies in a folder of this machine."""

    def get(self, found: FoundCopy, target: Path) -> None:
        path = f"{self._root}/{found.fleet}/{found.name}"
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(handle, "rb") as reading, target.open("xb") as writing:
                state = os.fstat(handle)
                if not stat.S_ISREG(state.st_mode) or state.st_size != found.size:
                    raise OSError(f"it is not a regular file of {found.size} bytes")
                shutil.copyfileobj(reading, writing)
        except OSError as exc:
            raise UnavailableError(f"{path} cannot be read", why=str(exc), code="copy_unreadable") from exc

    def _run(self, script: str, args: tuple[str, ...], limit_s: float, what: str, stdin: bytes = b"") -> str:
        argv, path = ("sh", "-c", script, "pancode", *args), os.environ.get("PATH", os.defpath)
        try:
            done = subprocess.run(argv, input=stdin, capture_output=True, timeout=limit_s, env={"PATH": path})
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise UnavailableError(f"{what} failed", why=str(exc)) from exc
        if done.returncode != 0:
            raise UnavailableError(f"{what} failed", why=done.stderr.decode("utf-8", "replace")[-800:])
        return done.stdout.decode("utf-8", "replace")

    def _put(self, path: str, source: Path) -> None:
        draft = Path(f"{path}.part")
        try:
            with (
                source.open("rb") as reading,
                open(os.open(draft, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as writing,
            ):
                shutil.copyfileobj(reading, writing)
                writing.flush()
                os.fsync(writing.fileno())
            draft.replace(path)
            sync_folder(draft.parent)
        except OSError as exc:
            draft.unlink(missing_ok=True)
            raise UnavailableError(
                f"{path} cannot be written", why=str(exc), fix="check its disk: df"
            ) from exc

    def _must_hold_seat(self) -> None:
        return None


class Begin(Protocol):
    """Begins work over a connection to the node, in the event loop's thread."""

    def __call__(self, work: Work[T], /) -> Future[T]: ...


class RemoteCopies(_Scripts):
    """The copies on a host. `keeper`: whose seat must hold there; None: a restore."""

    def __init__(
        self, begin: Begin, fleet: str, keeper: SeatKeeper | None, stopping: threading.Event
    ) -> None:
        super().__init__(FOLDER, fleet)
        self._begin, self._keeper, self._stopping = begin, keeper, stopping

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
                is_late = future.done() or waited_s > limit_s + SHORT_S
                if is_late or self._stopping.is_set():
                    future.cancel()
                    late = UnavailableError("the node did not answer in time", code="backup_late")
                    raise (late if is_late else StoppedError) from None

    def get(self, found: FoundCopy, target: Path) -> None:
        path, size = f"{FOLDER}/{found.fleet}/{found.name}", found.size or 0
        self.do(lambda remote: remote.get(path, target, size), SLOW_S + size / SLOWEST)

    def _run(self, script: str, args: tuple[str, ...], limit_s: float, what: str, stdin: bytes = b"") -> str:
        argv = ("sh", "-c", script, "pancode", *args)

        async def run(remote: Remote) -> Completed:
            return await remote.run(argv, limit_s, stdin=stdin, limit=LISTING)

        done = self.do(run, limit_s).check(what)
        if done.truncated:
            raise UnavailableError(f"{what} failed on the node", why="its answer is too long")
        return done.text

    def _put(self, path: str, source: Path) -> None:
        limit_s = SLOW_S + source.stat().st_size / SLOWEST
        self.do(lambda remote: remote.put(path, source), limit_s)

    def _must_hold_seat(self) -> None:
        keeper, folder = self._keeper, self.folder
        if keeper is not None:
            self.do(lambda remote: must_hold_seat(remote, folder, keeper), SHORT_S)


def copies_on(machines: Machines, fleet: str, keeper: SeatKeeper) -> FindPlace:
    """Return how a coordinator finds the folder of its copies in a place."""

    def find(place: str, stopping: threading.Event) -> CopyPlace:
        def begin(work: Work[T]) -> Future[T]:
            return machines.begin(place, work)

        return (
            FolderCopies(place, fleet) if is_folder(place) else RemoteCopies(begin, fleet, keeper, stopping)
        )

    return find
