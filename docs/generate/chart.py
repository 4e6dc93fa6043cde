"""Draws a table of moves as SVG: states below each other, leaps on the right, ways back on the left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

WIDE, HIGH, PITCH, EDGE, ARC = 132, 30, 58, 22, 21
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
HEAD = (
    '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0 8 4 0 8z" fill="#57606a"/></marker>'
)

Move = tuple[str, str, str]
"""From, to, and a word beside the line."""


def chart(title: str, states: Sequence[str], moves: Iterable[Move], final: Iterable[str]) -> str:
    """The whole picture. The first state is where all begins; a final one has a double line around it."""
    row = {state: n for n, state in enumerate(states)}
    every = [(row[a], row[b], word) for a, b, word in moves]
    left = EDGE + ARC * max([a - b for a, b, _ in every if b < a], default=0)
    right = EDGE + max([ARC * (b - a) for a, b, _ in every], default=0) + 34
    wide, high = left + WIDE + right, PITCH * len(states) + EDGE
    ends = {row[state] for state in final}
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<defs>{HEAD}</defs>",
            f'<rect width="{wide}" height="{high}" rx="8" fill="#ffffff"/>',
            '<g fill="none" stroke="#57606a" stroke-width="1.4" marker-end="url(#tip)">',
            f'<path d="M{left + WIDE // 2} 6V{_top(0)}"/>',
            *(f'<path d="{_line(a, b, left)}"/>' for a, b, _ in every),
            "</g>",
            f'<g font-family="{FONT}" font-size="14" fill="#24292f" text-anchor="middle">',
            *(_state(name, n, left, n in ends) for n, name in enumerate(states)),
            *(_word(word, a, b, left) for a, b, word in every if word),
            "</g>",
            "</svg>\n",
        ]
    )


def _top(n: int) -> int:
    return EDGE + PITCH * n


def _line(a: int, b: int, left: int) -> str:
    """Down to the next one straight; else an arc, wider the farther it goes."""
    if b == a + 1:
        return f"M{left + WIDE // 2} {_top(a) + HIGH}V{_top(b)}"
    if b < a:
        far: float = left - ARC * (a - b) - 8
        return f"M{left} {_top(a) + 10}C{far} {_top(a) + 10} {far} {_top(b) + 22} {left} {_top(b) + 22}"
    x = left + WIDE
    far = x + ARC * max(b - a, 1) * 1.25 + 8
    from_y, to_y = (_top(a) + 20, _top(b) + 8) if b > a else (_top(a) + 7, _top(b) + 24)
    return f"M{x} {from_y}C{far:g} {from_y} {far:g} {to_y} {x} {to_y}"


def _state(name: str, n: int, left: int, final: bool) -> str:
    box = '<rect x="{}" y="{}" width="{}" height="{}" rx="{}" fill="#ddf4ff" stroke="#0969da"/>'
    outer = box.format(left, _top(n), WIDE, HIGH, 6)
    inner = box.format(left + 3, _top(n) + 3, WIDE - 6, HIGH - 6, 4) if final else ""
    return f'{outer}{inner}<text x="{left + WIDE // 2}" y="{_top(n) + 20}">{escape(name)}</text>'


def _word(word: str, a: int, b: int, left: int) -> str:
    x = left + WIDE + ARC * max(b - a, 1) + 6
    y = (_top(a) + _top(b)) // 2 + HIGH // 2 + 4
    return f'<text x="{x}" y="{y}" font-size="12" text-anchor="start">{escape(word)}</text>'
