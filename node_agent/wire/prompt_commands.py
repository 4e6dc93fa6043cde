"""Finds the commands that some agent programs run when they read a file as a prompt."""

from __future__ import annotations

import re

_PROMPTS = (".md", ".mdc", ".mdx", ".markdown", ".txt", ".toml")
_ARGUMENTS = rb"(?:\$\w+(?:\[\w*\])?|\$\{[^}\n!`]*\})*"
"""Placeholders that a program replaces before it searches for commands; the value may be empty."""
_COMMAND = re.compile(rb"`%b`%b`%b(?=!)|!(?=%b`)" % ((_ARGUMENTS,) * 4))
"""Matches the start of a command of Claude Code or OpenCode: !`...` in a line, ```! as a block. It matches
more than these programs run, so that differences between their parsers do not matter."""


def commands_in(path: str, data: bytes) -> list[str]:
    """Return the beginnings of the commands that some programs run when they read this file as a prompt."""
    if not path.lower().endswith(_PROMPTS):
        return []
    texts = (data[found.end() :].lstrip(b"!`") for found in _COMMAND.finditer(data))
    return [text.partition(b"`")[0].decode("utf-8", "replace") for text in texts]


def without_commands(path: str, data: bytes) -> bytes:
    """Return the file with a space after each command marker, so that programs treat the command as text."""
    return _COMMAND.sub(rb"\g<0> ", data) if path.lower().endswith(_PROMPTS) else data
