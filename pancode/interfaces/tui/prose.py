"""Draws Markdown of agents and users: tags, images and invisible characters are shown as text."""

from __future__ import annotations

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from textual.widgets import Markdown

from pancode.kernel.formatting import reveal_invisible

CSS = """
ProseText { background: ansi_default; color: ansi_default; padding: 0; }
ProseText MarkdownBlock { background: ansi_default; color: ansi_default; }
ProseText MarkdownBlock > .code_inline { background: ansi_default; color: ansi_cyan; }
ProseText MarkdownFence { border-left: solid ansi_bright_black; padding: 0 0 0 1; margin: 0 0 1 0; }
ProseText MarkdownHeader { content-align: left middle; text-style: bold; margin: 0 0 1 0; }
ProseText MarkdownFence > Label { padding: 0; }
"""


def plain_markdown() -> MarkdownIt:
    """Return a parser that hides nothing: tags and images stay text, invisible characters are visible."""
    parser = MarkdownIt("gfm-like", {"html": False}).disable("image")
    parser.core.ruler.push("plain", _make_plain)
    return parser


def _make_plain(state: StateCore) -> None:
    for token in state.tokens:
        for one in (token, *(token.children or ())):
            one.content = reveal_invisible(one.content)


class ProseText(Markdown):
    """Markdown text. The address of a link is shown and never opened."""

    def __init__(self, text: str = "") -> None:
        super().__init__(text, parser_factory=plain_markdown, open_links=False)
