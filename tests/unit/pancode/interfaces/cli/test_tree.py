"""The tree of commands: its size, its first screen, and what every other name means."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import _resolve_context

from pancode.interfaces.cli.commands import LETTERS
from pancode.interfaces.cli.main import cli, run
from pancode.interfaces.cli.tree import (
    HIDDEN,
    SCREEN,
    TREE,
    find_close,
    find_near,
    format_first_screen,
    list_children,
    rewrite,
)
from pancode.interfaces.cli.words import INSTEAD, WORDS
from pancode.kernel.errors import ExitCode, UsageError
from tests.architecture.sources import ROOT, modules, tree
from tests.fakes.api import FakeApi
from tests.unit.pancode.interfaces.cli.test_terminal import Terminal

WITHOUT_MODULES = {name for name, command in TREE.items() if not command.module}
MENTION = re.compile(r"\bpancode ([a-z][a-z-]*(?: [a-z-]+){0,2})")
NO_COMMANDS = ("health", "secret")
"""The name of a sender of words, and of a purpose of a signature."""


def test_the_tree_has_forty_names_and_178_in_all() -> None:
    assert (len(list_children("")), len(TREE), len(WITHOUT_MODULES)) == (40, 178, 22)
    assert not {*WORDS, *INSTEAD} & {*TREE}


def test_the_first_screen_has_each_name_once_and_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    shown = [name for rows in SCREEN.values() for names in rows for name in names.split(", ")]
    assert sorted(shown) == sorted(list_children(""))
    lines = format_first_screen().splitlines()
    assert len(lines) == 50 and max(map(len, lines)) <= 79
    assert run(["-h"]) == ExitCode.DONE
    assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.parametrize("path", sorted(WITHOUT_MODULES))
def test_the_help_of_a_group_has_the_lines_of_the_tree(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*path.split(), "-h"]) == ExitCode.DONE
    told = " ".join(capsys.readouterr().out.split())
    assert all(f" {name} {command.line}" in told for name, command in list_children(path).items())


def parsed(words: list[str]) -> tuple[str, Mapping[str, Any]]:
    """The command that the words mean, and its parameters."""
    context = _resolve_context(cli, {}, "pancode", list(words))
    return context.command_path, context.params


@pytest.mark.parametrize("old", sorted(WORDS))
def test_another_name_is_parsed_as_the_command(old: str) -> None:
    meant = WORDS[old].split()
    more = ["x"] if old.endswith("...") else []
    typed = old.removesuffix("...").split() + more
    assert parsed(typed) == parsed([*meant, *more])
    path = parsed(meant)[0].removeprefix("pancode").strip()
    assert path in TREE or meant == ["--version"]
    command = _resolve_context(cli, {}, "pancode", meant).command
    known = {flag for param in command.params for flag in (*param.opts, *param.secondary_opts)}
    assert {word for word in meant if word.startswith("-")} <= known


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("nodes list", "node ls"),
        ("node describe gpubox", "node show gpubox"),
        ("project remove shop", "project rm shop"),
        ("schedule delete nightly", "schedule rm nightly"),
        ("budget list", "budget show"),
        ("workspaces destroy x --force", "workspace rm x --force"),
        ("agent new x", "agents new x"),
        ("project create .", "project add ."),
        ("runs 5", "runs ls 5"),
        ("history rate limit", "history find rate limit"),
        ("history show last", "history show last"),
        ("mcp", "mcp serve"),
        ("hook push night task", "lane add night task"),
        ("work SHOP-12 --dry-run", "issue work SHOP-12 --dry-run"),
        ("work", "issue ls"),
        ("ps -a", "runs ls"),
        ("config view", "config show"),
        ("fleet", "fleet"),
        ("admin", "admin"),
        ("dispatch list", "dispatch list"),
    ],
)
def test_what_a_command_line_means(typed: str, meant: str) -> None:
    assert rewrite(typed.split()) == meant.split()


SEEDS = """
up
down
sessions
run --headless TASK
init
doctor
skills
status
sync
project add /path/to/project --name myproject
project list
project remove myproject
work issue MIN-123
work status
work tell min-123 words
work kill min-123
work health check
work health status
work hook check
work hook push agent-min-123 words
work hook mail agent-min-123 words
work plan MIN-123
work plan MIN-123 --continue
work context state agent-min-123
work context checkpoint name
work context history test
work cv agent-min-123
work cv --rankings
work recover min-123
work recover --all
workspace create MIN-123
workspace list
workspace destroy MIN-123 --force
"""
"""The command lines of the two earlier systems, as they are written."""


@pytest.mark.parametrize("line", SEEDS.strip().splitlines())
def test_a_command_line_of_an_earlier_system_is_taken_as_it_is_written(line: str) -> None:
    context = cli.make_context("pancode", line.split())
    command: click.Command = cli
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None, name
        command, context = found, found.make_context(name, rest, parent=context)
    assert context.command_path.removeprefix("pancode ") in TREE


@pytest.mark.parametrize("name", sorted(INSTEAD))
def test_a_word_of_another_program_says_what_to_use(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        rewrite(name.split())
    assert refused.value.fix == f"use: {INSTEAD[name]}"
    for command in INSTEAD[name].split(", or "):
        words = [word for word in command.split()[1:] if word.islower() and word[0] != "-"]
        assert parsed(words)[0].removeprefix("pancode").strip() in {*TREE, *HIDDEN}


def test_a_terminal_is_told_that_the_last_value_of_an_option_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    err = Terminal()
    monkeypatch.setattr(sys, "stderr", err)
    assert run(["policy", "show", "--matrix", "-o", "yaml", "-o", "wide"]) == ExitCode.DONE
    assert err.getvalue() == "note: -o is given several times; the last one counts\n"


@pytest.mark.parametrize(
    ("typed", "group", "meant"),
    [
        ("rusn", "", ["runs"]),
        ("dispach", "", ["dispatch"]),
        ("shwo", "runs", ["runs show"]),
        ("checkpoint", "", ["sessions checkpoint last", "sessions checkpoint"]),
        ("kill", "", ["stop"]),
        ("list", "", ["node ls", "runs ls", "inbox ls"]),
        ("xyzzy", "", []),
        ("atach", "", ["sessions attach"]),
    ],
)
def test_a_misspelt_name_has_the_nearest_ones(typed: str, group: str, meant: list[str]) -> None:
    assert find_near(typed, group) == meant


def test_no_short_name_is_near_to_one_with_another_first_letter() -> None:
    assert find_close("gets", ["lets"]) == find_close("tsop", ["stop"]) == []
    assert find_close("sotp", ["stop"]) == ["stop"] and find_close("dispathc", ["dispatch"]) == ["dispatch"]


def texts(path: Path) -> Iterator[str]:
    """The texts of a module, each whole, with `{}` for what is filled in."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(one.value) if isinstance(one, ast.Constant) else "{}" for one in node.values)


def test_no_message_names_what_has_another_name() -> None:
    """Messages and pages use names that a command line takes."""
    said = {
        path: "\n".join(texts(path)) for path in modules("pancode", "node_agent") if path.name != "words.py"
    }
    said |= {path: path.read_text() for path in (*ROOT.glob("docs/howto/*.md"), ROOT / "README.md")}
    wrong = []
    for path, text in said.items():
        for found in MENTION.finditer(text):
            words = found[1].split()
            names = (" ".join(words[:count]) for count in range(len(words), 0, -1))
            name = next((one for one in names if one in {*TREE, *WORDS, *INSTEAD}), "")
            if name in INSTEAD and name not in NO_COMMANDS:
                wrong.append(f"{path}: pancode {name}")
    assert not wrong


def test_a_task_that_is_a_command_begins_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dispatch", "list"]) == ExitCode.USAGE
    assert '"list" looks like a command: pancode runs' in capsys.readouterr().err


def leaf(path: str) -> click.Command:
    command: click.Command | None = cli
    for word in path.split():
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), word)
    assert command is not None, path
    return command


def test_a_letter_means_one_option_and_an_option_has_its_letter_everywhere() -> None:
    names: dict[str, set[str]] = {}
    for path in TREE.keys() - WITHOUT_MODULES:
        for param in leaf(path).params:
            long = {name for name in param.opts if name.startswith("--")}
            for letter in (name for name in param.opts if len(name) == 2):
                names.setdefault(letter, set()).update(long - {"--json"})
            assert all(LETTERS[name] in param.opts for name in long & LETTERS.keys()), (path, param.opts)
    assert names.pop("-f") == {"--file", "--follow"}, "as in kubectl and docker"
    assert all(len(meant) == 1 for meant in names.values()), names


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("-o name", "node:a\nloop\n"),
        ("-o yaml", "breakers:\n- name: node:a\n"),
        ("--output=json", '{"breakers": [{"name": "node:a"'),
        ("--json", '{"breakers": [{"name": "node:a"'),
        ("-o wide", "BREAKER  STATE"),
        ("", "BREAKER  STATE"),
    ],
)
def test_a_result_comes_in_the_format_that_is_asked_for(
    words: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = {"state": "open", "failures": 3, "until_ms": None, "why": "it fails"}
    rows = [{"name": name, **facts} for name in ("node:a", "loop")]
    FakeApi({"GET /v1/breakers": {"breakers": rows}}).serves(monkeypatch)
    assert run(["admin", "breakers", *words.split()]) == ExitCode.DONE
    assert capsys.readouterr().out.startswith(told)


def test_an_unknown_format_is_refused_and_an_error_is_json_where_json_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["runs", "-o", "xml"]) == ExitCode.USAGE
    assert "json, yaml, wide, name" in capsys.readouterr().err
    assert run(["dispatch", "list", "-o", "json"]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith('{"error": ')
