"""Writes the worker's events as lines of JSON, with the model's text in pieces; reads users' messages."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator

from node_agent.wire.clock import Clock
from node_agent.wire.fleet import LaidFleetAnswer, fleet_answer_file
from node_agent.wire.identity import (
    ATTEMPT,
    MESSAGES_KEY,
    SEAL,
    LaidMessage,
    messages_in,
    turn_control_file,
    unseal_text,
)

PRINTS_MS, MOST_PRINT, MOST_PRINTED = 250, 4 << 10, 256 << 10
"""How often the output of a command is told while it runs, and the most bytes at once and in all."""
MOST_THOUGHT = 20_000
"""The most characters of one thought in the stream."""
PIECE, LATEST_MS = 400, 1000
"""A piece of text is written at this many characters, or this many milliseconds after the last one."""
MOST_WORDS = 200_000
"""The maximum bytes that are read from the file of a user message: 20,000 characters, as JSON."""
SAYS = "{} adds, while you work: {}"


class Voice:
    """Writes the worker's stream to `fd` and counts the bytes."""

    def __init__(self, clock: Clock, fd: int = 1) -> None:
        self._clock, self._fd = clock, fd
        self._text: list[str] = []
        self._thought, self._began = "", 0
        self._size, self._last = 0, clock.mono_ms()
        self.latest_ms = LATEST_MS
        self.written = 0
        self.answer: list[str] = []
        """The pieces of the current answer, which is all text since the last event."""

    def think(self, text: str) -> None:
        """Add a piece of what the model thinks; it is written as one event before what follows."""
        self._began = self._began if self._thought else self._clock.mono_ms()
        self._thought = (self._thought + text)[:MOST_THOUGHT]

    def say(self, text: str) -> None:
        """Add a piece of the model's text to the stream."""
        self._end_thought()
        self._text.append(text)
        self.answer.append(text)
        self._size += len(text)
        now = self._clock.mono_ms()
        if self._size >= PIECE or now - self._last >= self.latest_ms:
            self.flush()

    def flush(self) -> bool:
        """Write the buffered text; return whether there was any."""
        text, self._text, self._size = "".join(self._text), [], 0
        self._last = self._clock.mono_ms()
        if text:
            self._write({"type": "said", "text": text})
        return bool(text)

    def tell(self, kind: str, **fields: object) -> None:
        """Write an event, after any buffered text and thought; calls get the time."""
        self.flush()
        self._end_thought()
        self.answer.clear()
        timed = {"at": self._clock.wall_ms()} if kind in ("called", "ran", "denied") else {}
        self._write({"type": kind, **timed, **fields})

    def _end_thought(self) -> None:
        text, self._thought = self._thought, ""
        if text.strip():
            spent_ms = self._clock.mono_ms() - self._began
            self._write({"type": "thought", "at": self._clock.wall_ms(), "ms": spent_ms, "text": text})

    def sync(self) -> None:
        """Sync the stream to the disk, if the stream is a file."""
        with contextlib.suppress(OSError):
            os.fsync(self._fd)

    def _write(self, event: dict[str, object]) -> None:
        data = json.dumps(event, ensure_ascii=True).encode() + b"\n"
        self.written += len(data)
        while data:
            data = data[os.write(self._fd, data) :]


class CommandOutput:
    """Tells what a command prints while it runs: whole lines, so that no secret is cut in two, at most
    each `PRINTS_MS`, the newest `MOST_PRINT` bytes of them, and `MOST_PRINTED` bytes in all."""

    def __init__(self, voice: Voice, call: str, clock: Clock) -> None:
        self._voice, self._call, self._clock = voice, call, clock
        self._held, self._rest, self._next_ms, self._told = b"", b"", clock.mono_ms() + PRINTS_MS, 0

    def add(self, data: bytes) -> None:
        whole, end, rest = (self._rest + data).rpartition(b"\n")
        self._held, self._rest = (self._held + whole + end)[-MOST_PRINT:], rest[-MOST_PRINT:]
        now = self._clock.mono_ms()
        if self._held and now >= self._next_ms and self._told < MOST_PRINTED:
            # the first line may be cut
            text = self._held if len(self._held) < MOST_PRINT else self._held.partition(b"\n")[2]
            self._voice.tell("printed", id=self._call, text=text.decode("utf-8", "replace"))
            self._told, self._held, self._next_ms = self._told + len(text), b"", now + PRINTS_MS


class UserMessages:
    """A user's messages. `home`: the run's; `attempt`: the one whose messages are read, as the home may have
    others.

    Every program of the run may write to the home, so only what the node sealed with `secret` is a user's.
    """

    def __init__(self, home: str, attempt: str, secret: str, voice: Voice) -> None:
        self._folder, self._secret, self._voice = os.path.join(home, messages_in(attempt)), secret, voice
        self._seen: set[int] = set()

    @classmethod
    def of(cls, home: str, voice: Voice) -> UserMessages:
        """Return the messages of this process's attempt. Removes the secret, so call it before starting any
        program."""
        secret = b""
        with contextlib.suppress(OSError):
            at = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
            try:
                secret = _read(MESSAGES_KEY, at)
                os.unlink(MESSAGES_KEY, dir_fd=at)
            finally:
                os.close(at)
        return cls(home, os.environ.get(ATTEMPT, ""), secret.decode("ascii", "replace"), voice)

    @property
    def taken(self) -> int:
        """Return how many messages count as read."""
        return len(self._seen)

    def new(self, most: int | None = None) -> str:
        """Return up to `most` new messages as one text, oldest first, and mark them as read; empty if there
        are none."""
        messages = []
        for number, message in self._found()[:most]:
            self._seen.add(number)
            messages.append(SAYS.format(message.by or "A user", message.text))
            self._voice.tell("heard", number=number, by=message.by, text=message.text)
        return "\n\n".join(messages)

    def first(self) -> tuple[int, LaidMessage] | None:
        """Return the oldest unread message and mark it as read; None if there is none."""
        found = next(iter(self._found()), None)
        if found is not None:
            self._seen.add(found[0])
        return found

    def wants(self, what: str, turns: range) -> bool:
        """Whether a user requested the control `what` for one of these turns of an interactive run."""
        with self._open_folder() as folder:
            if folder is None:
                return False
            files = {turn_control_file(what, one): one for one in turns}
            names = files.keys() & os.listdir(folder) if len(files) > 1 else files.keys()
            return any(unseal_text(self._secret, files[name], _read(name, folder)) == what for name in names)

    def fleet_answer(self, number: int) -> LaidFleetAnswer | None:
        """Return the answer to this fleet call; None if it has not arrived."""
        with self._open_folder() as folder:
            if folder is None:
                return None
            text = unseal_text(self._secret, -number, _read(fleet_answer_file(number), folder))
        return LaidFleetAnswer.model_validate_json(text) if text else None

    def _found(self) -> list[tuple[int, LaidMessage]]:
        """Return unread messages. An unreadable or unsealed file is read again later, because the node may
        replace it."""
        with self._open_folder() as folder:
            if folder is None:
                return []
            names = [name for name in os.listdir(folder) if name.isascii() and name.isdecimal()]
            numbers = sorted({int(name) for name in names} - self._seen)
            read = [(one, unseal_text(self._secret, one, _read(str(one), folder))) for one in numbers]
        return [(number, LaidMessage.model_validate_json(text)) for number, text in read if text]

    @contextlib.contextmanager
    def _open_folder(self) -> Iterator[int | None]:
        """Yield a descriptor of the messages' folder; None if the folder does not exist."""
        try:
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            yield None
            return
        try:
            yield folder
        finally:
            os.close(folder)


def _read(name: str, folder: int) -> bytes:
    """Return the content of a regular file, without blocking; empty for anything else."""
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return b""
    try:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            return os.read(handle, SEAL + MOST_WORDS)
    except OSError:
        pass
    finally:
        os.close(handle)
    return b""
