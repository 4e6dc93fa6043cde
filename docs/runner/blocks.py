"""Reads the command blocks of a page: which are run where, each command with what it is said to print.

A block that begins with ```console run=local is run on this machine alone, one with run=hosts where a second
machine is. Its lines are what a terminal shows: `$ command`, `> ` for its further lines, then lines that
appear in its output, in this order; `...` stands for anything. One with run=model is run where that second
machine has a model server of its own, one with run=scripted where its model does the tasks of the pages by a
script. A block that is only shown says why with not=REASON.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(\w+)(?: (run|not)=(\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WORLDS = ("local", "hosts", "model", "scripted")
NOT_RUN = {
    "make": "commands of the clone, which continuous integration runs itself",
    "login": "needs an account or a key of a vendor",
    "typed": "is typed by hand in a terminal, until it is ended there",
    "service": "needs a service elsewhere in the network, such as a forge",
    "install": "installs published programs from the network",
    "root": "changes the machine, as root",
    "state": "needs a state of the fleet that the page does not make",
    "elsewhere": "another test runs these commands",
    "release": "happens once for each version",
    "example": "one line of help, compared with the command line",
}
"""Why a block is only shown: the words that a fence may say, and what each means."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command and the lines that are to appear, in order, in what it prints."""

    text: str
    expected: tuple[str, ...]
    line: int
    status: int = 0
    """Its exit status, as the page shows it with `echo $?`."""


@dataclass(frozen=True, slots=True)
class Block:
    """`world`: where it is run; empty where it is only shown, and then `reason` says why."""

    world: str
    commands: tuple[Command, ...]
    line: int
    reason: str = ""


def blocks(page: Path) -> list[Block]:
    """The console blocks of a page; ValueError for one that is not of the form above."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        language, key, word, body = match[1], match[2], match[3] or "", match[4]
        line = text.count("\n", 0, match.start()) + 1
        if language != "console" and not key:
            continue
        if language != "console" or word not in {"run": WORLDS, "not": NOT_RUN}.get(key or "", ()):
            raise ValueError(
                f"{page.name}:{line}: a block of commands is ```console run= {' or '.join(WORLDS)}, "
                f"or says why not: not= {' or '.join(NOT_RUN)}"
            )
        world, reason = (word, "") if key == "run" else ("", word)
        found.append(Block(world, _commands(body, line, page.name), line, reason))
    return found


def _commands(body: str, line: int, page: str) -> tuple[Command, ...]:
    raw: list[tuple[str, list[str], int]] = []
    for number, text in enumerate(body.splitlines(), line + 1):
        if text.startswith("$ "):
            raw.append((text[2:], [], number))
        elif not raw:
            raise ValueError(f"{page}:{number}: a block begins with a command: $ ...")
        elif text.startswith("> ") and not raw[-1][1]:
            raw[-1] = (f"{raw[-1][0]}\n{text[2:]}", [], raw[-1][2])
        elif text.strip():
            raw[-1][1].append(text)
    return tuple(_with_status(raw))


def _with_status(raw: list[tuple[str, list[str], int]]) -> list[Command]:
    """`echo $?` is not run: its line is the status of the command before it."""
    commands: list[Command] = []
    for text, expected, line in raw:
        if text == "echo $?" and commands and len(expected) == 1:
            last = commands.pop()
            commands.append(Command(last.text, last.expected, last.line, int(expected[0])))
        else:
            commands.append(Command(text, tuple(expected), line))
    return commands


def missing(expected: tuple[str, ...], printed: str) -> str | None:
    """The first line that does not appear in its place; blanks count as one, ids of runs as equal."""
    rest = [plain(line) for line in printed.splitlines()]
    for line in expected:
        pattern = re.compile(".*".join(re.escape(part.strip()) for part in plain(line).split("...")))
        at = next((n for n, have in enumerate(rest) if pattern.fullmatch(have)), None)
        if at is None:
            return line
        rest = rest[at + 1 :]
    return None


def plain(line: str) -> str:
    return re.sub(r"\br-[a-z0-9]{4,24}\b", "r-RUN", " ".join(line.split()))
