"""Command groups that load a command's module only when it is asked for, and know the nearest name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from pancode.errors import UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_NO_SUCH = "pancode.no_such_command"
"""Tab was pressed behind a name that is none: no answer, and no error."""


_ELSEWHERE = {
    "logs": "pancode runs logs RUN",
    "log": "pancode runs logs RUN",
    "show": "pancode runs show RUN",
    "stop": "pancode runs stop RUN",
    "retry": "pancode runs retry RUN",
    "diff": "pancode runs diff RUN",
    "land": "pancode runs land RUN",
    "version": "pancode --version",
    "status": "pancode fleet status",
    "ps": "pancode runs",
    "ls": "pancode runs",
    "nodes": "pancode node ls",
    "login": "pancode node login NODE RUNTIME",
    "secret": "pancode node secret set NODE NAME",
    "settings": "pancode config show --origin",
}
"""What people type who know other tools, and where it is here."""


class LazyGroup(click.Group):
    """`table`: name to (module:object below pancode.cli, one line). `later`: names that are not there yet."""

    def __init__(
        self,
        *args: Any,
        table: Mapping[str, tuple[str, str]] | None = None,
        later: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._table = dict(table or {})
        self.later = dict(later or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self._table, *sorted(self.commands)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._table:
            return super().get_command(ctx, cmd_name)
        module, name = self._table[cmd_name][0].split(":")
        found: click.Command = getattr(importlib.import_module(f"pancode.cli.{module}"), name)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if ctx.resilient_parsing and self.get_command(ctx, name) is None:
            ctx.meta[_NO_SUCH] = True
            return None, None, args
        if name in self.later:
            raise UsageError(
                f"{ctx.command_path} {name} is not there yet",
                why=self.later[name],
                fix=f"what is there: {ctx.command_path} -h",
                code="not_there_yet",
            )
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            raise unknown(name, self.list_commands(ctx), ctx.command_path)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The names in the table, without loading what is behind each: this runs whenever Tab is pressed."""
        from click.shell_completion import CompletionItem

        if _NO_SUCH in ctx.meta:
            return []
        own = [(name, line) for name, (_, line) in self._table.items()]
        own += [(n, c.get_short_help_str(90)) for n, c in sorted(self.commands.items()) if not c.hidden]
        found = [CompletionItem(name, help=line) for name, line in own if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, line) for name, (_, line) in self._table.items()]
        rows += [(name, command.get_short_help_str(90)) for name, command in sorted(self.commands.items())]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class DefaultGroup(LazyGroup):
    """A group that is also a command: without a subcommand's name, `default` is meant.

    `pancode runs`, `pancode runs 5` and `pancode runs --json` list; `pancode runs show RUN` shows.
    """

    def __init__(self, *args: Any, default: str, numbered: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._default = default
        self._numbered = numbered

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if ctx.resilient_parsing and not args:
            return super().parse_args(ctx, args)  # what Tab completes may still become a subcommand
        first = args[0] if args else ""
        asks_help = first in ("-h", "--help")
        if not asks_help and (not first or first.startswith("-") or (self._numbered and first.isdigit())):
            args = [self._default, *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Its subcommands, and the options of the one that is meant without a name."""
        found = super().shell_complete(ctx, incomplete)
        meant = self.get_command(ctx, self._default)
        if meant is None or not incomplete.startswith("-"):
            return found
        inner = click.Context(meant, info_name=self._default, parent=ctx, resilient_parsing=True)
        seen = {item.value for item in found}
        return found + [item for item in meant.shell_complete(inner, incomplete) if item.value not in seen]


def unknown(name: str, known: list[str], path: str) -> UsageError:
    """The error for a command that does not exist."""
    from pancode.domain.names import nearest

    meant = _ELSEWHERE.get(name) if path == "pancode" else None
    if meant is not None:
        return UsageError(
            f"there is no command {path} {name}", fix=f"meant is: {meant}", code="no_such_command"
        )
    near = nearest(name, known)
    fix = f"did you mean {path} {near}?" if near is not None else f"look: {path} -h"
    return UsageError(f"there is no command {path} {name}", fix=fix, code="no_such_command")
