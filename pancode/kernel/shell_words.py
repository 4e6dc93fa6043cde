"""Splits a command line into an argument list as a shell does, without the shell's other features."""

from __future__ import annotations

import re
import shlex

from pancode.kernel.errors import UsageError

_OPERATORS = frozenset("|&;<>()\n")
_EXPANSIONS = frozenset("$`*?")
_IN_QUOTES = frozenset("$`")
_AT_START = {"#": "a comment", "~": "an expansion"}
_TOKEN = re.compile(r"""\\.|'[^']*'|"(?:\\.|[^"\\])*"|.""", re.DOTALL)
"""An escaped character, a quoted string, or one character."""
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


def split_words(text: str, where: str) -> tuple[str, ...]:
    """Split the text into at least one argument. UsageError for an operator, expansion, open quote or
    nothing. `where`: the flag or key to name. What a shell would silently interpret is an error here."""
    words = _split(text.strip(" \t\n"), where)
    if not words or not words[0]:
        raise UsageError(f"{where} is empty", fix="give a command, for example: pytest -q")
    if _ASSIGNMENT.match(words[0]):
        raise UsageError(
            f"{where}: {words[0]!r} is an assignment, not a command",
            fix=f"put env first: env {text.strip()}",
            code="needs_a_shell",
        )
    return words


def _split(text: str, where: str) -> tuple[str, ...]:
    if "\0" in text:
        raise UsageError(
            f"{where}: cannot parse {text!r}", why="the text contains a NUL character", fix="remove it"
        )
    words: list[str] = []
    word: str | None = None
    for token in _TOKEN.findall(text):
        if token in " \t":
            words += [] if word is None else [word]
            word = None
            continue
        if token == "\\\n":  # an escaped line end: the command continues on the next line
            continue
        acting = _find_effect(token, word is None)
        if acting:
            raise _needs_a_shell(text, where, acting)
        if token in ("'", '"', "\\"):
            raise UsageError(
                f"{where}: cannot parse {text!r}",
                why=f"the quote or escape {token} is not closed",
                fix="close it",
            )
        word = (word or "") + _unquote_token(token)
    return tuple(words if word is None else [*words, word])


def _find_effect(token: str, at_start: bool) -> str:
    """Return how a shell would interpret the token, such as "an operator"; empty if it is plain text."""
    if len(token) > 1 and token[0] == '"':
        # Between double quotes, a shell still expands variables, but operators are plain text.
        found = next((char for char in re.sub(r"\\.", "", token, flags=re.DOTALL) if char in _IN_QUOTES), "")
        return f"{found!r} is an expansion" if found else ""
    if token in _OPERATORS:
        return f"{token!r} is an operator"
    if token in _EXPANSIONS:
        return f"{token!r} is an expansion"
    return f"{token!r} is {_AT_START[token]}" if at_start and token in _AT_START else ""


def _unquote_token(token: str) -> str:
    """Return the token without quotes and escapes, as a shell would remove them."""
    if len(token) == 1:
        return token
    if token[0] == "'":
        return token[1:-1]
    if token[0] == '"':
        return re.sub(r'\\([$`"\\]|\n)', lambda m: m[1].strip("\n"), token[1:-1])
    return token[1:]


def _needs_a_shell(text: str, where: str, acting: str) -> UsageError:
    return UsageError(
        f"{where}: {text!r} needs a shell ({acting}), but it runs without one",
        why="PanCode splits the command into words and starts it directly, to avoid misinterpretation",
        fix=f"quote it, or write it as a script: {shlex.join(('sh', '-euc', text))}",
        code="needs_a_shell",
    )
