"""Commands of the chat: each has its verb on the command line, and what it says is bounded."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
import pytest

from pancode.interfaces.cli.commands import Group
from pancode.interfaces.cli.main import cli
from pancode.kernel.errors import UsageError
from pancode.sessions.commands import slash
from pancode.sessions.commands.slash import (
    COMMANDS,
    RUN,
    SlashCommand,
    carried_out,
    find_by_prefix,
    format_overview,
    parse_command,
)

SEEDS = (
    "workers agents runtimes modes safety preset settings theme runs batches cost costs metrics receipt "
    "budget audit stoprun models reasoning sessions inbox why diff land help"
)
ORIGINAL = (
    "session checkpoint context reset new compact reload fork tree resume export copy login logout "
    "share name scoped-models quit runs batches stoprun cost agents runtimes workers skills metrics "
    "audit doctor receipt perf budget dashboard models settings theme modes reasoning safety preset "
    "help hotkeys exit prompt-debug prompt-version prompt-workers cluster"
)
"""Every command of the original."""
BY_THE_CHAT = ("/help", "/detach", "/copy", "/cancel", "/rest", "/end")
PYTHON = (sys.executable, "-c")


def found(verb: Sequence[str]) -> click.Command:
    """The command of these words; AssertionError for a name or an option that is none."""
    context, options = click.Context(cli), list[str]()
    for word in verb:
        command = context.command
        if word.startswith("-"):
            options.append(word)
        elif isinstance(command, click.Group) and word not in ("none", "RUN"):
            below = command.get_command(context, word)
            assert below is not None, verb
            context = click.Context(below, info_name=word, parent=context)
    known = {name for param in context.command.params for name in param.opts}
    assert set(options) <= known, verb
    return context.command


@pytest.mark.parametrize("command", [one for one in COMMANDS.values() if one.bare], ids=lambda one: one.name)
def test_its_verb_is_there(command: SlashCommand) -> None:
    bare = found(command.bare)
    assert not isinstance(bare, Group) or bare.default is not None, "it would print its help"
    if command.more is not None:
        assert not isinstance(found(command.more), Group)
    for way in command.ways.values():
        assert not isinstance(found(way), Group)


def test_each_command_of_the_seeds_is_there() -> None:
    for name in SEEDS.split():
        assert parse_command(f"/{name}") is not None, name
        assert f"/{name}" in format_overview()


@pytest.mark.parametrize("name", ORIGINAL.split())
def test_each_command_of_the_original_does_or_says_something(name: str) -> None:
    command = parse_command(f"/{name}")
    assert command is not None, name
    ours = command.command
    assert ours.bare or ours.says or ours.name in BY_THE_CHAT
    argv = ours.argv((), "r-own") if ours.bare else []
    assert not ours.bare or (RUN not in argv and found(ours.bare) is not None)


def test_no_two_commands_have_one_name() -> None:
    names = [name for one in COMMANDS.values() for name in (one.name, *one.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("/runs 50", "runs 50"),
        ("/costs", "budget spent"),
        ("/audit run:r-2", "audit run:r-2"),
        ("/receipt", "receipt ls"),
        ("/receipt verify r-2", "receipt verify r-2"),
        ("/receipt r-2", "receipt show r-2"),
        ("/stoprun", "stop running@r-own"),
        ("/stoprun r-2", "stop r-2"),
        ("/stop", "stop r-own"),
        ("/checkpoint", "sessions checkpoint r-own"),
        ("/checkpoint before-it", "sessions checkpoint r-own before-it"),
        ("/checkpoint restore before-it", "sessions restore r-own before-it"),
        ("/checkpoint list", "sessions checkpoint r-own"),
        ("/prompt-debug scout", "agents prompt scout"),
        ("/export", "sessions export r-own"),
        ("/export talk.md", "sessions export r-own --file talk.md"),
        ("/tasks", "sessions show r-own --tasks"),
        ("/context --json", "sessions show r-own --context --json"),
        ("/stop r-2", "stop r-2"),
        ("/diff", "diff r-own"),
        ("/diff r-2", "diff r-2"),
        ("/why --json", "why r-own --json"),
        ("/mode plan", "sessions set r-own --mode plan"),
        ("/safety full-auto --yes", "sessions set r-own --safety full-auto --yes"),
        ("/safety show suggest", "policy show suggest"),
        ("/preset local", "config use local"),
        ("/preset unset", "config use none"),
        ("/budget 25", "budget set 25"),
        ("/budget show", "budget show"),
        ("/agents set scout model x", "agents set scout model x"),
    ],
)
def test_the_words_become_a_command_line(text: str, argv: str) -> None:
    command = parse_command(text)
    assert command is not None and command.command.argv(command.words, "r-own") == argv.split()


def test_what_is_about_this_session_needs_one() -> None:
    command = parse_command("/diff")
    assert command is not None and RUN in command.command.bare
    with pytest.raises(UsageError, match="session has not started"):
        command.command.argv((), "")


@pytest.mark.parametrize(
    "text", ["hello /runs", "/etc/passwd is open", "/* a note */", "/", "/runs 5\nand why", "", "y"]
)
def test_words_stay_words(text: str) -> None:
    assert parse_command(text) is None


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("/rns", "/runs"),
        ("/ru", "/runs"),
        ("/recipt verify x", "/receipt"),
        ("/frobnicate the list", "/help"),
        ("/frobnicate\nthe list", "/help"),
    ],
)
def test_a_wrong_name_gets_the_nearest(text: str, near: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_command(text)
    assert near in str(refused.value.fix)


def test_what_the_chat_does_by_itself_takes_no_words() -> None:
    with pytest.raises(UsageError, check=lambda error: error.code == "takes_no_words"):
        parse_command("/end of the file is where?")
    with pytest.raises(UsageError, match="No closing quotation"):
        parse_command('/why "x')


def test_tab_offers_names_and_else_other_names() -> None:
    assert [name for name, _ in find_by_prefix("/co")] == [
        "/copy",
        "/context",
        "/compact",
        "/cost",
        "/config",
    ]
    assert [name for name, _ in find_by_prefix("/costs")] == ["/costs"]
    assert find_by_prefix("/x") == []


def test_it_can_ask_nobody_and_steers_no_terminal() -> None:
    asks = "import sys; print(sys.stdin.read() + 'q\\x1b[2J', flush=True); open('/dev/tty')"
    text = carried_out([asks], 60, 80, PYTHON).text
    assert text.startswith("q<U+001B>[2J") and "OSError" in text


def test_who_never_ends_is_ended() -> None:
    script = "print('begun', flush=True)\nwhile True: input if 0 else __import__('time').sleep(9)"
    text = carried_out([script], 1, 80, PYTHON).text
    assert text.startswith("begun") or text.startswith("...")
    assert "it was stopped after 1 s: pancode" in text


def test_a_gigabyte_is_cut() -> None:
    text = carried_out(["while True: print('x' * 99)"], 60, 80, PYTHON).text
    assert len(text) < slash.MOST_BYTES and "more lines: pancode" in text


def test_nothing_said_is_said() -> None:
    assert carried_out(["pass"], 60, 80, PYTHON).text == "nothing"
