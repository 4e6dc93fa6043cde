"""Reads OpenSSH client configuration and says which directives apply to one alias (pure, runs nothing)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pancode.fleet.ssh.errors import TargetError

MAX_DEPTH = 16

Expand = Callable[[str], tuple[str, ...]]
"""An Include's argument -> the files that it names, sorted."""
Read = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Directive:
    """One `Keyword arguments` line that applies; `keyword` is in lower case, `name` as it was written."""

    keyword: str
    name: str
    args: tuple[str, ...]
    path: str
    line: int

    @property
    def where(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass
class MatchFacts:
    """The inputs of Host and Match lines; host name and user follow the directives read so far."""

    alias: str
    local_user: str
    hostname: str = ""
    user: str = ""
    final: bool = False
    wants_final: bool = False
    found: list[Directive] = field(default_factory=list)

    def note(self, directive: Directive) -> None:
        self.found.append(directive)
        if directive.keyword == "hostname" and not self.hostname:
            self.hostname = directive.args[0].replace("%h", self.alias).replace("%%", "%")
        if directive.keyword == "user" and not self.user:
            self.user = directive.args[0]


def wildcard(pattern: str, text: str, fold: bool) -> bool:
    """OpenSSH's pattern: `*` any characters, `?` one; `fold` disregards case."""
    regex = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern)
    return re.fullmatch(regex, text, re.DOTALL | (re.IGNORECASE if fold else 0)) is not None


def in_patterns(patterns: list[str], text: str, fold: bool) -> bool:
    """One pattern must match and no `!pattern` may."""
    hit = False
    for pattern in patterns:
        if pattern.startswith("!"):
            if wildcard(pattern[1:], text, fold):
                return False
        elif wildcard(pattern, text, fold):
            hit = True
    return hit


def words(line: str, where: str) -> list[str]:
    """The keyword and its arguments; `Keyword=value` and quotes as OpenSSH reads them."""
    match = re.match(r"\s*([A-Za-z][A-Za-z0-9]*)(?:\s*=\s*|\s+|$)(.*)$", line, re.DOTALL)
    if match is None:
        raise TargetError(f"{where}: not a directive: {line.strip()!r}")
    rest = match[2].strip()
    found = _split(rest, where)  # OpenSSH minds the quotes of a command line, too
    if match[1].lower() == "proxycommand":  # a command line: its quotes are its own
        return [match[1], rest] if rest else [match[1]]
    return [match[1], *found]


def _split(text: str, where: str) -> list[str]:
    """OpenSSH's `argv_split`: `#` begins a comment where a word begins; a backslash counts before a quote, a
    backslash or, outside quotes, a space, and is itself anywhere else (`User CORP\\bea`)."""
    found: list[str] = []
    at = 0
    while at < len(text):
        if text[at] in " \t":
            at += 1
            continue
        if text[at] == "#":
            break
        word, quote = "", ""
        while at < len(text) and (quote or text[at] not in " \t"):
            char = text[at]
            if char == "\\" and text[at + 1 : at + 2] in (*"'\"\\", *(() if quote else " ")):
                at += 1
                word += text[at]
            elif char in "'\"" and quote in ("", char):
                quote = "" if quote else char
            else:
                word += char
            at += 1
        if quote:
            raise TargetError(f"{where}: a quote is not closed: {text!r}", fix="close the quote")
        found.append(word)
    return found


def _criterion(name: str, arg: str, facts: MatchFacts, where: str) -> bool:
    values = {
        "host": facts.hostname or facts.alias,
        "originalhost": facts.alias,
        "user": facts.user or facts.local_user,
        "localuser": facts.local_user,
        "tagged": next((d.args[0] for d in facts.found if d.keyword == "tag"), ""),
    }
    if name not in values:
        raise TargetError(
            f"{where}: `Match {name}` decides about {facts.alias!r}, and PanCode does not evaluate it",
            why="it can change which machine this alias means"
            + (", and runs a command" if name == "exec" else ""),
            fix=f"leave this alias out of the block: add `!originalhost {facts.alias}` to that line",
        )
    return in_patterns(arg.split(","), values[name], fold=name.endswith("host"))


def _bare(name: str, facts: MatchFacts) -> bool | None:
    """The criteria without an argument; None when `name` is not one of them."""
    if name == "final":
        facts.wants_final = True
    return {"all": True, "final": facts.final, "canonical": facts.final}.get(name)


def matches(args: tuple[str, ...], facts: MatchFacts, where: str) -> bool:
    """A Match line. Criteria that we do not evaluate are refused, unless another one is false anyway."""
    queue, result, refusal = list(args), True, None
    while queue:
        head = queue.pop(0)
        name, eq, given = head.lstrip("!").partition("=")
        name = name.lower()
        answer = _bare(name, facts)
        if answer is None:
            if not eq and not queue:
                raise TargetError(f"{where}: `Match {name}` has no pattern")
            try:
                answer = _criterion(name, given if eq else queue.pop(0), facts, where)
            except TargetError as error:
                refusal = refusal or error
                continue
        result = result and answer != head.startswith("!")
    if result and refusal is not None:
        raise refusal
    return result


class ConfigReader:
    """Walks configuration files in OpenSSH's order and notes the directives that apply."""

    def __init__(self, facts: MatchFacts, read: Read, expand: Expand) -> None:
        self.facts, self.read, self.expand = facts, read, expand

    def walk(self, path: str, active: bool = True, depth: int = 0) -> None:
        """One file. Blocks of an included file end with that file; an Include in a dead block is dead."""
        if depth > MAX_DEPTH:
            raise TargetError(f"{path}: Include is nested deeper than {MAX_DEPTH}")
        here, live = active, active
        for number, line in _lines(self.read(path)):
            where = f"{path}:{number}"
            name, *args = words(line, where)
            keyword = name.lower()
            if keyword in ("host", "match"):
                live = here and self._block(keyword, tuple(args), where)
            elif keyword == "include":
                for pattern in args if live else ():
                    for inner in self.expand(pattern):
                        self.walk(inner, True, depth + 1)
            elif live:
                self._note(Directive(keyword, name, tuple(args), path, number))

    def _block(self, keyword: str, args: tuple[str, ...], where: str) -> bool:
        if keyword == "host":
            return in_patterns(list(args), self.facts.alias, fold=False)
        return matches(args, self.facts, where)

    def _note(self, directive: Directive) -> None:
        if not directive.args or not directive.args[0]:
            raise TargetError(f"{directive.where}: {directive.name} has no value")
        self.facts.note(directive)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line
