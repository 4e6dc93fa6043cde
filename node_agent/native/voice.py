"""Writes the worker's events as lines of JSON, the model's text in pieces; reads people's words."""

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
    SEAL,
    WORDS_KEY,
    LaidWords,
    turn_control_file,
    unsealed,
    words_in,
)

PIECE, LATEST_MS = 400, 1000
"""A piece of text is told when it is so long, or when the last one was told so long ago."""
MOST_WORDS = 200_000
"""Bytes of one person's words that are read: 20,000 characters, as JSON."""
SAYS = "{} adds, while you work: {}"


class Voice:
    """`fd`: where to. Counts what was written."""

    def __init__(self, clock: Clock, fd: int = 1) -> None:
        self._clock, self._fd = clock, fd
        self._text: list[str] = []
        self._size, self._last = 0, clock.mono_ms()
        self.latest_ms = LATEST_MS
        self.written = 0
        self.answer: list[str] = []
        """The pieces of the answer that comes: all text since the last event."""

    def say(self, text: str) -> None:
        """A piece of what the model says."""
        self._text.append(text)
        self.answer.append(text)
        self._size += len(text)
        now = self._clock.mono_ms()
        if self._size >= PIECE or now - self._last >= self.latest_ms:
            self.flush()

    def flush(self) -> None:
        """Tell what is held back."""
        text, self._text, self._size = "".join(self._text), [], 0
        self._last = self._clock.mono_ms()
        if text:
            self._write({"type": "said", "text": text})

    def tell(self, kind: str, **fields: object) -> None:
        """An event, after what was said before it."""
        self.flush()
        self.answer.clear()
        self._write({"type": kind, **fields})

    def sync(self) -> None:
        """What was told is on the disk, where the stream is a file."""
        with contextlib.suppress(OSError):
            os.fsync(self._fd)

    def _write(self, event: dict[str, object]) -> None:
        data = json.dumps(event, ensure_ascii=True).encode() + b"\n"
        self.written += len(data)
        while data:
            data = data[os.write(self._fd, data) :]


class PersonWords:
    """`home`: of the run; `attempt`: whose words count there; a session's home may have others.

    Every program of the run may write there: only what the node has sealed with `secret` is a person's.
    """

    def __init__(self, home: str, attempt: str, secret: str, voice: Voice) -> None:
        self._folder, self._secret, self._voice = os.path.join(home, words_in(attempt)), secret, voice
        self._seen: set[int] = set()

    @classmethod
    def of(cls, home: str, voice: Voice) -> PersonWords:
        """Those for the attempt of this process. Takes the secret away: call it before anything runs."""
        secret = b""
        with contextlib.suppress(OSError):
            at = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
            try:
                secret = _read(WORDS_KEY, at)
                os.unlink(WORDS_KEY, dir_fd=at)
            finally:
                os.close(at)
        return cls(home, os.environ.get(ATTEMPT, ""), secret.decode("ascii", "replace"), voice)

    @property
    def taken(self) -> int:
        """How many messages count as heard."""
        return len(self._seen)

    def new(self, most: int | None = None) -> str:
        """What was said since the last look, oldest first, up to `most` messages; empty: nothing. It counts
        as heard."""
        messages = []
        for number, said in self._found()[:most]:
            self._seen.add(number)
            messages.append(SAYS.format(said.by or "A person", said.text))
            self._voice.tell("heard", number=number, by=said.by, text=said.text)
        return "\n\n".join(messages)

    def first(self) -> tuple[int, LaidWords] | None:
        """The oldest message since the last look; None: there is none. It counts as heard."""
        found = next(iter(self._found()), None)
        if found is not None:
            self._seen.add(found[0])
        return found

    def wants(self, what: str, turns: range) -> bool:
        """Check whether somebody wants this of one of these turns of a sitting."""
        with self._opened() as folder:
            if folder is None:
                return False
            files = {turn_control_file(what, one): one for one in turns}
            names = files.keys() & os.listdir(folder) if len(files) > 1 else files.keys()
            return any(unsealed(self._secret, files[name], _read(name, folder)) == what for name in names)

    def fleet_answer(self, number: int) -> LaidFleetAnswer | None:
        """The answer to this call of a tool of the fleet; None: it has not come."""
        with self._opened() as folder:
            if folder is None:
                return None
            text = unsealed(self._secret, -number, _read(fleet_answer_file(number), folder))
        return LaidFleetAnswer.model_validate_json(text) if text else None

    def _found(self) -> list[tuple[int, LaidWords]]:
        """What cannot be read, or is not sealed, is looked at again: the node may lay words of that name."""
        with self._opened() as folder:
            if folder is None:
                return []
            names = [name for name in os.listdir(folder) if name.isascii() and name.isdecimal()]
            numbers = sorted({int(name) for name in names} - self._seen)
            read = [(one, unsealed(self._secret, one, _read(str(one), folder))) for one in numbers]
        return [(number, LaidWords.model_validate_json(text)) for number, text in read if text]

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int | None]:
        """The folder; None where there is none."""
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
    """The content of a regular file, without waiting for anybody; empty for anything else."""
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
