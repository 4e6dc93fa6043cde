"""The API's client: finds PANCODE_HOME, connects to the coordinator's socket, and starts it if none runs."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload
from urllib.parse import quote, unquote, urlencode

from pancode import __version__
from pancode.interfaces.client.connection import Connection, NotRunningError, Place, Response
from pancode.interfaces.client.remote.address import VARIABLE
from pancode.interfaces.client.remote.place import RemoteCoordinator, cut_link, remote_of
from pancode.kernel.errors import ApiError, ConfigError, PancodeError, UnavailableError, describe_cause
from pancode.kernel.route import A, Route, check_name, path_in
from pancode.kernel.unfinished_restore import refuse_unfinished_restore

if TYPE_CHECKING:
    import subprocess


Json = dict[str, Any]
LOOK_S = 1.5
"""Seconds between a waiting client's checks that the coordinator still answers, and the limit per check."""
NOTE_S, SILENT_S = 3.0, 30.0
"""Seconds without any answer from the coordinator until the user gets a note, and until the wait ends."""
_LONGEST_NAME, _LONGEST_HOME = 255, 3_500


Note = Callable[[str], None]
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def discard_note(text: str) -> None:
    """Discard a note that no user is to see."""


def unusable_home_error(home: Path, exc: OSError) -> ConfigError:
    """Return the error, with a fix, for a PANCODE_HOME that cannot be created or written."""
    fix = (
        f"free space on its disk: df -h {home}"
        if exc.errno in FULL
        else "set PANCODE_HOME to a directory of your own"
    )
    return ConfigError(f"{home} cannot be used", why=str(exc), fix=fix, code="home_unusable")


class FleetDownError(NotRunningError):
    """The error that no coordinator runs: a user took the fleet down. A read-only command starts none."""

    code = "fleet_down"
    retryable = False


DOWN_MARK = "run/down"
"""A file in PANCODE_HOME while the fleet is taken down; read-only commands then do not start it."""


@dataclass(frozen=True, slots=True)
class Down:
    """The user who took the fleet down, and the time, both as text."""

    by: str
    at: str


def mark_down(root: Path, by: str) -> None:
    """Mark this PANCODE_HOME's fleet as taken down by this user. Does nothing if the folder is missing."""
    with suppress(OSError):
        (root / DOWN_MARK).write_text(by)


def read_down(root: Path) -> Down | None:
    """Return who took the fleet down and when; None if it is not marked as down."""
    try:
        by, state = (root / DOWN_MARK).read_text(), (root / DOWN_MARK).stat()
    except (OSError, ValueError):
        return None
    return Down(by, datetime.fromtimestamp(state.st_mtime, UTC).strftime("%Y-%m-%d %H:%M UTC"))


def down_stamp(root: Path) -> int:
    """Return a number that changes whenever the fleet is marked as down; 0 if there is no mark."""
    try:
        return (root / DOWN_MARK).stat().st_mtime_ns
    except OSError:
        return 0


def not_down_since(root: Path, stamp: int) -> None:
    """Raise FleetDownError if a user took the fleet down after `down_stamp` returned this stamp."""
    record = read_down(root)
    if record is not None and down_stamp(root) != stamp:
        raise is_down(root, record)


def is_down(root: Path, record: Down) -> FleetDownError:
    return FleetDownError(
        f"the fleet on {root} is down",
        why=f"{record.by or 'somebody'} took the fleet down on {record.at}; its runs wait until it is up "
        "again",
        fix="pancode fleet up",
    )


def clear_down(root: Path) -> None:
    """Remove the mark that the fleet is down, because it is up again or is about to be."""
    with suppress(OSError):
        (root / DOWN_MARK).unlink()


def place_of(environ: Mapping[str, str]) -> Place:
    """Return where the command's coordinator is. ConfigError like `home_of`, and for an invalid address."""
    return remote_of(environ) or home_here(environ)


def home_of(environ: Mapping[str, str]) -> Path:
    """Return the coordinator's PANCODE_HOME, to use its files. UsageError if it is on another machine."""
    there = remote_of(environ)
    if there is not None:
        raise there.refuse(
            "this command needs the files of the coordinator's PANCODE_HOME, which is on another machine",
            f"{there.address.by_hand('pancode ...')}, or for this machine: env -u {VARIABLE} pancode ...",
        )
    return home_here(environ)


def home_here(environ: Mapping[str, str]) -> Path:
    """Return `$PANCODE_HOME` or `~/.pancode`, absolute. ConfigError for a relative or too long path, and if a
    restore into it has not ended."""
    home = home_to_fill(environ)
    refuse_unfinished_restore(home)
    return home


def home_to_fill(environ: Mapping[str, str]) -> Path:
    """Like `home_here`, for a restore."""
    given = environ.get("PANCODE_HOME")
    user = Path(environ.get("HOME") or Path.home())
    home = Path(given).expanduser() if given else user / ".pancode"
    if given and not home.is_absolute():
        raise ConfigError(
            f"PANCODE_HOME must be an absolute path: {given}",
            why="a relative path would point to a different fleet in each directory",
            fix=f"export PANCODE_HOME={home.absolute()}",
            code="home_relative",
        )
    home = home.absolute()
    long = next((part for part in home.parts if len(os.fsencode(part)) > _LONGEST_NAME), None)
    if long is not None or len(os.fsencode(home)) > _LONGEST_HOME:
        what = f"a part of {len(os.fsencode(long))} bytes" if long else f"{len(os.fsencode(home))} bytes"
        raise ConfigError(
            f"{'PANCODE_HOME' if given else 'HOME'} is too long: the path has {what}",
            why=(
                f"file systems allow names of {_LONGEST_NAME} bytes, and PanCode needs a path of at "
                f"most {_LONGEST_HOME} bytes"
            ),
            fix="set PANCODE_HOME to a shorter path",
            code="home_too_long",
        )
    return home


def _not_running(refused: ApiError) -> PancodeError:
    """Convert an API error to NotRunningError or FleetDownError by its code; callers check the class."""
    kinds = {NotRunningError.code: NotRunningError, FleetDownError.code: FleetDownError}
    kind = kinds.get(refused.code)
    return refused if kind is None else kind(str(refused), why=refused.why, fix=refused.fix)


def until_answered(
    connection: Connection, wait_s: float, report: Callable[[Json], None] | None, note: Note = discard_note
) -> None:
    """Wait until the answer on this connection begins or the connection ends; TimeoutError after `wait_s`.

    With `report`, which gets the current snapshots, wait as long as the coordinator answers other requests.
    If it does not answer other requests either, call `note`, and raise after SILENT_S at the latest.
    """
    step, waited, silent, noted = min(LOOK_S, wait_s / 4), 0.0, 0.0, False
    while not connection.has_answer(step):
        seen = try_get(connection.place, "/v1/snapshots", step)
        waited += step
        silent = 0.0 if seen is not None else silent + step
        if seen is not None and report is not None:
            report(seen)
        # each step waits twice: for the original answer, and for the answer to the check
        if silent * 2 >= NOTE_S and not noted:
            noted = True
            note(f"waiting for the coordinator, pid {connection.find_peer() or 'unknown'}")
        if silent * 2 >= min(wait_s, SILENT_S):
            raise TimeoutError(f"the coordinator has answered no request for {silent * 2:g} s")
        if report is None and waited >= wait_s:
            raise TimeoutError(f"no answer within {wait_s:g} s")


def explain_silence(error: TimeoutError, pid: int | None) -> tuple[str, str, str]:
    """Return the message, the reason and the fix of the error for a coordinator that did not answer."""
    fix = "before you retry, check whether the command had an effect: pancode runs"
    if pid is not None:
        fix += f"; if that does not answer either: kill {pid} (else kill -9 {pid}), runs on nodes continue"
    message = f"the coordinator{f', pid {pid},' if pid else ''} did not answer in time"
    return message, f"{error}; the coordinator may still be processing the request", fix


def try_get(place: Place, path: str, timeout_s: float) -> Json | None:
    """Return the coordinator's JSON answer to a GET; None if no answer comes or it is an error."""
    connection = Connection(place, timeout_s)
    try:
        connection.request("GET", path, None, {})
        response = connection.read_response()
        return answer_in(response.status, response.read())
    except (OSError, UnavailableError, ApiError, ValueError):
        return None
    finally:
        connection.close()


def answer_in(status: int, body: bytes) -> Json | None:
    """Return a response's JSON object; None for an error response. Raises ValueError for invalid JSON."""
    answer = json.loads(body)
    return answer if status < 400 and isinstance(answer, dict) else None


START_S = 60.0
STARTS_LOOK_S, NOTED = 0.05, 30
"""Seconds between checks whether a started coordinator answers, and checks until the user gets a note."""
END_S = 60.0
"""Seconds that a coordinator has to exit if it is stopped during its start."""
ANSWER_S = 120.0
LAND_S = 4 * 3600.0
"""Seconds for a landing: it runs the gates again, each of which may take an hour."""
STREAM_S = 45.0
"""Seconds after which a silent stream counts as cut; the coordinator sends something at least every 10 s."""
_LOG_CAP = 4 * 2**20


class StreamCutError(UnavailableError):
    """The error that the connection ended within a stream; request the rest from the last position."""

    code = "stream_cut"


class SilentError(StreamCutError):
    """The error that the coordinator was silent for longer than the caller waits; it may still be working."""

    code = "no_answer"


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One server-sent event; `data` is plain JSON."""

    kind: str
    data: Any


@dataclass(frozen=True, slots=True)
class LogPart:
    """Bytes of a log, and the offset after them. `state`: more exists, may come (`open`), or not (`end`)."""

    data: bytes
    attempt: str
    next: int
    state: str


@dataclass(frozen=True, slots=True)
class Change:
    """A change as a diff. `at`: when that of a run in progress was read; empty: the run has ended. `notes`:
    what it lacks."""

    diff: bytes
    at: str
    notes: str


class Client:
    """The API client of one command. `starts`: start a coordinator if none runs; else raise NotRunningError.

    `works`: the command begins work, so start even a fleet that was taken down; else raise FleetDownError.
    `folder`: the user's folder; `last` means the last run of the repository there. `program`: the server for
    models' programs that it belongs to; their commands for a node itself stay in the sandbox.
    """

    def __init__(
        self,
        place: Place,
        *,
        starts: bool = True,
        works: bool = False,
        note: Note = discard_note,
        folder: str = "",
        program: str = "",
    ) -> None:
        self.place = place
        self.note = note
        self.starts = starts
        self.works = works
        told = {"Pancode-Folder": quote(folder), "Pancode-Program": program}
        self._headers = {name: value for name, value in told.items() if value}
        self.server_version = __version__
        self._noted = ""
        self._child: subprocess.Popen[bytes] | None = None

    @overload
    def get(self, path: Route[A], **query: object) -> A: ...
    @overload
    def get(self, path: str, **query: object) -> Any: ...
    def get(self, path: str, **query: object) -> Any:
        """Return the answer; that of a path as text is plain JSON. Raises ApiError for any error answer. An
        interrupted request is sent again, because a stopping coordinator's socket still accepts requests."""
        return _read(path, self._request_json("GET", _add_query(path, query), None))

    @overload
    def post(
        self, path: Route[A], body: Json | None = None, wait_s: float = ANSWER_S, key: str = ""
    ) -> A: ...
    @overload
    def post(self, path: str, body: Json | None = None, wait_s: float = ANSWER_S, key: str = "") -> Any: ...
    def post(self, path: str, body: Json | None = None, wait_s: float = ANSWER_S, key: str = "") -> Any:
        """Like `get`, for a request that changes something. It is only resent with an idempotency `key`."""
        return _read(path, self._request_json("POST", path_in(path), body or {}, wait_s, key=key))

    @overload
    def post_work(
        self,
        path: Route[A],
        body: Json,
        report: Callable[[Json], None],
        wait_s: float = ANSWER_S,
        key: str = "",
    ) -> A: ...
    @overload
    def post_work(
        self, path: str, body: Json, report: Callable[[Json], None], wait_s: float = ANSWER_S, key: str = ""
    ) -> Any: ...
    def post_work(
        self, path: str, body: Json, report: Callable[[Json], None], wait_s: float = ANSWER_S, key: str = ""
    ) -> Any:
        """Like `post`, without a time limit while the coordinator answers other requests. `report` gets the
        current snapshots repeatedly. Raises SilentError after `wait_s` without any answer."""
        return _read(path, self._request_json("POST", path_in(path), body, wait_s, report, key))

    def raw(self, path: str, **query: object) -> bytes:
        """Return the answer's bytes unchanged."""
        return self._exchange("GET", _add_query(path, query))[1]

    def change(self, run: str, *, stat: bool = False, since: str | None = None) -> Change:
        """Return a run's change, or that of a run in progress so far. `since`: the run whose result it is
        compared with."""
        path = _add_query(path_of("runs", run, "diff"), {"stat": stat, "now": True, "since": since})
        headers, data = self._exchange("GET", path)
        return Change(data, headers.get("pancode-at") or "", unquote(headers.get("pancode-notes") or ""))

    def log(self, run: str, stream: str, attempt: str, offset: int) -> LogPart:
        """Return a part of a run's stored log, from this offset."""
        query = {"stream": stream, "attempt": attempt or None, "offset": offset}
        headers, data = self._exchange("GET", _add_query(path_of("runs", run, "log"), query))
        next_ = int(headers.get("pancode-next") or offset)
        return LogPart(
            data, headers.get("pancode-attempt") or "", next_, headers.get("pancode-state") or "end"
        )

    def events(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        query: Mapping[str, object] | None = None,
        wanted: Callable[[], bool] = lambda: True,
    ) -> Iterator[ServerEvent]:
        """Yield server-sent events until the end. ApiError for a `problem` event, StreamCutError for a cut.
        `wanted` is called before each line, so at least every 10 s; False ends the stream."""
        connection, response = self._send(method, _add_query(path, query or {}), body, STREAM_S)
        try:
            if response.status >= 400:
                _check(response, _read_answer(response.read))
            yield from _read_events(response, wanted)
        finally:
            connection.close()

    def _request_json(
        self,
        method: str,
        path: str,
        body: Json | None,
        wait_s: float = ANSWER_S,
        progress: Callable[[Json], None] | None = None,
        key: str = "",
    ) -> Any:
        """Return the JSON answer. Resend an interrupted request only if that cannot start anything twice."""
        try:
            return json.loads(self._exchange(method, path, body, wait_s, progress, key)[1])
        except SilentError:
            raise
        except StreamCutError:
            if method != "GET" and not key:
                raise
            return json.loads(self._exchange(method, path, body, wait_s, progress, key)[1])

    def _exchange(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        timeout_s: float = ANSWER_S,
        progress: Callable[[Json], None] | None = None,
        key: str = "",
    ) -> tuple[Mapping[str, str], bytes]:
        """Send a request once and return the headers and bytes of its answer. Raises ApiError."""
        connection, response = self._send(method, path, body, timeout_s, progress, key)
        try:
            data: bytes = _read_answer(response.read)
        finally:
            connection.close()
        _check(response, data)
        return response.headers, data

    def _send(
        self,
        method: str,
        path: str,
        body: Json | None,
        timeout_s: float,
        progress: Callable[[Json], None] | None = None,
        key: str = "",
    ) -> tuple[Connection, Response]:
        """Send once; if no coordinator runs (so nothing was sent), start one first. Raises FleetDownError for
        a read-only command if PANCODE_HOME does not exist, because reading must not create a fleet."""
        looks = method == "GET" and not self.works
        if looks and not isinstance(self.place, RemoteCoordinator) and not os.path.exists(self.place):
            raise FleetDownError(
                f"no fleet found in {self.place}",
                why="the directory does not exist",
                fix="pancode fleet up; if your fleet is in another directory: set PANCODE_HOME to it",
                code="no_fleet",
            )
        connection = self.open_connection(timeout_s)
        data = None if body is None else json.dumps(body).encode()
        try:
            typed = {"Content-Type": "application/json"} if data else {}
            keyed = {"Idempotency-Key": key} if key else {}
            connection.request(method, path, data, self._headers | typed | keyed)
            until_answered(connection, timeout_s, progress, self.note)
            response = _read_answer(connection.read_response)
        except BaseException as error:
            pid = connection.find_peer()
            connection.close()
            if isinstance(error, OSError):
                raise _cut(error, pid) from error
            raise
        self.server_version = response.headers.get("pancode-version") or self.server_version
        note = unquote(response.headers.get("pancode-note") or "")
        if note and note != self._noted:
            self.note(f"note: {note}")
            self._noted = note
        return connection, response

    def open_connection(self, timeout_s: float) -> Connection:
        """Return a connection on which nothing was sent yet; start the coordinator if that is allowed."""
        connection = Connection(self.place, timeout_s, starts=self.starts, works=self.works)
        try:
            connection.connect()
            return connection
        except ApiError as refused:
            raise _not_running(refused) from refused
        except NotRunningError as none:
            # the remote machine has already decided whether to start its coordinator
            if isinstance(self.place, RemoteCoordinator):
                raise
            if not self.works:
                _unless_down(self.place, none)
            if not self.starts:
                raise
        except UnavailableError as lost:
            if not isinstance(self.place, RemoteCoordinator) or not self.place.was_reached:
                raise
            raise StreamCutError(str(lost), why=lost.why, fix=lost.fix, code=lost.code) from lost
        start_coordinator(self.place, self.note, self._store_child)
        with suppress(NotRunningError):
            connection.connect()
            return connection
        # it has learned that another one leads the fleet, and ended; the next one says so
        start_coordinator(self.place, self.note, self._store_child)
        connection.connect()
        return connection

    def _store_child(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child

    def end_started(self) -> None:
        """Stop the coordinator that this client is starting, and return when it has exited."""
        import subprocess

        if self._child is None:
            return
        self._child.terminate()
        try:
            self._child.wait(END_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


class RepeatedPost:
    """A sender of messages that may be resent: until a message is answered, the same message goes to the same
    path with the same idempotency key. `key`: makes a new key."""

    def __init__(self, key: Callable[[], str]) -> None:
        self._new_key = key
        self._last: tuple[Json, str, str] | None = None

    def post(
        self, client: Client, path: str, body: Json, report: Callable[[Json], None] | None = None
    ) -> Any:
        """Like `Client.post`, or with `report` like `Client.post_work`. An unanswered message is resent to
        its first path with the same key, so that the coordinator acts on it only once."""
        last = self._last
        if last is None or last[0] != body:
            last = self._last = body, path, self._new_key()
        try:
            if report is None:
                answer = client.post(last[1], body, key=last[2])
            else:
                answer = client.post_work(last[1], body, report, key=last[2])
        except ApiError as refused:
            if refused.code != "key_at_work":  # with this code, the first request is still in progress
                self._last = None
            raise
        self._last = None
        return answer

    def forget(self) -> None:
        """Forget the last message: it arrived after all, so the same text then counts as a new message."""
        self._last = None


def _unless_down(home: Path, none: NotRunningError) -> None:
    """Raise FleetDownError if a user has taken the fleet down."""
    record = read_down(home)
    if record is not None:
        raise is_down(home, record) from none


def path_of(*parts: str) -> str:
    """Return a path of the API. Each part is quoted, so it stays one part. UsageError for an empty part."""
    return "/v1/" + "/".join(quote(check_name(part), safe="") for part in parts)


def start_coordinator(
    home: Path,
    note: Note = discard_note,
    began: Callable[[subprocess.Popen[bytes]], None] = lambda child: None,
) -> None:
    """Start a coordinator in a new session and wait until one answers, even if another process started it.

    `note` is called if the start takes long; `began` is called with each started process. Raises
    UnavailableError, or the error that the coordinator itself printed.
    """
    log, stamp = _log_in(home), down_stamp(home)
    begin = log.stat().st_size if log.exists() else 0
    child = _spawn_coordinator(home, log, stamp)
    began(child)
    for look in range(int(START_S / STARTS_LOOK_S)):
        pid = _find_answering(home)
        if pid is not None:
            if pid != child.pid:
                # a child that is still starting must not come up after the answering coordinator has stopped
                child.terminate()
            return
        code = child.poll()
        if code not in (None, 0):
            raise _start_failed(log, begin, code or 1)
        if code == 0 and look % 20 == 19:  # the child found another coordinator, which may have been stopping
            child = _spawn_coordinator(home, log, stamp)
            began(child)
        if look == NOTED:
            note(f"the coordinator for {home} is starting ...")
        time.sleep(STARTS_LOOK_S)
    raise UnavailableError(
        "the coordinator did not answer in time",
        why=f"it did not answer within {START_S:.0f} s; on a busy machine it may still be starting. Its log: "
        f"{log}",
        fix="pancode node ls",
    )


def _log_in(home: Path) -> Path:
    """Return the path of the coordinator's log. Raises ConfigError for a PANCODE_HOME that cannot be used."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / "run").mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        raise unusable_home_error(home, exc) from exc
    log = home / "run/coordinator.log"
    if log.exists() and log.stat().st_size > _LOG_CAP:
        log.replace(log.with_suffix(".log.1"))
    return log


def _spawn_coordinator(home: Path, log: Path, stamp: int) -> subprocess.Popen[bytes]:
    """Start a coordinator. If it is slow, it still comes up, unless the fleet is taken down after `stamp`."""
    import subprocess

    with open(log, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as sink:
        return subprocess.Popen(
            [sys.executable, "-m", "pancode", "serve", "--child", "--down-stamp", str(stamp)],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            cwd="/",
            env={**os.environ, "PANCODE_HOME": str(home)},
            start_new_session=True,
        )


def _find_answering(home: Path) -> int | None:
    """Return the pid of the coordinator that answers, or None."""
    try:
        return int((try_get(home, "/v1/ping", 5) or {})["pid"])
    except (ValueError, KeyError):
        return None


def _start_failed(log: Path, begin: int, code: int) -> PancodeError:
    """Return the error that the child printed as JSON, or else an error with its last lines of output."""
    with open(log, "rb") as file:
        file.seek(begin)
        lines = file.read()[-8000:].decode("utf-8", "replace").strip().splitlines()
    for line in reversed(lines):
        try:
            problem = json.loads(line)["error"]
        except (ValueError, KeyError, TypeError):
            continue
        return ApiError(problem)
    # if the disk is full, the child could not write its error there either
    if not lines and not os.statvfs(log.parent).f_bavail:
        return unusable_home_error(log.parents[1], OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    return UnavailableError(
        f"the coordinator did not start (exit {code})",
        why=" | ".join(lines[-4:]) or "the coordinator printed no output",
        fix=f"see {log}, or run pancode admin serve",
    )


def _read_events(response: Response, wanted: Callable[[], bool]) -> Iterator[ServerEvent]:
    kind, data = "message", ""
    while wanted():
        line = _read_answer(response.readline)
        if not line:
            return
        text = line.decode().rstrip("\r\n")
        if text.startswith("event:"):
            kind = text[6:].strip()
        elif text.startswith("data:"):
            data += text[5:].strip()
        elif not text and data:
            parsed = json.loads(data)
            if kind == "problem":
                raise ApiError(parsed)
            yield ServerEvent(kind, parsed)
            kind, data = "message", ""


def _read_answer(read: Any) -> Any:
    """Return the result of `read`. Raises StreamCutError if the coordinator's answer is cut off."""
    try:
        return read()
    except OSError as exc:
        raise _cut(exc) from exc


def _cut(error: BaseException, pid: int | None = None) -> StreamCutError:
    """Return a StreamCutError; SilentError after a timeout: the coordinator may still process the request."""
    if not isinstance(error, TimeoutError):
        return _went_away(error)
    message, why, fix = explain_silence(error, pid)
    return SilentError(message, why=why, fix=fix)


def _went_away(error: BaseException) -> StreamCutError:
    return StreamCutError(
        "the connection to the coordinator was lost during its answer",
        why=cut_link() or describe_cause(error),
        fix="before you retry, check whether the command had an effect: pancode runs",
    )


def _check(response: Response, data: bytes) -> None:
    if response.status < 400:
        return
    try:
        problem = json.loads(data)
    except ValueError:
        problem = {}
    details = problem if isinstance(problem, dict) else {}
    raise ApiError({"message": f"the coordinator answered with HTTP status {response.status}", **details})


def _read(path: str, answer: Any) -> Any:
    return path.read(answer) if isinstance(path, Route) else answer


def _add_query(path: str, query: Mapping[str, object]) -> str:
    params = {
        name: ("1" if value is True else check_name(str(value)))
        for name, value in query.items()
        if value is not None and value is not False
    }
    return f"{path_in(path)}?{urlencode(params)}" if params else path_in(path)
