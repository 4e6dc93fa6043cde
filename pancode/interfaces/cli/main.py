"""The command `pancode`: finds the subcommand, loads only that, turns errors into words and a status."""

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
from pancode.interfaces.cli.commands import BARE, Commands, Group, format_example
from pancode.interfaces.cli.output import tell_error, write_stderr
from pancode.interfaces.client.remote.address import VARIABLE
from pancode.kernel.errors import ConfigError, ExitCode, PancodeError, UsageError

GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "Start": {
        "init": ("pancode.app.commands.setup", "write the user's configuration files, with comments"),
        "demo": (
            "pancode.app.commands.setup",
            "a whole fleet on this machine: up, dispatch, kill, recover, verify",
        ),
        "doctor": ("pancode.app.commands.setup", "what is wrong on this machine, each with its fix"),
        "completion": (
            "pancode.interfaces.cli.help",
            "what your shell reads to complete commands and options",
        ),
        "help": ("pancode.interfaces.cli.help", "help on a command, or on exit-codes"),
    },
    "Work": {
        "dispatch": ("pancode.runs.commands.dispatch", "give a task to the fleet and wait for its result"),
        "explore": (
            "pancode.memory.commands.scouts",
            "read-only scouts answer questions about this repository",
        ),
        "batch": ("pancode.workflows.commands.batch", "give many tasks to the fleet at once"),
        "chain": (
            "pancode.workflows.commands.chain",
            "steps that build on each other, from a file or by name",
        ),
        "race": ("pancode.workflows.commands.race", "one task for several workers; the best result wins"),
        "workflow": (
            "pancode.workflows.commands.group",
            "batches, chains and races: ls, show, stop, resume, check a file",
        ),
        "schedule": (
            "pancode.schedules.commands",
            "work that begins by itself: at a time, on an event, on a push, on a webhook",
        ),
        "run": (
            "pancode.runs.commands.headless",
            "a task for a script or a CI job: fleet up, wait, artifacts, fleet down",
        ),
        "lane": (
            "pancode.workflows.commands.lanes",
            "work in order: the next item begins by itself; create, add, ls, show, move, skip",
        ),
        "work": (
            "pancode.issues.commands.issues",
            "have an issue of a tracker worked on: work ISSUE, status, tell, kill",
        ),
        "plan": (
            "pancode.issues.commands.plans",
            "plan an issue or a task with a planner; keep the plan where it is built",
        ),
        "issues": ("pancode.issues.commands.issues", "the open issues of a project's tracker: ls, show"),
        "workspace": (
            "pancode.workspaces.commands.workspaces",
            "a line of work with a name, kept: create, ls, show, open, repair, rm",
        ),
        "tools": (
            "pancode.skills.commands.tools",
            "tools that agents have made for a project: ls, show, try, keep, rm",
        ),
        "queue": ("pancode.runs.commands.queue", "what waits where, in order, with the reason"),
        "recover": (
            "pancode.runs.commands.health",
            "what ended badly goes on: a run, an agent's newest, or all of the last day",
        ),
    },
    "Talk": {
        "chat": (
            "pancode.sessions.commands.chat",
            "talk with an agent on any node; it stays when you leave",
        ),
        "attach": (
            "pancode.sessions.commands.chat",
            "come back to a session or a run: all it said, and your message",
        ),
        "up": (
            "pancode.sessions.commands.tmux",
            "this project's terminal in tmux: chat, top and a shell; or come back to it",
        ),
        "down": ("pancode.sessions.commands.tmux", "end that terminal; sessions, runs and the fleet go on"),
        "sessions": ("pancode.sessions.commands.sessions", "the sessions: ls, show, attach, set, rest, end"),
        "acp": (
            "pancode.interfaces.acp.commands",
            "the fleet's agents in your editor: Zed, JetBrains, Neovim, Emacs",
        ),
    },
    "Look": {
        "top": ("pancode.interfaces.tui.commands", "the fleet on one screen, live, with keys"),
        "web": (
            "pancode.interfaces.web.commands",
            "the web console in your browser, by a link that can be used once",
        ),
        "runs": ("pancode.runs.commands.runs", "the last runs; show, logs, stop, retry, diff, land one"),
        "health": (
            "pancode.runs.commands.health",
            "each agent and machine: working, thinking, quiet, stuck, and why",
        ),
        "why": ("pancode.reports.commands.timeline", "every decision about a run, in words"),
        "receipt": (
            "pancode.runs.commands.receipts",
            "the signed proof of what a run did: ls, show, verify, export",
        ),
        "history": (
            "pancode.memory.commands.history",
            "what runs here decided, did and left open: search, show, forget",
        ),
        "context": (
            "pancode.memory.commands.context",
            "what a new run would be told of those before it, in a lane or workspace",
        ),
        "brief": (
            "pancode.reports.commands.brief",
            "what happened since you last looked or --since, what waits, what it cost",
        ),
        "workers": (
            "pancode.budget.commands.workers",
            "each agent: its work now and its record, by machine or kind of work",
        ),
        "audit": ("pancode.reports.commands.timeline", "what happened in the fleet, newest first"),
        "events": (
            "pancode.reports.commands.events",
            "everything that happens in the fleet; -f: as it happens",
        ),
        "metrics": (
            "pancode.reports.commands.metrics",
            "the fleet in figures: six lines, or as Prometheus reads them",
        ),
    },
    "Land": {
        "land": (
            "pancode.landing.commands.landing",
            "land a run's change in your files or on a branch; the queue; --all-green",
        ),
        "review": (
            "pancode.landing.commands.review",
            "results one after the other: look, land, send back, drop",
        ),
    },
    "People": {
        "inbox": (
            "pancode.people.commands.inbox",
            "what waits for you: questions, runs and changes to approve",
        ),
        "answer": ("pancode.people.commands.inbox", "answer the question of a run; it goes on"),
        "approve": ("pancode.people.commands.inbox", "say yes to what waits for it: a run, a change"),
        "deny": ("pancode.people.commands.inbox", "say no to what a run waits for"),
        "tell": (
            "pancode.people.commands.inbox",
            "words for a run's agent: with its task, or while it works",
        ),
        "mail": ("pancode.people.commands.inbox", "other names of inbox and tell: ls, send"),
        "notify": ("pancode.notices.commands", "notices to users: the channels, what came of each, a test"),
    },
    "Money": {
        "cost": (
            "pancode.budget.commands.cost",
            "what runs have cost: by run, agent, model, node, repository, day ...",
        ),
        "budget": (
            "pancode.budget.commands.budget",
            "what may be spent, was spent, is held: show, set, settle",
        ),
    },
    "Machines": {
        "fleet": (
            "pancode.fleet.commands.fleet",
            "bring machines up, look at them, drain them, take them down",
        ),
        "node": ("pancode.fleet.commands.nodes", "machines: add, ls, install, login, secret, set, trust, rm"),
        "breakers": ("pancode.fleet.commands.breakers", "what is held up after failures in a row: ls, reset"),
    },
    "Models": {
        "agents": (
            "pancode.agents.commands.agents",
            "agent definitions: look, set, add, check; what each is told",
        ),
        "prompts": (
            "pancode.agents.commands.prompts",
            "what runs are told, part by part: show",
        ),
        "models": (
            "pancode.agents.commands.models",
            "models to choose from: where they are, how able, what they cost",
        ),
        "endpoints": ("pancode.agents.commands.models", "the model servers that your machines reach"),
        "runtimes": (
            "pancode.agents.commands.choices",
            "the programs that run agents, and where they were found",
        ),
        "presets": ("pancode.agents.commands.presets", "named sets of settings, and which one counts"),
        "modes": ("pancode.agents.commands.choices", "what each mode lets a dispatch do"),
        "safety": (
            "pancode.agents.commands.choices",
            "what each safety level lets a run do; your rules: show, check",
        ),
    },
    "Admin": {
        "config": ("pancode.config.commands", "every setting and where it was set: show, set, unset, undo"),
        "project": (
            "pancode.workspaces.commands.projects",
            "repositories with a name and defaults: add, ls, show, rm",
        ),
        "key": ("pancode.fleet.commands.keys", "the keys that sign for the fleet: ls, rotate"),
        "token": (
            "pancode.interfaces.http.access.commands",
            "who may use the API over TCP: create, ls, revoke",
        ),
        "gc": (
            "pancode.runs.commands.retention",
            "let go of what old runs left on the disks; what fills them",
        ),
        "ledger": ("pancode.store.commands", "the record of the fleet: move it to another database"),
        "redis": ("pancode.queue.commands", "what a Redis of your own needs: its file of users"),
        "serve": ("pancode.app.commands.serve", "the coordinator in the foreground"),
        "service": (
            "pancode.app.commands.serve",
            "the coordinator as a service: print its unit, install, remove it",
        ),
        "mcp": (
            "pancode.interfaces.mcp.commands",
            "the fleet as tools for other agents (Claude Code, Codex ...): serve, install",
        ),
        "skills": (
            "pancode.skills.commands.skills",
            "skills (SKILL.md) for agent programs: check, add, copy to where they look",
        ),
        "api-stdio": (
            "pancode.app.commands.serve",
            "for PANCODE_COORDINATOR on another node: the coordinator's API",
        ),
    },
}
"""Heading of the help to its commands: name to (module, one line)."""
COMMANDS = {name: found for group in GROUPS.values() for name, found in group.items()}
ALIASES = {
    "batches": "pancode.workflows.commands.group",
    "costs": "pancode.budget.commands.cost",
    "hook": "pancode.workflows.commands.lanes:lane",
}
"""Other names of commands, with their modules; the help does not list them."""


class Root(Group):
    """The root group: `pancode` alone, or with options of a chat only, is `pancode chat`."""

    table, aliases, headings = COMMANDS, ALIASES, GROUPS
    default = "chat"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = 0
        while args[own : own + 1] == ["-C"] and len(args) > own + 1:
            own += 2
        first = args[own] if own < len(args) else ""
        alone = (not first and not ctx.resilient_parsing) or first.startswith("-")
        if alone and first not in _ROOTS and not first.startswith("-C"):
            ctx.meta[BARE] = True
            args = [*args[:own], self.default, *args[own:]]
        return TyperGroup.parse_args(self, ctx, args)


_ROOTS = ("-h", "--help", "--version", "--")
root = Commands(
    name="pancode",
    cls=Root,
    epilog=format_example(
        "pancode fleet up", "pancode dispatch --runtime shell -- uname -a", "pancode runs show last"
    ),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _tell_version(ctx: typer.Context, asked: bool) -> None:
    if not asked or ctx.resilient_parsing:
        return
    from pancode.commit import read_commit

    typer.echo(f"pancode {__version__} (commit {read_commit()})")
    raise typer.Exit


@root.callback()
def before(
    ctx: typer.Context,
    version: Annotated[
        bool,
        Option(
            "--version",
            is_eager=True,
            callback=_tell_version,
            show_default=False,
            help="Show the version and the commit, and exit.",
        ),
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
        from pancode.checkouts.commands.travel import send_checkout
        from pancode.interfaces.client.caller import let_files_travel

        let_files_travel(send_checkout)
    if ctx.invoked_subcommand not in _SHOWS_VARIABLES:
        _heed_variables(as_json=bool(ctx.obj))


cli = get_group(root)
_SHOWS_VARIABLES = ("config", "doctor", "help", "completion")
"""Commands that report unknown variables themselves, or to which no variable could matter."""
ASKED_BY = "_PANCODE_COMPLETE"
"""The variable with which a shell asks for completions."""


def _heed_variables(*, as_json: bool) -> None:
    """Warn of each unknown PANCODE_ variable. ConfigError where it looks like one that limits runs."""
    from pancode.config.variables import unknown_variables
    from pancode.interfaces.cli.output import Face

    for variable in unknown_variables(os.environ):
        if variable.limits:
            raise ConfigError(
                variable.words,
                why=f"{variable.near} limits what a run may do; the command would run without that limit",
                fix=f"export {variable.near}={os.environ[variable.name]}; unset {variable.name}",
                code="unknown_variable",
            )
        Face(as_json).note(f"warning: {variable.words}")


def run(args: list[str]) -> int:
    """One command, or what a shell asks that completes one; its exit status."""
    if ASKED_BY in os.environ:
        from click.shell_completion import shell_complete

        return shell_complete(cli, {}, "pancode", ASKED_BY, os.environ[ASKED_BY])
    # Arguments after `--` belong to another program.
    as_json = "--json" in (args[: args.index("--")] if "--" in args else args)
    try:
        with cli.make_context("pancode", args, obj=as_json) as ctx:
            status = cli.invoke(ctx)
    except (Exception, KeyboardInterrupt) as exc:
        return status_of(exc, args, as_json=as_json)
    return status if isinstance(status, int) else ExitCode.DONE


def status_of(exc: BaseException, args: list[str], *, as_json: bool) -> int:
    """The exit status of a command that ended with this; what a user must know of it is told."""
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
            return tell_error(_usage(exc), as_json=as_json)
        case PancodeError():
            return tell_error(_with_choice(exc, args), as_json=as_json)
        case OSError():
            return _unwritten(exc, as_json)
        case Exception():
            return _unforeseen(exc, as_json)
    raise exc


def _with_choice(error: PancodeError, args: list[str]) -> PancodeError:
    """Where the error names several runs of an agent, let its fix be this very command for each run."""
    runs, agent = error.details.get("runs", "").split(), error.details.get("agent")
    if agent in args and runs:
        at = args.index(agent)
        begin = args[: at - (args[at - 1] == "--agent")]
        error.fix = "; or: ".join(shlex.join(["pancode", *begin, run, *args[at + 1 :]]) for run in runs)
    return error


def _unwritten(exc: OSError, as_json: bool) -> int:
    """Return the status where standard output takes nothing more; other errors count as unforeseen."""
    from pancode.interfaces.cli.output import say_no_more
    from pancode.interfaces.client.client import FULL

    if isinstance(exc, BrokenPipeError):
        # The reader has gone (`pancode runs | head`): nothing is wrong, and nothing more can be said.
        say_no_more()
        return ExitCode.DONE
    if exc.errno not in FULL:
        return _unforeseen(exc, as_json)
    say_no_more()
    error = PancodeError(
        "cannot write the output: no space left on the disk",  # mostly `pancode ... > file` on a full disk
        why=str(exc),
        fix="free space where the output goes and in PANCODE_HOME; check before you retry: pancode runs",
        code="no_room",
    )
    return tell_error(error, as_json=as_json)


def _unforeseen(exc: Exception, as_json: bool) -> int:
    """Log where a defect of PanCode's own arose, tell the user one error, and return its status."""
    from pancode.interfaces.cli.output import internal_error

    return tell_error(internal_error(exc), as_json=as_json)


_MEANT = {"runs": "best-of", "count": "best-of", "number": "best-of"}
"""Words for an option that look like another one."""


def _near(wrong: click.NoSuchOption) -> str | None:
    """Return the option that was probably meant; the dashes are not compared, as all options have them."""
    from pancode.kernel.names import find_nearest

    params = wrong.ctx.command.params if wrong.ctx is not None else []
    options = {name.lstrip("-"): name for param in params for name in param.opts if name.startswith("--")}
    word = wrong.option_name.lstrip("-")
    found = _MEANT[word] if _MEANT.get(word) in options else find_nearest(word, options)
    return None if found is None else options[found]


def _usage(wrong: click.ClickException) -> PancodeError:
    """Return click's error as one of ours, with the nearest right name where click knows one."""
    fix = ""
    near = _near(wrong) if isinstance(wrong, click.NoSuchOption) else None
    if near is not None:
        fix = f"did you mean {near}?"
    if isinstance(wrong, click.UsageError) and wrong.ctx is not None:
        fix = f"{fix} look: {wrong.ctx.command_path} -h".strip()
    message = ""
    if isinstance(wrong, click.NoSuchOption):
        name = wrong.option_name
        number = name[1:2].isdigit()
        message = f"a number below 0 is none that fits here: {name}" if number else f"no such option: {name}"
    return UsageError(message or wrong.format_message(), fix=fix)
