"""Our kind of Typer commands and groups: loaded when they are used, each with examples in its help."""

from __future__ import annotations

import copy
import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import click
import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_group

from pancode.interfaces.cli.terminal import can_draw
from pancode.kernel.errors import UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])
_NO_SUCH = "pancode.no_such_command"
"""Key in `meta`: the word before the cursor names no command, so Tab offers nothing, without an error."""
BARE = "pancode.bare"
"""Key in `meta`: no command was named, so the group's default command begins."""
ELSEWHERE = {
    "logs": "pancode runs logs RUN",
    "log": "pancode runs logs RUN",
    "show": "pancode runs show RUN",
    "stop": "pancode runs stop RUN",
    "kill": "pancode runs stop RUN",
    "stoprun": "pancode runs stop RUN",
    "retry": "pancode runs retry RUN",
    "diff": "pancode runs diff RUN",
    "version": "pancode --version",
    "status": "pancode fleet status",
    "ps": "pancode runs",
    "ls": "pancode runs",
    "list": "pancode runs",
    "view": "pancode runs show RUN",
    "watch": "pancode runs follow RUN",
    "cancel": "pancode runs stop RUN",
    "rerun": "pancode runs retry RUN",
    "nodes": "pancode node ls",
    "login": "pancode node login NODE RUNTIME",
    "secret": "pancode node secret set NODE NAME",
    "settings": "pancode config show --origin",
    "hook": "pancode lane",
    "cv": "pancode workers",
    "sync": "pancode skills sync",
    "skill": "pancode skills show pancode, or pancode skills sync pancode",
    "records": "pancode workers",
    "report": "pancode brief",
    "lane retry": "pancode runs retry RUN, or pancode lane show LANE",
    "lane move": "pancode lane rm LANE ITEM, or pancode lane add LANE TASK",
    "mail read": "pancode inbox, or pancode runs show RUN",
    "prompts diff": "pancode prompts show AGENT",
    "prompts versions": "pancode prompts show RUN",
    "presets use": "pancode presets apply NAME",
    "queue move": "pancode queue rm RUN",
    "fleet upgrade": "pancode fleet up",
    "fleet drill": "pancode demo",
    "runtimes set": "pancode config set dispatch.runtime NAME",
    "node import": "pancode node add NAME",
    "modes set": "pancode config set dispatch.mode NAME",
    "safety set": "pancode config set dispatch.safety NAME",
    "work issue": "pancode work ISSUE",
    "work plan": "pancode plan ISSUE",
    "work recover": "pancode recover RUN",
    "work hook": "pancode lane add LANE TASK",
    "work cv": "pancode workers",
    "workspace destroy": "pancode workspace rm NAME",
    "doctor panos": "pancode models test MODEL",
    "models decompose": "pancode models test MODEL",
    "webhook": "pancode events -f, or pancode notify secret NAME",
}
"""Removed commands, and those of other tools that users expect, each with what to use instead."""


class Commands(typer.Typer):
    """The commands of one module, which are its `app`; or those of a group."""

    def verb(
        self, name: str, *examples: str, cls: type[TyperCommand] | None = None, **more: Any
    ) -> Callable[[F], F]:
        """Make the function a command: its parameters are options and arguments, its docstring the help."""
        return self.command(name, cls=cls or RichHelpCommand, epilog=format_example(*examples), **more)

    def group(self, name: str, *examples: str, **below: Any) -> Callable[[Callable[[], None]], Commands]:
        """Make a group with the function's docstring as help; `below` are class attributes of its `Group`."""

        def made(described: Callable[[], None]) -> Commands:
            group = Commands(
                name=name,
                cls=type("Group", (Group,), below),
                help=inspect.getdoc(described),
                epilog=format_example(*examples),
                no_args_is_help="default" not in below,
            )
            self.add_typer(group)
            return group

        return made


def format_example(*lines: str) -> str:
    """The end of each command's help."""
    return "\b\nExample" + ("s" if len(lines) > 1 else "") + ":\n  " + "\n  ".join(lines)


class RichHelpCommand(TyperCommand):
    """A command whose help Rich draws on a terminal; in a pipe the help is plain text."""

    headings: ClassVar[Mapping[str, Collection[str]]] = {}
    """Heading of the help to the parameters below it; all other parameters stand below `Options`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = args[0] if args and not ctx.resilient_parsing else ""
        if f"{ctx.command_path} {first}".removeprefix("pancode ") in ELSEWHERE:
            raise unknown_command_error(first, [], ctx.command_path)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if _is_drawn(ctx):
            for title, names in self.headings.items():
                for param in self.params:
                    if param.name in names and isinstance(param, TyperOption):
                        param.rich_help_panel = title
            _draw_help(self, ctx)
        else:
            click.Command.format_help(self, ctx, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        shown = {param.name: param.get_help_record(ctx) for param in self.get_params(ctx)}
        arguments = [param.name for param in self.params if isinstance(param, click.Argument)]
        sections = {"Arguments": arguments, **self.headings}
        named = [name for names in sections.values() for name in names]
        sections["Options"] = [name for name in shown if name not in named]
        for title, names in sections.items():
            rows = [row for name, row in shown.items() if name in names and row is not None]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


class Group(TyperGroup):
    """A group whose commands may be in modules that are not loaded yet.

    With a `default`, the group is a command, too: `pancode runs`, `pancode runs 5` (`numbered`) and `pancode
    runs --json` list; `pancode runs show RUN` shows.
    """

    table: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """Name to the module whose `app` has that command, and one line about it."""
    aliases: ClassVar[Mapping[str, str]] = {}
    """Other names of commands, with their modules (MODULE:NAME where the command itself has another name):
    they work, and no list has them."""
    headings: ClassVar[Mapping[str, Collection[str]]] = {}
    """Heading of the help to names of commands; without headings all stand below `Commands`."""
    default: ClassVar[str | None] = None
    numbered: ClassVar[bool] = False
    free: ClassVar[bool] = False
    """Whether a word that is no command of the group is an argument of the default command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.table, *sorted(self.commands)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.table:
            return _commands_of(self.table[cmd_name][0])[cmd_name]
        if cmd_name in self.aliases:
            module, _, meant = self.aliases[cmd_name].partition(":")
            return _commands_of(module)[meant or cmd_name]
        return super().get_command(ctx, cmd_name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = args[0] if args else ""
        of_default = not first or first.startswith("-") or (self.numbered and first.isdigit())
        if self.free and not ctx.resilient_parsing and self.get_command(ctx, first) is None:
            if f"{ctx.command_path} {first}".removeprefix("pancode ") in ELSEWHERE:
                raise unknown_command_error(first, self.list_commands(ctx), ctx.command_path)
            of_default = True
        # What Tab completes may still become a subcommand.
        if (ctx.resilient_parsing and not args) or self.default is None or first in ("-h", "--help"):
            of_default = False
        return super().parse_args(ctx, [str(self.default), *args] if of_default else args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if ctx.resilient_parsing and self.get_command(ctx, name) is None:
            ctx.meta[_NO_SUCH] = True
            return None, None, args
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            raise unknown_command_error(name, self.list_commands(ctx), ctx.command_path)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the group's commands and options, and the options of its default command."""
        from click.shell_completion import CompletionItem

        if _NO_SUCH in ctx.meta:
            return []
        found = [CompletionItem(n, help=line) for n, line in self.lines() if n.startswith(incomplete)]
        found += click.Command.shell_complete(self, ctx, incomplete)
        meant = self.get_command(ctx, self.default) if self.default and incomplete.startswith("-") else None
        if meant is not None:
            inner = click.Context(meant, info_name=self.default, parent=ctx, resilient_parsing=True)
            seen = {item.value for item in found}
            found += [item for item in meant.shell_complete(inner, incomplete) if item.value not in seen]
        return found

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if not _is_drawn(ctx):
            return click.Group.format_help(self, ctx, formatter)
        shown = TyperGroup(name=self.name, params=self.params, help=self.help, epilog=self.epilog)
        titles = {name: title for title, names in self.headings.items() for name in names}
        for name, line in self.lines():
            command = TyperCommand(name, help=line, rich_help_panel=titles.get(name))
            shown.add_command(command)
        _draw_help(shown, ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        lines = self.lines()
        for title, names in (self.headings or {"Commands": dict(lines)}).items():
            with formatter.section(title):
                formatter.write_dl([line for line in lines if line[0] in names], col_max=12)

    def lines(self) -> list[tuple[str, str]]:
        """Return each command with what it is for, without loading the modules of the table."""
        own = sorted((name, c.get_short_help_str(400)) for name, c in self.commands.items() if not c.hidden)
        return [*((name, line) for name, (_, line) in self.table.items()), *own]


@cache
def _commands_of(module: str) -> Mapping[str, click.Command]:
    return get_group(importlib.import_module(module).app).commands


def _is_drawn(ctx: click.Context) -> bool:
    """Whether Rich draws the help: on a terminal, but not for `pancode help --json`."""
    return can_draw(sys.stdout) and not ctx.find_root().obj


def _draw_help(command: TyperCommand | TyperGroup, ctx: click.Context) -> None:
    """Draw the help with Rich, which joins lines unless a blank line stands between them."""
    from typer.rich_utils import rich_format_help

    shown = copy.copy(command)
    shown.epilog = (command.epilog or "").removeprefix("\b\n").replace("\n", "\n\n")
    rich_format_help(obj=shown, ctx=ctx, markup_mode="rich")


SAME_VERBS = {
    **dict.fromkeys(("remove", "delete", "del", "destroy"), ("rm",)),
    **dict.fromkeys(("list", "get", "info", "describe", "view"), ("ls", "show")),
    **dict.fromkeys(("create", "new"), ("create", "add")),
}
"""Verbs that mean the same as others, in the order in which they are looked for."""


def unknown_command_error(name: str, known: list[str], path: str) -> UsageError:
    """The error for a command that does not exist."""
    from pancode.kernel.names import find_nearest

    meant = ELSEWHERE.get(f"{path} {name}".removeprefix("pancode ").removeprefix("help "))
    same = [verb for verb in SAME_VERBS.get(name, ()) if verb in known]
    near = same[0] if same else find_nearest(name, known)
    fix = f"did you mean {path} {near}?" if near is not None else f"look: {path} -h"
    fix = f"use: {meant}" if meant is not None else fix
    return UsageError(f"command not found: {path} {name}", fix=fix, code="no_such_command")
