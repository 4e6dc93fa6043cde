"""Runs PanCode's own Valkey: starts it, adopts one that still runs, replaces an old one, stops it.

The server outlives the coordinator, so that a killed coordinator finds all its data after a restart. The
server has a file lock while it lives, so a process that gets that lock knows that no server runs here.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import redis
from redis import exceptions as raised

from node_agent.wire.clock import Clock, Ids
from pancode.kernel.errors import UnavailableError
from pancode.kernel.processes import boot_id, start_of
from pancode.queue.valkey.access import RedisAccess, connect
from pancode.queue.valkey.binary import find_server
from pancode.queue.valkey.layout import COORDINATOR, lay_out, write_config, write_private, write_users
from pancode.queue.valkey.process import ServerRecord, read_record, wait_until, write_record

START_MS = 60_000
PATIENCE_MS = 5_000
LOG_CAP = 4 * 2**20


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers: its access, whether it was adopted, and what was repaired at its start."""

    access: RedisAccess
    pid: int
    adopted: bool
    repaired: str = ""


class _Server(subprocess.Popen[bytes]):
    """A child process that outlives the coordinator, so it is only polled, and not awaited."""

    def __del__(self) -> None:
        self.poll()


class EmbeddedValkey:
    """The Valkey server of one PANCODE_HOME. The coordinator's lock ensures that only one process uses it."""

    def __init__(
        self, folder: Path, clock: Clock, ids: Ids, *, intervals: str = "", patience_ms: int = PATIENCE_MS
    ) -> None:
        """`folder`: `<home>/valkey`; `intervals`: extra settings; `patience_ms`: the wait for each way to end
        a server."""
        self._layout = lay_out(folder, os.environ.get("XDG_RUNTIME_DIR"), os.getuid())
        self._clock = clock
        self._ids = ids
        self._intervals = intervals
        self._patience_ms = patience_ms
        self._child: _Server | None = None
        self._known: ServerRecord | None = None

    def start_or_adopt(self, version: str) -> RunningServer:
        """Run a server of this version. Idempotent. UnavailableError contains the end of the server's log."""
        with self._hold_start_lock():
            adopted = self._adopt_server(version)
            if adopted is not None:
                return adopted
            self._end_old()
            return self._start(version)

    def stop(self) -> None:
        """Stop the server, if one runs, and wait for its end."""
        if not self._layout.folder.is_dir():
            # The folder was removed with the server's files, so end the server that this object remembers.
            record = self._known
            for number in (signal.SIGTERM, signal.SIGKILL):
                if record is not None and record.alive():
                    record.signal(number)
                    wait_until(self._clock, self._patience_ms, lambda: not self._is_alive(record))
            return
        with self._hold_start_lock():
            self._end_old()

    def alive(self) -> bool:
        """Whether the server's process runs, even if it does not answer. The server of another home does not
        count, although a copy of that home contains its record."""
        if self._child is not None:
            self._child.poll()  # This reaps the child if it has ended.
        record = read_record(self._layout.record)
        return record is not None and record.alive() and self._is_ours(record)

    def _is_ours(self, record: ServerRecord) -> bool:
        """Whether the recorded server listens at this home's socket or, in a moved home, has its lock."""
        return record.socket == str(self._layout.socket) or not self._is_unlocked()

    # -- taking over ----------------------------------------------------------------------------------------

    def _adopt_server(self, version: str) -> RunningServer | None:
        record = read_record(self._layout.record)
        if record is None or not self.alive() or record.version != self._stamp(version):
            return None
        access = self._make_access()
        if record.socket != access.socket or not self._can_answer(access):
            return None
        self._known = record
        return RunningServer(access, record.pid, adopted=True)

    def _can_answer(self, access: RedisAccess) -> bool:
        """Whether this home's Valkey answers: it accepts the password and runs in this folder."""
        with contextlib.closing(connect(access, answer_s=self._patience_ms / 1000)) as client:
            try:
                folder = client.config_get("dir").get("dir")
            except (raised.RedisError, OSError):
                return False
        return folder is not None and os.path.realpath(folder) == os.path.realpath(self._layout.folder)

    def _end_old(self) -> None:
        """End any server that runs in this folder, and remove its leftover files."""
        record = read_record(self._layout.record)
        if record is not None and self.alive():
            self._shut_down(record.socket)
            for number in (None, signal.SIGTERM, signal.SIGKILL):
                if number is not None:
                    record.signal(number)
                if wait_until(self._clock, self._patience_ms, lambda: not self.alive()):
                    break
        elif not self._is_unlocked():
            # A server without a record may still use the socket of this home.
            self._shut_down(str(self._layout.socket))
        if not wait_until(self._clock, self._patience_ms, self._is_unlocked):
            raise self._make_busy_error(
                "server.lock is held by a server that has no record and does not listen"
            )
        self._sweep_files()

    def _is_alive(self, record: ServerRecord) -> bool:
        if self._child is not None:
            self._child.poll()
        return record.alive()

    def _shut_down(self, socket: str) -> None:
        access = replace(self._make_access(), socket=socket)
        with (
            contextlib.suppress(raised.RedisError, OSError),
            contextlib.closing(connect(access, answer_s=self._patience_ms / 1000)) as client,
        ):
            client.shutdown()

    def _sweep_files(self) -> None:
        for path in (self._layout.socket, self._layout.link, self._layout.record):
            path.unlink(missing_ok=True)

    # -- starting -------------------------------------------------------------------------------------------

    def _start(self, version: str) -> RunningServer:
        layout = self._layout
        write_config(layout, self._intervals)
        write_users(layout, self._make_password())
        repaired = ""
        try:
            pid = self._launch(version)
        except UnavailableError as first:
            # The bus may lose its data at any time, so a data file that cannot be loaded must not prevent a
            # start.
            if "append only file" not in first.why.lower() or not layout.data.exists():
                raise
            aside = layout.folder / f"appendonlydir.bad-{self._ids.short(6)}"
            layout.data.rename(aside)
            repaired = f"the server's data could not be loaded and was moved to {aside}"
            pid = self._launch(version)
        if layout.link != layout.socket:
            layout.link.unlink(missing_ok=True)
            layout.link.symlink_to(layout.socket)
        return RunningServer(self._make_access(), pid, adopted=False, repaired=repaired)

    def _launch(self, version: str) -> int:
        """Start the server's program, wait until it answers and return its process id."""
        with contextlib.suppress(FileNotFoundError):
            if self._layout.log.stat().st_size > LOG_CAP:
                self._layout.log.replace(self._layout.log.with_suffix(".log.1"))
        with self._server_lock() as lock, _open_append(self._layout.log) as log:
            offset = log.tell()
            child = _Server(
                [str(find_server()), str(self._layout.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._layout.folder,
                start_new_session=True,
                umask=0o077,
                pass_fds=(lock,),
                env={"PATH": os.defpath, "LC_ALL": "C"},
            )
        self._child = child
        socket = str(self._layout.socket)
        started = start_of(child.pid)
        self._known = ServerRecord(boot_id(), child.pid, started, self._stamp(version), socket)
        write_record(self._layout.record, self._known)
        self._wait_ready(child, offset)
        return child.pid

    def _wait_ready(self, child: _Server, offset: int) -> None:
        with contextlib.closing(connect(self._make_access(), answer_s=5)) as client:
            ready = wait_until(self._clock, START_MS, lambda: child.poll() is not None or _can_ping(client))
        if ready and child.poll() is None:
            return
        if child.poll() is None:
            child.kill()
            child.wait()
        self._sweep_files()
        with open(self._layout.log, "rb") as log:
            log.seek(offset)
            lines = log.read()[-4000:].decode("utf-8", "replace").splitlines()
        raise UnavailableError(
            "PanCode's own Redis did not start",
            why=" | ".join(lines[-6:]) or "the server printed no output",
            fix=f"see {self._layout.log}; or set PANCODE_REDIS_URL to another Redis",
        )

    # -- stored files --------------------------------------------------------------------------------------

    def _make_access(self) -> RedisAccess:
        return RedisAccess(
            origin=str(self._layout.folder),
            socket=str(self._layout.socket),
            user=COORDINATOR,
            password=self._make_password(),
        )

    def _make_password(self) -> str:
        """Return the server's password, created once; the server's files have only its digest."""
        with contextlib.suppress(FileNotFoundError):
            known = self._layout.password.read_text().strip()
            if known:
                return known
        fresh = self._ids.token(24)
        write_private(self._layout.password, fresh.encode())
        return fresh

    def _stamp(self, version: str) -> str:
        """Return what a running server must match to be adopted: PanCode's version, program and settings."""
        program = find_server()
        size = program.stat().st_size
        digest = hashlib.sha256(f"{program}\0{size}\0{self._intervals}".encode()).hexdigest()[:12]
        return f"{version} {digest}"

    # -- locks ----------------------------------------------------------------------------------------------

    @contextmanager
    def _hold_start_lock(self) -> Iterator[None]:
        """Take the lock with which only one process at a time starts, adopts or stops the server."""
        with _open_append(self._layout.folder / "start.lock") as lock:
            if not wait_until(self._clock, START_MS, lambda: _try_lock(lock.fileno())):
                raise self._make_busy_error("another process is starting or stopping the server")
            yield

    @contextmanager
    def _server_lock(self) -> Iterator[int]:
        """Take the lock that the server inherits and keeps until it ends."""
        with _open_append(self._layout.folder / "server.lock") as lock:
            if not _try_lock(lock.fileno()):
                raise self._make_busy_error("another server has just been started in this folder")
            yield lock.fileno()

    def _is_unlocked(self) -> bool:
        with _open_append(self._layout.folder / "server.lock") as lock:
            return _try_lock(lock.fileno())

    def _make_busy_error(self, why: str) -> UnavailableError:
        folder = self._layout.folder
        return UnavailableError(
            f"{folder} is in use", why=why, fix=f"find the process with: fuser {folder}/server.lock"
        )


def known_access(folder: Path) -> RedisAccess:
    """Return the access to this folder's server, read from its files; UnavailableError if none runs."""
    record = read_record(folder / "server.json")
    try:
        password = (folder / "coordinator.password").read_text().strip()
    except OSError:
        record, password = None, ""
    if record is None or not record.alive():
        raise UnavailableError("PanCode's own Redis is not running", why=str(folder), fix="pancode fleet up")
    return RedisAccess(origin=str(folder), socket=record.socket, user=COORDINATOR, password=password)


def _open_append(path: Path) -> BinaryIO:
    return open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600))


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _can_ping(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except (raised.RedisError, OSError):
        return False
