"""Writes the worker's events as lines of JSON, the model's text in pieces; reads people's words."""

from __future__ import annotations

import contextlib
import json
import os
import stat

from node_agent.wire.clock import Clock
from node_agent.wire.identity import ATTEMPT, SEAL, WORDS_KEY, Said, unsealed, words_in

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
        self.written = 0

    def say(self, text: str) -> None:
        """A piece of what the model says."""
        self._text.append(text)
        self._size += len(text)
        now = self._clock.mono_ms()
        if self._size >= PIECE or now - self._last >= LATEST_MS:
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
        self._write({"type": kind, **fields})

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

    def new(self) -> str:
        """All that was said since the last look, oldest first; empty: nothing. It counts as heard."""
        messages = []
        for number, text in self._found():
            self._seen.add(number)
            said = Said.model_validate_json(text)
            messages.append(SAYS.format(said.by or "A person", said.text))
            self._voice.tell("heard", number=number, by=said.by, text=said.text)
        return "\n\n".join(messages)

    def _found(self) -> list[tuple[int, str]]:
        """What cannot be read, or is not sealed, is looked at again: the node may lay words of that name."""
        try:
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            return []
        try:
            names = [name for name in os.listdir(folder) if name.isascii() and name.isdecimal()]
            numbers = sorted({int(name) for name in names} - self._seen)
            read = [(one, unsealed(self._secret, one, _read(str(one), folder))) for one in numbers]
        finally:
            os.close(folder)
        return [(number, text) for number, text in read if text]


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
