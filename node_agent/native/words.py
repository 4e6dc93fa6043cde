"""Words of a person that come while the run works: read from files that the node lays into its home."""

from __future__ import annotations

import contextlib
import os

from node_agent.native.voice import Voice
from node_agent.wire.words import words_in

MOST = 40_000
"""Bytes of one file that are read."""
SAYS = "A person adds, while you work: {}"


class PersonWords:
    """`home`: of the run; `attempt`: whose words count there; a session's home may have others."""

    def __init__(self, home: str, attempt: str, voice: Voice) -> None:
        self._folder, self._voice = os.path.join(home, words_in(attempt)), voice
        self._seen: set[str] = set()

    def new(self) -> str:
        """All that was said since the last look, oldest first; empty: nothing. It counts as heard."""
        told = []
        for name in self._names():
            self._seen.add(name)
            text = self._text(name)
            if text:
                told.append(SAYS.format(text))
                self._voice.tell("heard", number=int(name))
        return "\n\n".join(told)

    def _names(self) -> list[str]:
        try:
            found = os.listdir(self._folder)
        except OSError:
            return []
        return sorted((one for one in found if one.isdecimal() and one not in self._seen), key=int)

    def _text(self, name: str) -> str:
        with contextlib.suppress(OSError), open(os.path.join(self._folder, name), "rb") as file:
            return file.read(MOST).decode("utf-8", "replace")
        return ""
