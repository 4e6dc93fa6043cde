"""Removes secret values from outgoing data, however a stream is split into pieces. No input or output.

A value is found in plain form, as encoded in JSON (also JSON within JSON) and in URLs, in hex, and in base64
at any offset; hex and base64 also across line breaks, as `base64` and `xxd -p` write long values.
"""

from __future__ import annotations

import base64
import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

SHORTEST, SHORTEST_ODD = 8, 6
"""The fewest characters of a value that is hidden, and of one that has more than letters. A shorter value
looks like ordinary text, such as the key `ollama` of a local server."""
SHORTEST_LINE = 16
"""The shortest line of a multi-line value, such as a private key, that is also hidden when alone."""
_ADDRESS = re.compile(r"https?://[^@]*$")
_BREAK = rb"(?:\r?\n|\\{1,4}(?:r\\{1,4})?n)"
"""The end of a line: as it is, as JSON writes it, and JSON in JSON."""
_BREAKS = re.compile(_BREAK)
_HALF_BREAK = re.compile(rb"(?:\r|\\{1,4}(?:r\\{0,4})?)\Z")
_ODD = re.compile(rb"[\r\n\\]")
_SHORTEST_LINE_OF_CODE, _LONGEST_BREAK = 48, 10
_LOOK = 40
_STEP = 4
"""The search compares whole groups of so many bytes, since no spelling has fewer than twice as many."""


def secret_values(given: Mapping[str, str]) -> dict[str, str]:
    """Return the values to hide by name: those that are long enough and are not a URL without a password."""
    fewest = {n: SHORTEST if v.isalpha() else SHORTEST_ODD for n, v in given.items()}
    return {n: v for n, v in given.items() if len(v) >= fewest[n] and not _ADDRESS.match(v)}


class Redactor:
    """Hides secret values in one stream. Memory is bounded by one piece and the longest value."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        """`secrets`: values by name; the name replaces the value."""
        self._all = _compile_secrets(tuple(sorted(secret_values(secrets).items())))
        self._held = b""

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to hide."""
        return not self._all.plain

    def feed(self, chunk: bytes) -> bytes:
        """Return the data that may be shown now. A possible start of a value waits for the next piece."""
        return self._take(self._held + chunk, ended=False)

    def close(self) -> bytes:
        """Return the rest of the data."""
        return self._take(self._held, ended=True)

    def _take(self, data: bytes, ended: bool) -> bytes:
        if self.is_idle:
            self._held = b""
            return data
        shown, at, next_of = [], 0, _Next(self._all, data)
        hold = len(data) if ended else self._doubtful(data, at)
        while (match := next_of(at)) is not None and match.start < hold:
            shown += [data[at : match.start], match.shown]
            at = match.end
            # checked only then: a check after each match in a long piece would take quadratic time
            if at > hold:
                hold = self._doubtful(data, at)
        self._held = b"" if ended else data[hold:]
        return b"".join([*shown, data[at:hold]])

    def _doubtful(self, data: bytes, at: int) -> int:
        """Return the position of a possible value whose end has not arrived yet."""
        begins = self._all.begins
        for start in range(max(at, len(data) - self._all.longest + 1), len(data)):
            head = data[start : start + _STEP]
            # a head with a line break may begin a value in code
            if (head in begins or head[:1] in begins and _ODD.search(head, 1)) and self._all.may_begin(
                data[start:]
            ):
                return start
        return len(data)


def redact_text(text: str, secrets: Mapping[str, str]) -> str:
    """Return the text with each secret value replaced by its name."""
    redactor = Redactor(secrets)
    if redactor.is_idle:
        return text
    data = text.encode("utf-8", "surrogatepass")
    return (redactor.feed(data) + redactor.close()).decode("utf-8", "surrogatepass")


def found_in(data: bytes, secrets: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the secrets whose values are in the data, in any encoding."""

    def has(some: Mapping[str, str]) -> bool:
        redactor = Redactor(some)
        return not redactor.is_idle and redactor.feed(data) + redactor.close() != data

    return tuple(name for name, value in secrets.items() if has({name: value})) if has(secrets) else ()


def _join_lines(rest: bytes) -> bytes:
    """Return the text without line breaks, also without the first half of one at its end."""
    return _HALF_BREAK.sub(b"", _BREAKS.sub(b"", rest))


@dataclass(frozen=True, slots=True)
class _Match:
    """A value found in a piece of a stream, and its replacement."""

    start: int
    end: int
    shown: bytes


Groups = Mapping[int, tuple[tuple[bytes, int], ...]]
"""Spellings, and the position in them, of each group of four bytes with which an aligned group can match."""


@dataclass(frozen=True, slots=True)
class _Spelled:
    """Every encoding of the secret values, with its replacement. `coded`: the encodings that may contain line
    breaks. `ordered`: the spellings of each in order."""

    plain: Mapping[bytes, bytes]
    coded: Mapping[bytes, bytes]
    groups: tuple[Groups, Groups]
    tiny: tuple[bytes, ...]
    """Plain spellings that are too short for a group of four at every offset."""
    ordered: tuple[list[bytes], list[bytes]]
    begins: frozenset[bytes]
    """The first byte of each spelling, and its first bytes up to four."""
    longest: int

    def may_begin(self, rest: bytes) -> bool:
        """Whether `rest`, the end of a piece, is the beginning of a value that later data could complete."""
        plain, coded = self.ordered
        if _is_begun(plain, rest):
            return True
        head = _join_lines(rest[:_LOOK])
        after = bisect_left(coded, head)
        return after < len(coded) and coded[after].startswith(head) and _is_begun(coded, _join_lines(rest))

    def find_all(self, data: bytes) -> list[_Match]:
        """Return every match in the order of a search: the first, and the longest at its position."""
        plain = [*_find_groups(data, self.groups[0])]
        for value in self.tiny:
            at = data.find(value)
            while at >= 0:
                plain.append((value, at))
                at = data.find(value, at + 1)
        found = {_Match(at, at + len(v), self.plain[v]) for v, at in plain}
        joined, pieces = _split_breaks(data)
        starts = [start for start, _ in pieces]
        for value, at in _find_groups(joined, self.groups[1]):
            start, place = pieces[bisect_right(starts, at) - 1]
            begin = place + at - start
            end = _end_of(value, data, begin)
            if end:
                found.add(_Match(begin, end, self.coded[value]))
        return sorted(found, key=lambda match: (match.start, -match.end))


def _is_begun(ordered: list[bytes], rest: bytes) -> bool:
    """Whether one of these is longer than `rest` and begins with it."""
    after = bisect_right(ordered, rest)
    return after < len(ordered) and ordered[after].startswith(rest)


def _find_groups(data: bytes, groups: Groups) -> Iterator[tuple[bytes, int]]:
    """Yield each spelling in the data, with its position."""
    whole = memoryview(data)[: len(data) // _STEP * _STEP].cast("I")
    if groups.keys().isdisjoint(whole):
        return
    for number, group in enumerate(whole):
        for value, at in groups.get(group, ()):
            start = number * _STEP - at
            if start >= 0 and data.startswith(value, start):
                yield value, start


def _split_breaks(data: bytes) -> tuple[bytes, list[tuple[int, int]]]:
    """Return the data without line breaks, and (position in it, position in the data) of each line."""
    lines, pieces, size, at = list[bytes](), list[tuple[int, int]](), 0, 0
    for begin, end in (*(found.span() for found in _BREAKS.finditer(data)), (len(data), len(data))):
        if begin > at or not pieces:
            pieces.append((size, at))
        lines.append(data[at:begin])
        size, at = size + begin - at, end
    return b"".join(lines), pieces


class _Next:
    """Finds the next value in one piece."""

    def __init__(self, spelled: _Spelled, data: bytes) -> None:
        self._found = iter(spelled.find_all(data))

    def __call__(self, at: int) -> _Match | None:
        return next((match for match in self._found if match.start >= at), None)


def _end_of(value: bytes, data: bytes, at: int) -> int:
    """Return the end of the value that begins at `at`, skipping line breaks; 0 if the value is not there."""
    for byte in value:
        while data[at : at + 1] != bytes((byte,)):
            line = _BREAKS.match(data, at)
            if line is None:
                return 0
            at = line.end()
        at += 1
    return at


@lru_cache(maxsize=64)
def _compile_secrets(secrets: tuple[tuple[str, str], ...]) -> _Spelled:
    plain: dict[bytes, bytes] = {}
    coded: dict[bytes, bytes] = {}
    for name, value in secrets:
        shown = f"[secret {name}]".encode("ascii", "replace")
        for spellings, known in ((_yield_spellings(value), plain), (_yield_coded(value), coded)):
            for spelling in spellings:
                known.setdefault(spelling, shown)
    begins = {spelling[:n] for spelling in (*plain, *coded) for n in range(1, _STEP + 1)}
    longest = max((*map(len, plain), *(len(v) + _breaks_in(v) for v in coded)), default=0)
    tiny = tuple(value for value in plain if len(value) < SHORTEST)
    groups = _group(value for value in plain if len(value) >= SHORTEST), _group(coded)
    return _Spelled(plain, coded, groups, tiny, (sorted(plain), sorted(coded)), frozenset(begins), longest)


def _group(spellings: Iterable[bytes]) -> Groups:
    found: dict[int, tuple[tuple[bytes, int], ...]] = {}
    for value in spellings:
        for at in range(_STEP):
            (group,) = memoryview(value[at : at + _STEP]).cast("I")
            found[group] = (*found.get(group, ()), (value, at))
    return found


def _breaks_in(value: bytes) -> int:
    return _LONGEST_BREAK * (len(value) // _SHORTEST_LINE_OF_CODE + 1)


def _yield_spellings(value: str) -> Iterable[bytes]:
    plain = value.encode("utf-8", "surrogateescape")
    yield plain
    for one in _in_json(value):
        yield one.encode("utf-8", "surrogateescape")
    yield quote(plain, safe="").encode()
    yield quote(plain, safe="/").encode()
    yield from (line.encode("utf-8", "surrogateescape") for line in _split_lines(value))


def _yield_coded(value: str) -> Iterable[bytes]:
    plain = value.encode("utf-8", "surrogateescape")
    yield plain.hex().encode()
    yield plain.hex().upper().encode()
    for coded in _in_base64(plain):
        yield coded
        yield coded.translate(_URL_SAFE)


def _in_json(value: str) -> Iterable[str]:
    """Yield the value as JSON writes it, with and without non-ASCII letters, with `/` and with `\\/`, also as
    JSON in JSON."""
    once = [json.dumps(value, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)]
    once += [one.replace("/", "\\/") for one in once]
    yield from once
    yield from (
        json.dumps(one, ensure_ascii=ascii_only)[1:-1] for one in once for ascii_only in (True, False)
    )


def _split_lines(value: str) -> list[str]:
    lines = [line.strip() for line in value.splitlines()]
    return [line for line in lines if len(line) >= SHORTEST_LINE] if len(lines) > 1 else []


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def _in_base64(plain: bytes) -> Iterable[bytes]:
    """Yield, for each of three offsets, the value's base64 text that does not depend on surrounding data."""
    for offset in range(3):
        whole = base64.b64encode(b"\0" * offset + plain)
        first = (0, 2, 3)[offset]
        last = len(whole) - (0, 4, 4)[(offset + len(plain)) % 3]
        if last - first >= SHORTEST:
            yield whole[first:last]
