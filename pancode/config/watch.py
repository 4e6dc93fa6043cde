"""Records in the audit log when the coordinator's settings change: the keys and their sources."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from threading import Lock

from pancode.kernel.records import Setting
from pancode.runs.core import Core
from pancode.runs.unit_of_work import unit_of_work

ROW = "configuration_digests"
UNSET = "built-in"
MOST_NAMED = 100
Rows = Callable[[], Sequence[tuple[str, str, str]]]
"""Reads (key, value including passwords, source) of each setting; the source is `FILE:LINE`, or a name."""
_Seen = dict[str, list[str]]
"""For each key that is set: a keyed digest of the value, and the source."""


class ConfigWatch:
    """Compares the settings with those last seen, even before a restart. No value is stored. `secret`: known
    only to this coordinator, so that a password cannot be guessed from its digest in the ledger."""

    def __init__(self, core: Core, rows: Rows, secret: str) -> None:
        self._core, self._rows, self._secret = core, rows, secret.encode()
        self._seen: _Seen | None = None
        self._lock = Lock()

    def look(self) -> None:
        """Record what has changed since the last call. Raise ConfigError if the settings cannot be read."""
        with self._lock:
            now = {
                key: [self._digest_value(value), _strip_line(origin)] for key, value, origin in self._rows()
            }
            now = {key: found for key, found in now.items() if found[1] != UNSET}
            before = self._read_kept() if self._seen is None else self._seen
            if now != before:
                core = self._core
                with unit_of_work(core) as work:
                    work.tx.put(Setting(ROW, now, core.wall_ms(), "coordinator"))
                    if before is not None:
                        keys, sources = find_changes(before, now)
                        detail = {"keys": keys[:MOST_NAMED], "count": len(keys), "from": sources}
                        work.audit("config", "info", "configuration changed", None, **detail)
            self._seen = now

    def _digest_value(self, value: str) -> str:
        return hmac.new(self._secret, value.encode("utf-8", "replace"), sha256).hexdigest()[:32]

    def _read_kept(self) -> _Seen | None:
        """Return the digests of the settings that the ledger stores; None if none were recorded yet."""
        with self._core.ports.ledger.transaction() as tx:
            row = tx.get(Setting, ROW)
        return dict(row.value) if row is not None and isinstance(row.value, dict) else None


def find_changes(
    before: Mapping[str, list[str]], now: Mapping[str, list[str]]
) -> tuple[list[str], list[str]]:
    """Return the keys that differ, and their current sources, or the former source of a key no longer set."""
    keys = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    return keys, sorted({(now.get(key) or before[key])[1] for key in keys})


def _strip_line(origin: str) -> str:
    """Return the source without its line number, which changes with each line added above."""
    name, _, line = origin.rpartition(":")
    return name if name and line.isdigit() else origin
