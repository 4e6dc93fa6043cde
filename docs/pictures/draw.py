"""Draws a recording of a terminal as SVG: the same bytes each time, nothing loaded from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.sax.saxutils import escape

PEN = re.compile(r"\x1b\[([0-9;]*)m")
COLOURS = {"31": "#ff7b72", "32": "#7ee787", "33": "#e3b341", "36": "#76e3ea", "2": "#8b949e"}
CELL, LINE, EDGE, HEAD, LEAST = 8.4, 20, 16, 30, 60
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def draw(title: str, recording: str) -> str:
    """The whole picture; its window is as wide as the longest line."""
    lines = recording.rstrip("\n").split("\n")
    columns = max(LEAST, *(len(PEN.sub("", line)) for line in lines))
    wide, high = round(columns * CELL + 2 * EDGE), len(lines) * LINE + HEAD + EDGE
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" role="img">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{wide}" height="{high}" rx="8" fill="#0d1117"/>',
            *(f'<circle cx="{EDGE + 18 * n}" cy="15" r="5" fill="#30363d"/>' for n in range(3)),
            f'<g font-family="{FONT}" font-size="14" fill="#e6edf3" xml:space="preserve">',
            *(
                f'<text x="{EDGE}" y="{HEAD + LINE * n + 14}">{_line(text)}</text>'
                for n, text in enumerate(lines)
            ),
            "</g>",
            "</svg>\n",
        ]
    )


def _line(text: str) -> str:
    """Each piece at its own column, so that a browser's other font moves nothing."""
    spans, column = [], 0
    for pen, piece in _pieces(text):
        look = f' fill="{COLOURS[pen]}"' if pen in COLOURS else ' font-weight="bold"' if pen == "1" else ""
        at = round(EDGE + column * CELL, 1)
        spans.append(
            f'<tspan x="{at}" textLength="{round(len(piece) * CELL, 1)}"{look}>{_kept(piece)}</tspan>'
        )
        column += len(piece)
    return "".join(spans)


def _kept(piece: str) -> str:
    """Its blanks too, whatever the reader's program does with several of them."""
    return escape(piece).replace(" ", "\u00a0")


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """(colour, text) between the changes of the pen."""
    pen, at = "", 0
    for change in PEN.finditer(text):
        if change.start() > at:
            yield pen, text[at : change.start()]
        pen, at = change[1].removeprefix("0"), change.end()
    if at < len(text):
        yield pen, text[at:]
