"""Verbs of logs: the streams of a run, and a log by byte offset."""

from __future__ import annotations

from collections.abc import Mapping

from pancode.control.core import Core
from pancode.control.faces import Streams
from pancode.runs.log import LogPiece, LogPlace, read_log, stream_names


class LogVerbs:
    """`run` names a run as in `RunVerbs`."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def place(self, query: Mapping[str, str]) -> LogPlace:
        """A place in a log, from the words of a request. UsageError."""
        return LogPlace.of(query)

    def read(self, streams: Streams, run: str, place: LogPlace) -> LogPiece:
        """The next bytes of a run's log from this place."""
        return read_log(self._core, streams, run, place)

    def names(self, streams: Streams, run: str) -> dict[str, list[str]]:
        """The streams of a run that have begun to arrive, by attempt."""
        return stream_names(self._core, streams, run)
