"""Decides whether a file that conflicted was settled."""

from __future__ import annotations

from collections import Counter

_OPENS, _CLOSES, _BETWEEN = (b"<<<<<<<", b"|||||||"), b">>>>>>>", b"======="


def has_markers(marked: bytes, ours: bytes, result: bytes) -> bool:
    """Whether `result` still has a line that the merge put into `marked`. `ours`: the file before the merge.

    Lines of seven signs that its owner has written, such as a heading's, are none of them.
    """
    begun, own, left = (_labelled(text) for text in (marked, ours, result))
    made = set(begun) - set(own)
    if made & set(left):
        return True
    places = sum(begun[line] for line in made if line.startswith(_OPENS[0]))
    return bool(places) and _between(result) > _between(marked) - places


def _labelled(text: bytes) -> Counter[bytes]:
    return Counter(line for line in _lines(text) if line.startswith((*_OPENS, _CLOSES)))


def _between(text: bytes) -> int:
    return sum(line == _BETWEEN for line in _lines(text))


def _lines(text: bytes) -> list[bytes]:
    return [line.removesuffix(b"\r") for line in text.split(b"\n")]
