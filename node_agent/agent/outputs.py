"""Uploads agents' outputs while they grow, from a copy in which the values of secrets are redacted."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from node_agent.attempt.journal import Journal
from node_agent.attempt.plans import OUT, SHOWN, SHOWN_BY_LINES, STREAMS
from node_agent.attempt.ports import DepotLink, LinkDown, StepFailed
from node_agent.intervals import Intervals
from node_agent.vault.redact import Redactor
from node_agent.wire.clock import Clock
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import AttemptId, Mark
from node_agent.wire.receipt import Blob

CHUNK = 1 << 18
MOST_STREAMS = 512
"""The most streams kept in memory; another one is read from its beginning if it is needed again."""

Hidden = Callable[[AttemptId], Mapping[str, str]]


SAID = b'{"type": "said", "text": '
MOST_SAID = 1 << 20
"""The maximum bytes of an unfinished line to wait for; a longer line is shown as it arrives."""


class SaidRedactor:
    """Redacts secrets in an agent's text that arrives in pieces, each a line of JSON. The end of a piece may
    cut a secret in two, so text that may be the beginning of a secret is shown only with the next piece."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._text, self._line, self._begins = Redactor(secrets), b"", True

    def feed(self, data: bytes) -> bytes:
        """Return the bytes that may be shown now. An unfinished line that may be a piece is kept back until
        it is complete."""
        *whole, last = (self._line + data).split(b"\n")
        shown, self._line = [self._redact_line(line + b"\n") for line in whole], b""
        if self._begins and len(last) <= MOST_SAID and (last.startswith(SAID) or SAID.startswith(last)):
            self._line = last
        else:
            shown.append(self._redact_line(last))
            self._begins = False
        return b"".join(shown)

    def close(self) -> bytes:
        """Return the bytes that were kept back."""
        line, self._line = self._line, b""
        return self._take_rest() + line

    def _redact_line(self, line: bytes) -> bytes:
        begins, self._begins = self._begins, True
        text = _parse_said(line) if begins and len(line) <= MOST_SAID else None
        if text is None:
            return self._take_rest() + line
        redacted = self._text.feed(text)
        return line if redacted == text else _make_piece(redacted)

    def _take_rest(self) -> bytes:
        return _make_piece(self._text.close())


def _parse_said(line: bytes) -> bytes | None:
    """Return the text of the piece in this line; None for any other line."""
    if not line.startswith(SAID):
        return None
    try:
        text = json.loads(line)["text"]
    except (ValueError, RecursionError):
        return None
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else None


def _make_piece(text: bytes) -> bytes:
    if not text:
        return b""
    return json.dumps({"type": "said", "text": text.decode("utf-8", "surrogatepass")}).encode() + b"\n"


class RedactedStream:
    """One output of one attempt. Each node agent session makes the redacted copy again from the first byte.
    The depot keeps received bytes, so they must not change: the copy's name states how it is made."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self.lock = threading.Lock()
        self._secrets = secrets
        self._said, self._redactor = SaidRedactor(secrets), Redactor(secrets)
        self._offset, self._begun, self._ended = 0, False, False

    def shown(self, raw: Path, ended: bool) -> Path:
        """Extend the copy to the raw file's size and return it; the raw file if nothing needs redaction."""
        if self._redactor.is_idle:
            return raw
        by_lines = raw.with_name(raw.name + SHOWN_BY_LINES)
        joins = not by_lines.exists()
        copy = raw.with_name(raw.name + SHOWN) if joins else by_lines
        if self._ended or not self._begun:  # After the end of the output, every call returns the same copy.
            self._said = SaidRedactor(self._secrets if joins else {})
            self._redactor, self._offset, self._begun = Redactor(self._secrets), 0, False
        how = os.O_APPEND if self._begun else os.O_TRUNC
        # If a write fails midway, the next call starts from the beginning.
        self._begun, self._ended = False, ended
        flags = os.O_CLOEXEC | os.O_NOFOLLOW
        with (
            open(os.open(raw, os.O_RDONLY | flags), "rb") as source,
            open(os.open(copy, os.O_WRONLY | os.O_CREAT | how | flags, 0o600), "ab") as target,
        ):
            source.seek(self._offset)
            while chunk := source.read(CHUNK):
                target.write(self._redactor.feed(self._said.feed(chunk)))
                self._offset += len(chunk)
            if ended:
                target.write(self._redactor.feed(self._said.close()) + self._redactor.close())
        self._begun = True
        return copy


class RedactingDepot:
    """A DepotLink that wraps another one and redacts outputs. `hidden`: the secrets to redact, by attempt."""

    def __init__(self, inner: DepotLink, hidden: Hidden) -> None:
        self._inner, self._hidden = inner, hidden
        self._lock = threading.Lock()
        self._streams: dict[tuple[AttemptId, str], RedactedStream] = {}

    def upload(self, identity: AttemptId, name: str, path: Path) -> Blob:
        stream = self._open_stream(identity, name)
        with stream.lock:
            return self._inner.upload(identity, name, _copy_stream(stream, path, ended=True))

    def follow(self, identity: AttemptId, name: str, path: Path, stays: bool = False) -> None:
        stream = self._open_stream(identity, name)
        with stream.lock:
            self._inner.follow(identity, name, _copy_stream(stream, path, ended=False), stays)

    def close_others(self, live: Collection[AttemptId]) -> None:
        self._inner.close_others(live)

    def _open_stream(self, identity: AttemptId, name: str) -> RedactedStream:
        with self._lock:
            stream = self._streams.pop((identity, name), None) or RedactedStream(self._hidden(identity))
            self._streams[(identity, name)] = stream
            while len(self._streams) > MOST_STREAMS:
                self._streams.pop(next(iter(self._streams)))
            return stream


def _copy_stream(stream: RedactedStream, path: Path, ended: bool) -> Path:
    """Return the redacted copy. StepFailed, as the port requires."""
    try:
        return stream.shown(path, ended)
    except OSError as exc:
        kind = FailureKind.DISK_FULL if exc.errno in (errno.ENOSPC, errno.EDQUOT) else FailureKind.DEPOT
        raise StepFailed(kind, f"{path.name} cannot be redacted: {exc}") from exc


_WRITING = (Mark.SPAWNED, Mark.COMMITTED)


class Follower:
    """Sends outputs while they grow. Bytes that it misses are sent with the final upload."""

    def __init__(self, journal: Journal, depot: DepotLink, clock: Clock, intervals: Intervals) -> None:
        self._journal, self._depot, self._clock, self._intervals = journal, depot, clock, intervals
        self._sizes: dict[tuple[AttemptId, str], int] = {}
        self._rests: dict[tuple[AttemptId, str], tuple[int, int]] = {}
        """For an output that could not be sent: when to try again, and the delay before that."""
        self._interactive_runs: list[AttemptId] = []

    def turn(self, interactive_runs: bool = False) -> None:
        """Check every running attempt once. `interactive_runs`: check, more often, only the text of the
        interactive runs that the last full check found. A link that is down ends the check, and the next one
        is a full one."""
        live, names = self._interactive_runs, [OUT]
        if not interactive_runs:
            live = [entry.identity for entry in self._journal.live() if entry.mark in _WRITING]
            names = list(STREAMS)
            self._sizes = {key: size for key, size in self._sizes.items() if key[0] in live}
            self._rests = {key: rest for key, rest in self._rests.items() if key[0] in live}
            self._depot.close_others(live)
            self._interactive_runs = [one for one in live if self._journal.job(one).turns is not None]
        for identity in live:
            for name in names:
                try:
                    self._send(identity, name)
                except LinkDown:
                    self._interactive_runs = []
                    return
                except (StepFailed, OSError, KeyError):
                    self._delay_next(identity, name)

    def leave(self) -> None:
        """Close the streams of the interactive runs; the next node agent opens them again."""
        self._depot.close_others(())

    def _send(self, identity: AttemptId, name: str) -> None:
        path = self._journal.folder(identity) / name
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return
        key = (identity, name)
        if size != self._sizes.get(key, 0) and self._clock.mono_ms() >= self._rests.get(key, (0, 0))[0]:
            self._depot.follow(identity, name, path, stays=identity in self._interactive_runs)
            self._sizes[key] = size
            self._rests.pop(key, None)

    def _delay_next(self, identity: AttemptId, name: str) -> None:
        _, last = self._rests.get((identity, name), (0, 0))
        pause = min(max(2 * last, self._intervals.retry_ms), self._intervals.publish_most_ms)
        self._rests[(identity, name)] = (self._clock.mono_ms() + pause, pause)
