"""The command `pancode`: finds the subcommand, loads only its module, and turns errors into exit statuses."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Annotated

import click
import typer
from typer import Option
from typer.core import TyperGroup
from typer.main import get_group

from pancode import __version__
from pancode.interfaces.cli.commands import BARE, Group
from pancode.interfaces.cli.output import Face, internal_error, say_no_more, tell_error, write_stderr
from pancode.interfaces.cli.tree import format_first_screen, rewrite
from pancode.interfaces.client.client import FULL
from pancode.interfaces.client.remote.address import VARIABLE
from pancode.kernel.errors import ConfigError, ExitCode, PancodeError, UsageError


class Root(Group):
    """The root group: `pancode` without a command, or with options of `chat` only, runs `pancode chat`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = 0
        while args[own : own + 1] == ["-C"] and len(args) > own + 1:
            own += 2
        meant = rewrite(args[own:], completes=ctx.resilient_parsing)
        args = [*args[:own], *meant]
        ctx.meta[_NAMED] = " ".join(meant[:2])
        first = args[own] if own < len(args) else ""
        alone = (not first and not ctx.resilient_parsing) or first.startswith("-")
        if alone and first not in _ROOTS and not first.startswith("-C"):
            ctx.meta[BARE] = True
            args = [*args[:own], "chat", *args[own:]]
        return TyperGroup.parse_args(self, ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write(format_first_screen())


_NAMED = "pancode.named"
"""Key in `meta`: the first two words of the command line, as names in the command tree."""
_ROOTS = ("-h", "--help", "--version", "--")
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
root = typer.Typer(name="pancode", cls=Root, context_settings=_SETTINGS)


def _tell_version(ctx: typer.Context, is_requested: bool) -> None:
    if not is_requested or ctx.resilient_parsing:
        return
    from pancode.commit import read_commit

    typer.echo(f"pancode {__version__} (commit {read_commit()})")
    raise typer.Exit


_HELP = "Show the version and the commit, and exit."


@root.callback()
def prepare_command(
    ctx: typer.Context,
    version: Annotated[
        bool, Option("--version", is_eager=True, callback=_tell_version, show_default=False, help=_HELP)
    ] = False,
    folder: Annotated[
        str | None,
        Option("-C", metavar="DIR", help="Act as if started in DIR, a folder of the coordinator's machine."),
    ] = None,
) -> None:
    """Your machines, every coding agent, one policy, proof of what happened."""
    if folder is not None:
        from pancode.interfaces.client.caller import stand_in

        stand_in(folder)
    elif os.environ.get(VARIABLE):
        from pancode.interfaces.cli.copied_checkout import send_checkout
        from pancode.interfaces.client.caller import let_files_travel

        let_files_travel(send_checkout)
    if not ctx.meta[_NAMED].startswith(_SHOWS_VARIABLES):
        _heed_variables(as_json=bool(ctx.obj))


cli = get_group(root)
_SHOWS_VARIABLES = (
    *("config show", "config set", "config unset", "config undo"),
    *("doctor", "help", "admin completion"),
)
"""Commands that report unknown variables themselves, or that variables do not affect."""
ASKED_BY = "_PANCODE_COMPLETE"
"""The environment variable with which a shell requests completions."""


def _heed_variables(*, as_json: bool) -> None:
    """Warn of each unknown PANCODE_ variable. Raises ConfigError if it looks like one that limits runs."""
    from pancode.config.variables import unknown_variables

    for variable in unknown_variables(os.environ):
        if variable.limits:
            why = f"{variable.near} limits what a run may do; the command would run without that limit"
            fix = f"export {variable.near}={os.environ[variable.name]}; unset {variable.name}"
            raise ConfigError(variable.words, why=why, fix=fix, code="unknown_variable")
        Face(as_json).note(f"warning: {variable.words}")


def run(args: list[str]) -> int:
    """Run one command, or answer a shell's completion request; return the exit status."""
    if ASKED_BY in os.environ:
        from click.shell_completion import shell_complete

        return shell_complete(cli, {}, "pancode", ASKED_BY, os.environ[ASKED_BY])
    # Arguments after `--` belong to another program.
    own = args[: args.index("--")] if "--" in args else args
    as_json = "--json" in own or ["-o", "json"] in [own[at : at + 2] for at in range(len(own))]
    try:
        with cli.make_context("pancode", args, obj=as_json) as ctx:
            status = cli.invoke(ctx)
    except (Exception, KeyboardInterrupt) as exc:
        return status_of(exc, args, as_json=as_json)
    return status if isinstance(status, int) else ExitCode.DONE


def status_of(exc: BaseException, args: list[str], *, as_json: bool) -> int:
    """Print what the user must know of this exception, and return the exit status that it means."""
    match exc:
        case click.exceptions.Exit():
            return exc.exit_code
        case click.exceptions.NoArgsIsHelpError():
            sys.stdout.write(f"{exc.format_message()}\n")
            return ExitCode.USAGE
        case click.Abort() | KeyboardInterrupt():
            write_stderr("\n")
            return ExitCode.DETACHED
        case click.ClickException():
            return tell_error(_make_usage_error(exc), as_json=as_json)
        case PancodeError():
            return tell_error(_with_choice(exc, args), as_json=as_json)
        case BrokenPipeError():
            # The pipe's reader has exited (`pancode runs | head`): not an error, and nothing can be printed.
            say_no_more()
            return ExitCode.DONE
        case OSError() if exc.errno in FULL:
            say_no_more()
            # typical cause: `pancode ... > file` on a full disk
            what = "cannot write the output: no space left on the disk"
            fix = "free space there and in PANCODE_HOME; before you retry, check with: pancode runs"
            return tell_error(ConfigError(what, fix=fix, code="no_room"), as_json=as_json)
        case Exception():
            return tell_error(internal_error(exc), as_json=as_json)
    raise exc


def _with_choice(error: PancodeError, args: list[str]) -> PancodeError:
    """Set the error's fix to the same command: with the option that the fix names, with the nearest name, or
    with each run of an agent in turn."""
    option = error.fix.split(" ")
    if option[0].startswith("--") and len(option) < 3 and "--" not in args:
        at = args.index(option[0]) if option[0] in args else len(args)
        error.fix = shlex.join(["pancode", *args[:at], *option, *args[at + len(option) :]])
    typed, near = error.details.get("typed"), error.details.get("near", "")
    if typed in args:
        error.fix = shlex.join(["pancode", *(near if one == typed else one for one in args)])
    runs, agent = error.details.get("runs", "").split(), error.details.get("agent")
    if agent in args and runs:
        at = args.index(agent)
        begin = args[: at - (args[at - 1] == "--agent")]
        error.fix = "; or: ".join(shlex.join(["pancode", *begin, run, *args[at + 1 :]]) for run in runs)
    return error


_MEANT = {"runs": "best-of", "count": "best-of", "number": "best-of"}
"""Guessed option names, mapped to the right option: the nearest spelling would be a wrong one."""


def _find_near(wrong: click.NoSuchOption) -> str | None:
    """Return the option that the user probably meant; names are compared without their dashes."""
    from pancode.kernel.names import find_nearest

    params = wrong.ctx.command.params if wrong.ctx is not None else []
    # The opposite of what was meant is no suggestion.
    is_negated = wrong.option_name.startswith("--no-")
    names = (name for param in params for name in param.opts if name.startswith("--"))
    options = {name.lstrip("-"): name for name in names if is_negated or not name.startswith("--no-")}
    word = wrong.option_name.lstrip("-")
    found = _MEANT[word] if _MEANT.get(word) in options else find_nearest(word, options)
    return None if found is None else options[found]


def _make_usage_error(wrong: click.ClickException) -> PancodeError:
    """Return click's error as a UsageError, with the nearest valid name for an unknown option."""
    fix, message = "", wrong.format_message()
    if isinstance(wrong, click.NoSuchOption):
        near, name = _find_near(wrong), wrong.option_name
        fix = "" if near is None else f"did you mean {near}?"
        is_number = name[1:2].isdigit()
        message = f"{'a negative number is not valid here' if is_number else 'no such option'}: {name}"
    if isinstance(wrong, click.UsageError) and wrong.ctx is not None:
        fix = f"{fix} look: {wrong.ctx.command_path} -h".strip()
    return UsageError(message, fix=fix)
