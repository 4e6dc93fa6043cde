"""Defines PanCode's Typer commands and groups: modules load on first use, and each help has examples."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from copy import copy
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar, get_args, get_origin

import click
import typer
from click.core import augment_usage_errors
from typer.core import TyperArgument, TyperCommand, TyperGroup
from typer.main import get_group
from typer.models import ArgumentInfo, OptionInfo

from pancode.interfaces.cli import completions
from pancode.interfaces.cli.output import write_stderr
from pancode.interfaces.cli.tree import HIDDEN, TREE, default_of, find_near, list_children
from pancode.kernel.errors import UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])
_NO_SUCH = "pancode.no_such_command"
"""Key in `meta`: the word before the cursor is not a command, so Tab offers nothing, without an error."""
BARE = "pancode.bare"
"""Key in `meta`: set if no command was given, so that the group's default command runs."""

LETTERS = {
    **{"--node": "-N", "--agent": "-A", "--model": "-M", "--detach": "-d", "--number": "-n"},
    **{"--follow": "-f", "--message": "-m", "--yes": "-y", "--watch": "-w"},
}
"""The short letter of an option, the same in every command that has the option."""
VALUES: Mapping[str, tuple[str, Callable[[str], list[str]]]] = {
    **{"--node": ("N", completions.nodes), "--agent": ("A", completions.agents)},
    **{"--model": ("M", completions.models), "--runtime": ("R", completions.runtimes)},
    "--project": ("P", completions.projects),
}
"""The name of an option's value in the help, and what Tab offers, where the option does not declare them."""
_APPS = defaultdict[str, typer.Typer](typer.Typer)
"""The Typer app of each module, by module."""
WHOLE_HELP, _MOST = "--help-all", 14
"""A command with more parameters than this has a short help; this option shows the full one."""


def verb(
    name: str, *examples: str, see: str = "", cls: type[TyperCommand] | None = None, **more: Any
) -> Callable[[F], F]:
    """Return a decorator that makes a function the command with this full name, such as `node add`:
    parameters become options and arguments, and the docstring becomes the help."""

    def register(function: F) -> F:
        own = inspect.signature(function, eval_str=True)
        shown = [
            one.replace(annotation=_complete(one.name, one.annotation)) for one in own.parameters.values()
        ]
        vars(function)["__signature__"] = own.replace(parameters=shown)
        function.__annotations__ = {one.name: one.annotation for one in shown}
        epilog = "\b\nExample" + ("s" if len(examples) > 1 else "") + ":\n  "
        epilog += "\n  ".join(
            one if re.search(r"(^|[\s(|$])pancode ", one) else f"pancode {name} {one}".strip()
            for one in examples
        )
        epilog += f"\n\n{see}" if see else ""
        command = _APPS[function.__module__].command(name, cls=cls or SectionedCommand, epilog=epilog, **more)
        return command(function)

    return register


def _complete(parameter: str, hint: Any) -> Any:
    """Return the type of a parameter, with what follows from its name: `--name` alone for a flag, without
    `--no-name`; for an option that many commands have, what Tab offers and the name of its value."""
    kind, *infos = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if not infos or not isinstance(infos[0], OptionInfo):
        return hint
    info = copy(infos[0])
    names: list[Any] = [] if info.default is ... else [info.default, *(info.param_decls or ())]
    names = names or [f"--{parameter.replace('_', '-')}"]
    info.default, info.param_decls = names[0], tuple(names[1:])  # Typer reads the first name there.
    if found := VALUES.get(names[-1]):
        info.metavar, info.autocompletion = info.metavar or found[0], info.autocompletion or found[1]
    return Annotated[kind, info]


class SectionedCommand(TyperCommand):
    """A command whose help groups its options under headings."""

    format_help = click.Command.format_help
    headings: ClassVar[Mapping[str, Collection[str]]] = {}
    """Heading of the help to its parameters; all other parameters are under `Options`."""
    only_whole: ClassVar[Collection[str]] = ()
    """The parameters that the short help leaves out."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        given = list[str]()
        for arg in args[:end]:
            if arg == WHOLE_HELP and self.is_long:
                ctx.meta[WHOLE_HELP] = True
                given.append("--help")
            elif arg == "--json" and any(arg in param.opts for param in self.params):
                given += ["-o", "json"]
            else:
                given.append(arg)
        single = [one for one in self.params if isinstance(one, click.Option) and not one.multiple]
        is_told = sys.stderr.isatty() and not {"--json", "-q", "--quiet"} & set(args)
        for one in single if is_told and not ctx.resilient_parsing else ():
            if sum(arg.partition("=")[0] in one.opts for arg in given) > 1:
                write_stderr(f"note: {one.opts[0]} is given several times; the last one counts\n")
        with augment_usage_errors(ctx):  # else a missing value of an option does not name the command
            return super().parse_args(ctx, [*given, *args[end:]])

    def format_arguments(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write nothing: `format_options` also writes the arguments."""

    @property
    def is_long(self) -> bool:
        """Whether the command has both a short help and one with all options."""
        return bool(self.only_whole) and len(self.params) > _MOST

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        shown = {param.name: param.get_help_record(ctx) for param in self.get_params(ctx)}
        arguments = [param.name for param in self.params if isinstance(param, click.Argument)]
        sections = {"Arguments": arguments, **self.headings}
        if self.is_long and not ctx.meta.get(WHOLE_HELP):
            shown = {name: row for name, row in shown.items() if name not in self.only_whole}
            sections = {"Arguments": arguments}
        named = [name for names in sections.values() for name in names]
        sections["Options"] = [name for name in shown if name not in named]
        for title, names in sections.items():
            rows = [row for name, row in shown.items() if name in names and row is not None]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
        if self.is_long and not ctx.meta.get(WHOLE_HELP):
            count = sum(isinstance(param, click.Option) for param in self.params)
            formatter.write(f"\n  All {count} options, by topic: {ctx.command_path} {WHOLE_HELP}\n")


class Group(TyperGroup):
    """A group of commands; the module of a command is loaded when the command is used."""

    format_help = click.Group.format_help
    path: str = ""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(list_children(self.path))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = list_children(self.path).get(cmd_name) or (None if self.path else HIDDEN.get(cmd_name))
        if found is None:
            return None
        name = f"{self.path} {cmd_name}".strip()
        return commands_of(found.module)[name] if found.module else make_group(name)

    @property
    def default(self) -> str | None:
        return default_of(self.path)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if ctx.resilient_parsing and self.get_command(ctx, name) is None:
            ctx.meta[_NO_SUCH] = True
            return None, None, args
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            raise unknown_command_error(name, self.path, ctx.command_path)
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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(self.lines(), col_max=12)

    def lines(self) -> list[tuple[str, str]]:
        """Return the name and the summary line of each command, without loading its module."""
        return [(name, command.line) for name, command in list_children(self.path).items()]


def make_group(path: str) -> Group:
    """Return the group with that path; its help begins with a capital letter."""
    line, default = TREE[path].line.partition(":")[0], default_of(path)
    text = f"{line[:1].upper()}{line[1:]}."
    text += f"\n\n`pancode {path}` alone runs `pancode {path} {default}`." if default else ""
    group = Group(name=path.rpartition(" ")[2], help=text, no_args_is_help=True)
    group.path = path
    return group


@cache
def commands_of(module: str) -> Mapping[str, click.Command]:
    importlib.import_module(module)
    found = dict(get_group(_APPS[module]).commands)
    for path, command in found.items():
        command.name = path.rpartition(" ")[2]
        for param in command.params:
            if isinstance(param, TyperArgument):
                # Click 8.5 removes the help that Typer gives to an argument.
                assert command.callback is not None
                declared = get_args(inspect.signature(command.callback).parameters[param.name].annotation)
                param.help = next((one.help for one in declared if isinstance(one, ArgumentInfo)), None)
            letters = [LETTERS[name] for name in param.opts if name in LETTERS]
            param.opts[:0] = [letter for letter in letters if letter not in param.opts]
    return found


def unknown_command_error(name: str, group: str, path: str) -> UsageError:
    """Return the error for a command that does not exist."""
    found = [f"pancode {one}" for one in find_near(name, group)]
    fix = f"did you mean {', or '.join(found)}?" if found else f"look: {path} -h"
    return UsageError(f"command not found: {path} {name}", fix=fix, code="no_such_command")
