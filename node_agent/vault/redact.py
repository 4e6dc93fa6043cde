"""Removes secret values from outgoing data, however a stream is split into pieces. No input or output.

A value is found in plain form, as encoded in JSON (also JSON within JSON) and in URLs, in hex, and in base64
at any offset; hex and base64 also across line breaks, as `base64` and `xxd -p` write long values.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

SHORTEST = 8
"""A shorter value is not hidden: it looks like ordinary text, such as the key `ollama` of a local server."""
SHORTEST_LINE = 16
"""The shortest line of a multi-line value, such as a private key, that is also hidden when alone."""
_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|COOKIE", re.IGNORECASE)
_ADDRESS = re.compile(r"https?://[^@]*$")
_BREAK = rb"(?:\r?\n|\\{1,4}(?:r\\{1,4})?n)"
"""The end of a line: as it is, as JSON writes it, and JSON in JSON."""
_BREAKS = re.compile(_BREAK)
_HALF_BREAK = re.compile(rb"(?:\r|\\{1,4}(?:r\\{0,4})?)\Z")
_SHORTEST_LINE_OF_CODE, _LONGEST_BREAK = 48, 10
_LOOK = 40
_HEAD = 8
"""How many first characters of an encoded value are searched for; no encoded value is shorter."""


def is_secret_name(name: str) -> bool:
    """Whether the name suggests that the value must be hidden although it was not declared a secret."""
    return _NAMES.search(name) is not None


def secret_values(given: Mapping[str, str]) -> dict[str, str]:
    """Return the values to hide by name: those that are long enough and are not a URL without a password."""
    return {n: v for n, v in given.items() if len(v) >= SHORTEST and not _ADDRESS.match(v)}


_LONG = 16
"""The shortest value of a setting that is hidden whatever the setting is called."""
_SETTING = re.compile(r"""^\s*(?:export\s+)?["']?([\w.-]+)["']?\s*[:=]\s*["']?(.*?)["']?[,;]?\s*$""")


def secrets_in(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the values to hide of these files, by name: each whole file, and the values of its settings that
    are long or whose name, such as `API_KEY`, means a secret. A file that is not text has none."""
    found = dict[str, str]()
    for path, data in files.items():
        try:
            text = data.decode().strip()
        except UnicodeDecodeError:
            continue
        found[path] = text
        for line in text.splitlines():
            setting = _SETTING.match(line)
            if setting is not None and (len(setting[2]) >= _LONG or is_secret_name(setting[1])):
                found[f"{path} {setting[1]}"] = setting[2]
    return found


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
        for start in range(max(at, len(data) - self._all.longest + 1), len(data)):
            if data[start : start + 2] in self._all.begins and self._all.may_begin(data[start:]):
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


@dataclass(frozen=True, slots=True)
class _Spelled:
    """Every encoding of the secret values, with its replacement. `coded`: the encodings that may contain line
    breaks, which are found by their first characters.

    A pattern that allows a break at every position would take seconds to compile for a private key.
    """

    plain: Mapping[bytes, bytes]
    coded: Mapping[bytes, bytes]
    pattern: re.Pattern[bytes]
    """Finds the longest of `plain` at each position."""
    heads: re.Pattern[bytes]
    by_head: Mapping[bytes, tuple[bytes, ...]]
    begins: frozenset[bytes]
    longest: int

    def may_begin(self, rest: bytes) -> bool:
        """Whether `rest`, the end of a piece, is the beginning of a value that later data could complete."""
        likely = [v for v in self.coded if v.startswith(_join_lines(rest[:_LOOK]))]
        whole = _join_lines(rest) if likely else b""
        return any(len(rest) < len(v) and v.startswith(rest) for v in self.plain) or any(
            len(whole) < len(v) and v.startswith(whole) for v in likely
        )

    def find(self, data: bytes, at: int) -> _Match | None:
        """Return the next match of an encoding in `plain`."""
        found = self.pattern.search(data, at)
        return found and _Match(found.start(), found.end(), self.plain[found[0]])

    def find_coded(self, data: bytes, at: int) -> _Match | None:
        """Return the next match of an encoding in `coded`, the longest one at its position."""
        while (head := self.heads.search(data, at)) is not None:
            start = head.start()
            for value in self.by_head[_BREAKS.sub(b"", head[0])]:
                end = _end_of(value, data, start)
                if end:
                    return _Match(start, end, self.coded[value])
            at = start + 1
        return None


class _Next:
    """Finds the next value in one piece, of `plain` or `coded`; the search result of each is reused."""

    def __init__(self, spelled: _Spelled, data: bytes) -> None:
        self._ways, self._data = (spelled.find, spelled.find_coded), data
        self._known: list[_Match | None] = [_Match(-1, -1, b"")] * 2

    def __call__(self, at: int) -> _Match | None:
        for number, way in enumerate(self._ways):
            known = self._known[number]
            if known is not None and known.start < at:
                self._known[number] = way(self._data, at)
        found = [match for match in self._known if match is not None]
        return min(found, key=lambda match: (match.start, -match.end), default=None)


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
    by_head: dict[bytes, tuple[bytes, ...]] = {}
    for code in sorted(coded, key=len, reverse=True):
        by_head[code[:_HEAD]] = (*by_head.get(code[:_HEAD], ()), code)
    broken = _BREAK + b"?"
    heads = b"|".join(broken.join(re.escape(bytes((c,))) for c in head) for head in by_head)
    pattern = b"|".join(map(re.escape, sorted(plain, key=len, reverse=True)))
    begins = {spelling[:n] for spelling in (*plain, *coded) for n in (1, 2)}
    begins |= {code[:1] + end for code in coded for end in (b"\n", b"\r", b"\\")}
    longest = max((*map(len, plain), *(len(v) + _breaks_in(v) for v in coded)), default=0)
    return _Spelled(
        plain, coded, re.compile(pattern, re.DOTALL), re.compile(heads), by_head, frozenset(begins), longest
    )


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
