"""Draws every sign in ASCII, for a terminal that shows no others."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_SIGNS = dict(zip("±◐◇◷●✓○◆✗■◌·□▨▸»→–…•—", "+>^.*vo=x#~-.%>>>-.*-", strict=True))


_BOXES = {code: unicodedata.name(chr(code)) for code in range(0x2500, 0x2580)}
_ASCII = str.maketrans(
    {code: "+-|"[("HORIZONTAL" in name) - ("VERTICAL" in name)] for code, name in _BOXES.items()}
    | dict.fromkeys(range(9600, 9632), "#")
    | {ord(sign): plain for sign, plain in {**_SIGNS, "━": "="}.items()}
)


def needs_ascii(environ: Mapping[str, str]) -> bool:
    """Whether the terminal or its locale shows no UTF-8; a locale that nobody set is taken to show it."""
    named = next((value for name in ("LC_ALL", "LC_CTYPE", "LANG") if (value := environ.get(name))), "utf8")
    return environ.get("TERM") == "linux" or "utf8" not in named.lower().replace("-", "")


class AsciiFilter(LineFilter):
    """Replaces each sign by one of the same width."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(text.translate(_ASCII), style, control) for text, style, control in segments]
