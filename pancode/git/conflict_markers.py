"""Decides whether a file still has conflict markers that a merge put into it."""

from __future__ import annotations

from collections import Counter

_OPENS, _CLOSES, _BETWEEN = (b"<<<<<<<", b"|||||||"), b">>>>>>>", b"======="


def has_markers(marked: bytes, ours: bytes, result: bytes) -> bool:
    """Whether `result` still has a conflict marker that the merge put into `marked`; `ours`: before the
    merge. Lines of seven such characters already in the file, such as heading underlines, do not count."""
    begun, own, left = (_count_labelled(text) for text in (marked, ours, result))
    made = set(begun) - set(own)
    if made & set(left):
        return True
    places = sum(begun[line] for line in made if line.startswith(_OPENS[0]))
    return bool(places) and _count_separators(result) > _count_separators(marked) - places


def _count_labelled(text: bytes) -> Counter[bytes]:
    return Counter(line for line in _split_lines(text) if line.startswith((*_OPENS, _CLOSES)))


def _count_separators(text: bytes) -> int:
    return sum(line == _BETWEEN for line in _split_lines(text))


def _split_lines(text: bytes) -> list[bytes]:
    return [line.removesuffix(b"\r") for line in text.split(b"\n")]
