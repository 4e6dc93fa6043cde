"""The two themes of `chat` and `top`: what each of the sixteen colours is in them; and which one counts."""

from __future__ import annotations

from rich.terminal_theme import TerminalTheme

from pancode.interfaces.client.client import Client
from pancode.kernel.errors import PancodeError

KEY, OWN = "theme", "terminal"
"""The setting, and its word for the colours of the terminal itself."""


def _theme(colours: str) -> TerminalTheme:
    """Of ground, words, quiet, red, green, yellow, blue, violet and line."""
    rgb = [(int(one[:2], 16), int(one[2:4], 16), int(one[4:], 16)) for one in colours.split()]
    ground, words, quiet, *hues, line = rgb
    hues = [*hues, hues[3], words]  # cyan is as blue is
    return TerminalTheme(ground, words, [line, *hues], [quiet, *hues])


THEMES = {
    "dark": _theme("0e1013 e8eaed 9ca5af ff9a91 5fd3a5 f0b858 96adff c6a9f7 3d444c"),
    "light": _theme("ffffff 191b1f 5a6069 b0241c 0a6b4c 875100 2c4ecb 6a45a8 c4c6c0"),
}


def read_theme(client: Client) -> str:
    """The setting as a coordinator that runs has it; where none answers, the terminal's own colours."""
    try:
        rows = client.get("/v1/config")["settings"]
    except PancodeError:
        return OWN
    return str(next((one["value"] for one in rows if one["key"] == KEY), OWN))
