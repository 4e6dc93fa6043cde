"""Parses a shell script with tree-sitter into its commands: words, redirections, input.

The grammar is loaded with the first script, or only in another process that parses all scripts for this one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Language, Node

MOST_BYTES, MOST_CALLS, MOST_DEPTH = 50_000, 500, 60
MOST_HEREDOCS = 10
"""The most here-documents: hundreds of them crash the grammar's C scanner, and with it the process."""
STEEP = b"|()[<>&"
MOST_OF_ONE = 1_000
"""The most of each construct in `STEEP`, because the parser's time grows with its square, or faster.

A script with more is not parsed: it counts as unreadable.
"""
_READS = ("<", "<<", "<<-", "<<<", "<&")
_HERE = ("heredoc_redirect", "herestring_redirect")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "f": "\f", "v": "\v"}
_ANSI = re.compile(r"\\(x[0-9a-fA-F]{1,2}|u[0-9a-fA-F]{1,4}|U[0-9a-fA-F]{1,8}|[0-7]{1,3}|c.|.)", re.DOTALL)
_BEYOND = re.compile(r"[^\x00-\xff]")
"""Letters at which the grammar's scanner reads beyond the end of a C table, which can crash it.

In a command they count as `_`; a rule for a path with such letters is checked on the result.
"""
_SUM_TEST = re.compile(r"\s-(eq|ne|lt|le|gt|ge|v|R)\s")
_REWORDS = re.compile(r"\$\{\w*[^\w}]")
"""Tests and expansions that evaluate text as arithmetic: bash runs a `$(...)` in a subscript there, even if
it is quoted."""
_HEARS = ("read", "mapfile", "readarray", "command", "builtin")
"""Shell builtins that store their input in variables, or may do so."""
_KNOWN_PLACES = {"HOME": "~", "PWD": "."}


@dataclass(frozen=True, slots=True)
class ShellWord:
    """One word as the program gets it. `text` None: the word is generated while the script runs.

    `glob`: whether a shell would expand the word to the matching files.
    """

    text: str | None
    glob: bool = False


@dataclass(frozen=True, slots=True)
class Redirect:
    """One redirection. `op`: the operator as written, without the number in front of it."""

    op: str
    target: ShellWord

    @property
    def writes(self) -> bool:
        """Whether the redirection creates or changes a file."""
        number = self.target.text is not None and (self.target.text.isdigit() or self.target.text == "-")
        return ">" in self.op and not (self.op.endswith("&") and number)


@dataclass(frozen=True, slots=True)
class ShellCommand:
    """One command. `sets`: the variables assigned before its name; `fed`: its input comes from a pipe or a
    redirection."""

    words: tuple[ShellWord, ...]
    sets: tuple[tuple[str, ShellWord], ...] = ()
    redirects: tuple[Redirect, ...] = ()
    fed: bool = False


@dataclass(frozen=True, slots=True)
class ParsedScript:
    """All calls of a script, including those in loops, functions and substitutions. `whole`: whether the
    parser understood all of the script.

    `literals`: the script's texts, without quotes, with `$` for a variable. `sums`: whether some text is
    evaluated as arithmetic, or as a name with a subscript.
    """

    calls: tuple[ShellCommand, ...]
    whole: bool
    literals: tuple[str, ...] = ()
    sums: bool = False


UNREADABLE = ParsedScript((), False)


def parse_script(text: str) -> ParsedScript:
    """Return the parsed script; never raises. A text that is not a script is not `whole`."""
    raw = _BEYOND.sub("_", text).encode("utf-8", "replace")
    too_many = max(map(raw.count, STEEP)) > MOST_OF_ONE or raw.count(b"<<") > MOST_HEREDOCS
    if len(raw) > MOST_BYTES or b"\0" in raw or too_many:
        return UNREADABLE
    return _elsewhere(raw) if _elsewhere is not None else take_apart(raw)


def take_elsewhere(
    reader: Callable[[bytes], ParsedScript] | None, ready: Callable[[], None] | None = None
) -> None:
    """Let `reader` parse all scripts from now on; None: this process parses them itself.

    The reader is set for the whole process, so that callers need not choose which process parses.
    """
    global _elsewhere, _ready
    _elsewhere, _ready = reader, ready


def get_ready() -> None:
    """Start the parser in advance, without waiting, because a script may come soon. Idempotent."""
    if _ready is not None:
        _ready()


_elsewhere: Callable[[bytes], ParsedScript] | None = None
_ready: Callable[[], None] | None = None


def take_apart(raw: bytes) -> ParsedScript:
    """Parse in this process, with C code, bytes that `parse_script` has checked."""
    # a new parser for each script: several threads read scripts, and two threads must not share a parser
    from tree_sitter import Parser

    root = Parser(_load_language()).parse(raw).root_node
    reader = _Reader()
    reader.visit(root, _Around())
    literals = tuple(one for one in "".join(reader.literals).split("\0") if "$" in one or "`" in one)
    return ParsedScript(tuple(reader.calls), reader.whole and not root.has_error, literals, reader.sums)


@lru_cache(maxsize=1)
def _load_language() -> Language:
    import tree_sitter_bash
    from tree_sitter import Language

    return Language(tree_sitter_bash.language())


@dataclass(frozen=True, slots=True)
class _Around:
    """The position of a syntax node, as far as it affects the calls in the node."""

    depth: int = 0
    fed: bool = False
    redirects: tuple[Redirect, ...] = ()
    in_sum: bool = False


class _Reader:
    def __init__(self) -> None:
        self.calls: list[ShellCommand] = []
        self.whole = True
        self.literals: list[str] = []
        self.sums = False

    def visit(self, node: Node, around: _Around) -> None:
        if around.depth > MOST_DEPTH or len(self.calls) > MOST_CALLS:
            self.whole = False
            return
        in_sum = _is_sum(node) or (around.in_sum and node.type != "command_substitution")
        below = replace(around, depth=around.depth + 1, in_sum=in_sum)
        self.sums = self.sums or in_sum or node.type in ("c_style_for_statement", "array")
        self._listen(node, in_sum)
        match node.type:
            case "command" | "declaration_command" | "unset_command":
                self._call(node, below)
            case "redirected_statement":
                self._visit_redirected(node, below)
            case "pipeline":
                for number, child in enumerate(node.named_children):
                    self.visit(child, replace(below, fed=below.fed or number > 0))
            case "heredoc_redirect":
                self._visit_children(node, replace(below, fed=True))
            case "variable_assignment":
                self.calls.append(ShellCommand((), (_read_assignment(node),)))
                self._visit_children(node, replace(below, redirects=()))
            case _:
                self._visit_children(node, below)

    def _listen(self, node: Node, in_sum: bool) -> None:
        """Record a literal, and whether the shell evaluates text in this node."""
        match node.type:
            case "raw_string" | "ansi_c_string" | "word" | "string_content":
                self.literals.append("[" * in_sum + (_read_piece(node).text or _text(node)))
            case "heredoc_body" if _is_heard(node):
                self.literals.append(f"\0{_text(node)}\0")
            case "simple_expansion" | "expansion":
                self.literals.append("$")
                self.sums = self.sums or _REWORDS.search(_text(node)) is not None
                self.whole = self.whole and not _text(node).endswith("@P}")
            case "test_command":
                self.sums = self.sums or _SUM_TEST.search(_text(node)) is not None

    def _visit_children(self, node: Node, around: _Around) -> None:
        for child in node.named_children:
            self.visit(child, around)

    def _call(self, node: Node, around: _Around) -> None:
        words, sets, redirects, fed = [], [], list(around.redirects), around.fed
        if node.type != "command":
            words.append(ShellWord(_text(node.children[0])))
        for child in node.named_children:
            if child.type == "variable_assignment":
                sets.append(_read_assignment(child))
            elif child.type == "file_redirect":
                redirects.append(_make_redirect(child))
            elif child.type not in (*_HERE, "comment"):
                words.append(_read_word(child.named_children[0] if child.type == "command_name" else child))
            fed = fed or child.type in _HERE or _is_input(child)
        self.calls.append(ShellCommand(tuple(words), tuple(sets), tuple(redirects), fed))
        for child in node.named_children:
            inner = child.named_children if child.type == "variable_assignment" else [child]
            for part in inner:
                self.visit(part, replace(around, redirects=()))
            if child.type != "variable_assignment":
                self.literals.append("\0")

    def _visit_redirected(self, node: Node, around: _Around) -> None:
        files = [child for child in node.named_children if child.type == "file_redirect"]
        fed = around.fed or any(_is_input(c) or c.type in _HERE for c in node.named_children)
        redirects = tuple(_make_redirect(child) for child in files)
        body = node.child_by_field_name("body")
        if body is None:
            self.calls.append(ShellCommand((), (), redirects, fed))
        elif body.type in ("command", "declaration_command", "unset_command"):
            self.visit(body, replace(around, fed=fed, redirects=(*around.redirects, *redirects)))
        else:
            self.calls.append(ShellCommand((), (), redirects, fed))
            self.visit(body, replace(around, fed=fed))
        for child in node.named_children:
            if child != body:
                self.visit(child, replace(around, redirects=()))


def _is_sum(node: Node) -> bool:
    """Whether the node is a subscript, `$[ ]`, `(( ))` or a `$(( ))` that the grammar takes for a
    substitution."""
    if node.type in ("arithmetic_expansion", "subscript"):
        return True
    brackets = node.type in ("compound_statement", "subshell", "command_substitution")
    return brackets and _text(node).startswith(("((", "$((")) and _text(node).endswith("))")


def _is_heard(body: Node) -> bool:
    """Whether a here-document is the input of the shell's own `read`, of a loop or of a group."""
    statement = body.parent.parent if body.parent is not None else None
    taker = statement.child_by_field_name("body") if statement is not None else None
    name = taker.child_by_field_name("name") if taker is not None else None
    return name is None or _read_word(name.named_children[0]).text in _HEARS


def _read_assignment(node: Node) -> tuple[str, ShellWord]:
    name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
    return (_text(name) if name is not None else "?", ShellWord("") if value is None else _read_word(value))


def _is_input(node: Node) -> bool:
    return node.type == "file_redirect" and _find_operator(node) in _READS


def _find_operator(node: Node) -> str:
    return next((child.type for child in node.children if not child.is_named), "?")


def _make_redirect(node: Node) -> Redirect:
    target = node.child_by_field_name("destination")
    return Redirect(_find_operator(node), ShellWord(None) if target is None else _read_word(target))


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")


def _read_word(node: Node) -> ShellWord:
    text = _text(node)
    match node.type:
        case "word" | "number" | "variable_name" | "file_descriptor" | "special_variable_name":
            bare = text.replace("\\\n", "")
            return ShellWord(re.sub(r"\\(.)", r"\1", bare, flags=re.DOTALL), bool(_find_globs(bare)))
        case "raw_string":
            return ShellWord(text[1:-1])
        case "ansi_c_string":
            return ShellWord(_ANSI.sub(_decode_ansi, text[2:-1]))
        case "string" | "translated_string":
            inner = node if node.type == "string" else node.named_children[0] if node.named_children else node
            parts = [_read_piece(child) for child in inner.named_children]
            if any(part.text is None for part in parts):
                return ShellWord(None)
            if all(child.type == "string_content" for child in inner.named_children):
                return ShellWord(re.sub(r'\\([\\"$`\n])', lambda m: m[1].strip("\n"), _text(inner)[1:-1]))
            return ShellWord("".join(part.text or "" for part in parts))
        case "concatenation":
            return _join_word(node)
        case "simple_expansion" | "expansion":
            name = text.strip("${}")
            return ShellWord(_KNOWN_PLACES.get(name))
    return ShellWord(None)


def _find_globs(text: str) -> str:
    """Return the glob characters in the text, except those after a backslash."""
    return "".join(char for char in re.sub(r"\\.", "", text, flags=re.DOTALL) if char in "*?[")


def _read_piece(node: Node) -> ShellWord:
    if node.type == "string_content":
        return ShellWord(re.sub(r'\\([\\"$`\n])', lambda m: m[1].strip("\n"), _text(node)))
    return _read_word(node)


def _join_word(node: Node) -> ShellWord:
    """Return the word of joined parts. Braces as in `{a,b}` make several words, so such a word is unknown;
    `{}` is literal."""
    if _text(node) == "{}":
        return ShellWord("{}")
    parts = [_read_word(one) if one.is_named else ShellWord(_text(one)) for one in node.children]
    if any(part.text is None for part in parts) or any(part.text == "{" for part in parts):
        return ShellWord(None)
    return ShellWord("".join(part.text or "" for part in parts), any(part.glob for part in parts))


def _decode_ansi(match: re.Match[str]) -> str:
    escape = match[1]
    if escape[0] in "xuU" and len(escape) > 1:
        code = int(escape[1:], 16)
        return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "?"
    if escape[0] in "01234567":
        return chr(int(escape, 8) & 0xFF)
    return _ESCAPES.get(escape, escape[-1])
