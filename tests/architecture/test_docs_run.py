"""Holds the commands of the documents to the command line: each exists, its options too, and most are run."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import pytest

from docs.generate.commands import walk, whole
from docs.runner.blocks import NOT_RUN, Block, Command, blocks, missing
from pancode.interfaces.cli.main import cli
from pancode.interfaces.cli.tree import rewrite
from tests.architecture.sources import ROOT

PAGES = [ROOT / "README.md", *sorted(p for p in (ROOT / "docs").rglob("*.md") if "adr" not in p.parts)]
# Blocks that say not=elsewhere, and what gives their commands.
ELSEWHERE = {
    "monitoring.md": "tests/integration/packaging/test_monitoring.py",
    "ansible.md": "tests/e2e/test_ansible.py",
    "gpu.md": "tests/e2e/test_gpus.py",
    "compose.md": "tests/integration/packaging/test_images.py",
    "install.md": "tests/integration/packaging/test_install.py",
    "mcp.md": "tests/e2e/test_mcp.py",
    "top.md": "tests/e2e/test_top.py",
    "issues.md": "tests/e2e/test_issues.py",
    "workspaces.md": "tests/e2e/test_workspaces.py",
    "made-tools.md": "tests/e2e/test_made_tools.py",
    "laptop.md": "tests/integration/faces/test_remote.py",
    "console.md": "tests/e2e/test_web.py",
    "chat.md": "tests/e2e/test_first_minute.py",
    "first-talk.md": "tests/e2e/test_first_minute.py",
    "editors.md": "tests/e2e/test_editors.py",
}
OPERATORS = {"|", "||", "&&", ";", "&", ">", ">>", "<", "2>", "2>/dev/null"}


def _ids(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _calls(command: str) -> list[list[str]]:
    """Each call of pancode in one line of a shell: its words after the name."""
    calls, rest = [], shlex.split(command.replace("$(", " ").replace("\n", " "), comments=True)
    for at, word in enumerate(rest):
        if word == "pancode" and (at == 0 or rest[at - 1] in OPERATORS or "=" in rest[at - 1]):
            end = next(
                (n for n, w in enumerate(rest[at:], at) if w in OPERATORS or w.endswith(";")), len(rest)
            )
            calls.append([w.rstrip(";)") for w in rest[at + 1 : end]])
    return calls


def _command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    command: click.Command = cli
    context = whole()
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        if found is None:
            break
        command, words = found, words[1:]
        context = click.Context(command, info_name=command.name, parent=context)
    return command, words


def _wrong(words: list[str]) -> str | None:
    """Why these words are no call of today's command line; None when they are."""
    plain = not words or words[0].startswith("--")  # `pancode` alone is a chat
    words = rewrite(["chat", *words] if plain and words != ["--version"] else words)
    command, rest = _command_of(words)
    if isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        return f"there is no {rest[0]}"
    known = {o for p in command.params if isinstance(p, click.Option) for o in (*p.opts, *p.secondary_opts)}
    known |= {"-h", "--help", "--version"}
    options = [w.partition("=")[0] for w in _before_argv(rest) if w.startswith("-") and len(w) > 1]
    return next((f"{option} is not an option" for option in options if option not in known), None)


def _before_argv(words: list[str]) -> list[str]:
    return words[: words.index("--")] if "--" in words else words


@pytest.mark.parametrize("page", PAGES, ids=_ids)
def test_every_command_of_a_page_exists(page: Path) -> None:
    wrong = []
    for command in (c for block in blocks(page) for c in block.commands):
        wrong += [f"{page.name}:{command.line}: {w}" for call in _calls(command.text) if (w := _wrong(call))]
    assert not wrong


def test_a_command_that_does_not_exist_is_found() -> None:
    assert _wrong(["fleet", "upp"]) == "there is no upp"
    assert _wrong(["dispatch", "--agnet", "x"]) == "--agnet is not an option"
    assert _wrong(["runs", "5"]) is None and _wrong(["dispatch", "--", "ls", "--agnet"]) is None


def test_every_page_that_shows_how_is_run_or_says_why_not() -> None:
    """What is only shown says why in a word: blocks() refuses one that says nothing."""
    pages = [p for kind in ("tutorial", "howto") for p in sorted((ROOT / "docs" / kind).glob("*.md"))]
    shown = {p: blocks(p) for p in [ROOT / "README.md", *pages]}
    idle = {
        p.name: {b.reason for b in found} for p, found in shown.items() if not any(b.world for b in found)
    }
    assert all(
        reasons <= {"login", "install", "make", "elsewhere", "typed", "service"} for reasons in idle.values()
    ), idle
    assert sum(b.world != "" for found in shown.values() for b in found) > 75


def test_what_is_run_elsewhere_is() -> None:
    named = {p.name for p in PAGES for block in blocks(p) if block.reason == "elsewhere"}
    assert named == set(ELSEWHERE)
    assert not [path for path in ELSEWHERE.values() if not (ROOT / path).is_file()]


def test_every_reason_is_explained() -> None:
    page = (ROOT / "docs/contributing/documents.md").read_text()
    assert not [word for word, why in NOT_RUN.items() if f"| `{word}` | {why} |" not in page]


def test_examples_of_the_command_line_are_commands() -> None:
    """What the help of each command shows is a call that the command line takes."""
    wrong = []
    for context, command in walk(cli, whole()):
        for line in (command.epilog or "").replace("\b", "").splitlines():
            if line.startswith("  "):
                wrong += [f"{context.command_path}: {w}" for c in _calls(line) if (w := _wrong(c))]
    assert not wrong


def test_blocks_are_read_as_a_terminal_shows_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```console run=local\n$ cat <<END\n> two\n> END\ntwo\n$ false\n$ echo $?\n1\n```\n"
        "```sh\nnot read\n```\n```console not=login\n$ shown\n```\n"
    )
    assert blocks(page) == [
        Block("local", (Command("cat <<END\ntwo\nEND", ("two",), 2), Command("false", (), 6, 1)), 1),
        Block("", (Command("shown", (), 14),), 13, "login"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "```sh run=local\n$ x\n```\n",
        "```console run=moon\n$ x\n```\n",
        "```console not=today\n$ x\n```\n",
        "```console\n$ x\n```\n",
        "```console not=login\nx\n```\n",
    ],
)
def test_a_block_of_another_form_is_an_error(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match=r"page\.md:"):
        blocks(page)


@pytest.mark.parametrize(
    ("expected", "lacks"),
    [
        (("r-7f3k2q  done", "cost ..."), None),
        (("cost ...", "r-7f3k2q  done"), "r-7f3k2q  done"),
        (("done",), "done"),
        ((), None),
    ],
)
def test_lines_must_appear_in_their_order(expected: tuple[str, ...], lacks: str | None) -> None:
    assert missing(expected, "start\nr-zzzzzz done\n\n  cost   $0.42 (reported)\n") == lacks
