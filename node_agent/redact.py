"""Takes the values of secrets out of what leaves the node, wherever the pieces of a stream are cut. Pure.

A value is found as it is, as JSON (in JSON, too) and as a URL write it, in hex, and in base64 at any offset.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import quote

SHORTEST = 8
"""A shorter value could not be told from ordinary words, such as the `ollama` of a server without keys."""
SHORTEST_LINE = 16
"""Of a value of several lines, such as a private key, each line of this length is looked for, too."""
_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|COOKIE", re.IGNORECASE)
_ADDRESS = re.compile(r"https?://[^@]*$")


def is_secret_name(name: str) -> bool:
    """Whether a variable's value is to be hidden although nobody called it a secret."""
    return _NAMES.search(name) is not None


def secret_values(given: Mapping[str, str]) -> dict[str, str]:
    """Those that can and should be hidden: not what is too short, nor an address without a password in it."""
    return {n: v for n, v in given.items() if len(v) >= SHORTEST and not _ADDRESS.match(v)}


class Redactor:
    """One stream. Memory is bounded by one piece and the longest value."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        """`secrets`: name to value; the name stands in the place of the value."""
        self._found, self._pattern = _compiled(tuple(sorted(secret_values(secrets).items())))
        self._begins = {value[:n] for value in self._found for n in (1, 2)}
        self._longest = max(map(len, self._found), default=0)
        self._held = b""

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to look for."""
        return not self._found

    def feed(self, chunk: bytes) -> bytes:
        """What may be shown now. The beginning of what might become a value waits for the next piece."""
        return self._take(self._held + chunk, ended=False)

    def close(self) -> bytes:
        """The rest."""
        return self._take(self._held, ended=True)

    def _take(self, data: bytes, ended: bool) -> bytes:
        if self.is_idle:
            self._held = b""
            return data
        shown, at = [], 0
        hold = len(data) if ended else self._doubtful(data, at)
        while (match := self._pattern.search(data, at)) and match.start() < hold:
            shown += [data[at : match.start()], self._found[match[0]]]
            at = match.end()
            if at > hold:  # asked only then: after each match of a full piece it would cost the piece squared
                hold = self._doubtful(data, at)
        self._held = b"" if ended else data[hold:]
        return b"".join([*shown, data[at:hold]])

    def _doubtful(self, data: bytes, at: int) -> int:
        """Where a value may begin whose end has not come yet."""
        for start in range(max(at, len(data) - self._longest + 1), len(data)):
            if data[start : start + 2] not in self._begins:
                continue
            rest = data[start:]
            if any(len(rest) < len(value) and value.startswith(rest) for value in self._found):
                return start
        return len(data)


def redacted(text: str, secrets: Mapping[str, str]) -> str:
    """A whole text without them."""
    redactor = Redactor(secrets)
    if redactor.is_idle:
        return text
    data = text.encode("utf-8", "surrogatepass")
    return (redactor.feed(data) + redactor.close()).decode("utf-8", "surrogatepass")


@lru_cache(maxsize=64)
def _compiled(secrets: tuple[tuple[str, str], ...]) -> tuple[dict[bytes, bytes], re.Pattern[bytes]]:
    """(every spelling and what is shown instead, a pattern that finds the longest at each place)."""
    found: dict[bytes, bytes] = {}
    for name, value in secrets:
        for spelling in _spellings(value):
            found.setdefault(spelling, f"[secret {name}]".encode("ascii", "replace"))
    ordered = sorted(found, key=len, reverse=True)
    return found, re.compile(b"|".join(map(re.escape, ordered)), re.DOTALL)


def _spellings(value: str) -> Iterable[bytes]:
    plain = value.encode("utf-8", "surrogateescape")
    yield plain
    for one in _in_json(value):
        yield one.encode("utf-8", "surrogateescape")
    yield quote(plain, safe="").encode()
    yield quote(plain, safe="/").encode()
    yield plain.hex().encode()
    yield plain.hex().upper().encode()
    yield from (line.encode("utf-8", "surrogateescape") for line in _lines(value))
    for coded in _in_base64(plain):
        yield coded
        yield coded.translate(_URL_SAFE)


def _in_json(value: str) -> Iterable[str]:
    """With and without other letters than ASCII, with `/` as it is and as `\\/`; each in JSON once more."""
    once = [json.dumps(value, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)]
    once += [one.replace("/", "\\/") for one in once]
    yield from once
    yield from (
        json.dumps(one, ensure_ascii=ascii_only)[1:-1] for one in once for ascii_only in (True, False)
    )


def _lines(value: str) -> list[str]:
    lines = [line.strip() for line in value.splitlines()]
    return [line for line in lines if len(line) >= SHORTEST_LINE] if len(lines) > 1 else []


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def _in_base64(plain: bytes) -> Iterable[bytes]:
    """What is the same whatever stands around it: at each of the three offsets, without the edges."""
    for offset in range(3):
        whole = base64.b64encode(b"\0" * offset + plain)
        first = (0, 2, 3)[offset]
        last = len(whole) - (0, 4, 4)[(offset + len(plain)) % 3]
        if last - first >= SHORTEST:
            yield whole[first:last]
