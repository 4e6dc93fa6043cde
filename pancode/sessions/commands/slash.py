"""The slash commands of the chat: their table, and how each runs its `pancode` command."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pancode.interfaces.cli.output import PROGRAM
from pancode.interfaces.client.remote.place import remote_of
from pancode.kernel.errors import ExitCode, UsageError
from pancode.kernel.formatting import count_noun, escape_line, reveal_invisible
from pancode.kernel.names import RUNNING, find_nearest

RUN = "RUN"
"""The argument of a command that is replaced by this session's run."""
BEGUN = f"{RUNNING}@{RUN}"
"""The placeholder that names the newest running run that this session has started."""
PATIENCE_S, LONG_S = 30.0, 900.0
MOST_BYTES, MOST_LINES = 200_000, 200
"""How many bytes of a command's output are read, and how many of its lines are shown."""


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """A slash command. `bare`: the `pancode` command it runs; if empty, the chat does it or shows `says`.

    `more`: the command to run if arguments follow, if different. `ways`: the commands that take the remaining
    arguments, by first argument.
    """

    name: str
    about: str
    bare: tuple[str, ...]
    aliases: tuple[str, ...]
    more: tuple[str, ...] | None
    ways: Mapping[str, tuple[str, ...]]
    says: str

    @property
    def patience_s(self) -> float:
        """Return how many seconds the command may take."""
        return LONG_S if self.name in _LONG else PATIENCE_S

    def argv(self, words: Sequence[str], run: str) -> list[str]:
        """Return the `pancode` command line. UsageError if it needs this session, which has not started."""
        verb = self.bare
        if words and words[0] in self.ways:
            verb, words = self.ways[words[0]], words[1:]
        elif words and not words[0].startswith("-") and self.more is not None:
            verb = self.more
        if (not verb or not {RUN, BEGUN}.isdisjoint(verb)) and not run:
            raise UsageError("the session has not started", fix="send a first message", code="no_session")
        return [*(one.replace(RUN, run) if one in (RUN, BEGUN) else one for one in verb), *words]


_LONG = ("/checkpoint", "/approve", "/answer", "/work", "/land")
_TABLE = """
This talk
/help /? /hotkeys | the keys, and this list
/cancel | end the turn at work (Esc)
/rest | let it rest: its slot is free
/end | end the session
/detach /quit /exit | leave; nothing ends (Ctrl-D)
/copy | copy the last answer, on the screen
/session /tree | this session: its interactive runs, its cost | sessions show RUN
/context | the model's window, part by part | sessions show RUN --context
/compact | when a model's memory is shortened
/tasks | what this session has dispatched | sessions show RUN --tasks
/export | the talk as Markdown; a name: into a file | sessions export RUN | sessions export RUN --file
/checkpoint | the named points; NAME names this one, `restore NAME` goes back
  | sessions checkpoint RUN | | restore=sessions restore RUN, list=sessions checkpoint RUN
/sessions /resume | all sessions | sessions | sessions show | ls, show
/prompt /prompt-debug /prompt-workers | what this agent was told, or another | agents prompt RUN
  | agents prompt | show=agents prompt
/prompt-version | the prompt that a run got
/new /reset | how another talk begins
/fork | how to continue from an earlier point
/name | how a talk gets a name
/share | how others come in
Runs
/status | what needs you, runs, nodes, money | status
/runs | the last runs, or as many as you say | runs | | show, ls, logs=logs
/batches /workflows | batches, chains and races | workflow ls
/queue | what waits where | runs ls --waiting
/workers /records /perf | each agent's work and record | agents record
/inbox | what waits for you | inbox
/approve | say yes to what waits: a run | inbox | approve
/deny | say no to what waits: a run | inbox | deny
/answer | answer a run's question | inbox | answer
/tell | a message for a run's agent | inbox | tell
/issue | issues at work, and the open ones | issue | | ls, show, work
/work | have an issue worked on | issue | issue work
/history | what earlier runs here decided | history | | find, show, forget
/why | every decision about a run | why RUN | why
/diff | what a run changed | diff RUN | diff
/logs | what a run said and did | logs RUN | logs
/land | land a run's change | land RUN | land
/stoprun | stop the newest run that this session has begun, or another | stop running@RUN | stop
/stop | stop the run you talk with, or another | stop RUN | stop
/receipt /receipts | receipts; verify one | receipt ls | receipt show | ls, show, verify
/audit | what happened: error, run:ID ... | audit
/brief | what happened since you looked | status --since last
Money
/cost /costs | this session, and what runs cost | budget spent
/budget | ceilings; an amount sets today's | budget | budget set
  | show, set, settle, spent, unset=budget set none
/metrics | the fleet in six lines | status --metrics --brief
Agents, models, machines
/agents | agent definitions | agents | agents show | ls, show, set
/model | this session's model; a name sets it | sessions show RUN | sessions set RUN --model
/effort | how hard it thinks; a level sets it | sessions show RUN | sessions set RUN --reasoning
/program-mode | a mode of the program itself (acp:NAME) | sessions show RUN
  | sessions set RUN --program-mode
/models /scoped-models | models to choose from | models | | ls, test
/runtimes | programs that run agents | agents runtimes
/skills | skills for agent programs | skills
/fleet /nodes /machines /dashboard /cluster | the machines | node ls
/login /logout | where logins are
/doctor | what is wrong here, with its fix | doctor
Settings
/modes /mode | modes and their tools; one sets this session's | policy show modes
  | sessions set RUN --mode | ls=policy show modes, show, check
/safety | levels; one sets this session's | policy show modes | sessions set RUN --safety
  | ls=policy show modes, show, check
/policy | all rules in force here | policy show | | show, check
/preset /presets | presets; a name applies one | config preset | config use
  | ls=config preset, show=config preset, apply=config use, unset=config use none
/settings /config | settings, all or with a word | config show --origin | | show, set, unset, undo
/reasoning | how hard models think; a level sets it here | config show --origin reasoning
  | sessions set RUN --reasoning
/theme | colours; terminal, dark or light | config show --origin theme | config set theme
/reload | what counts from when on
"""
"""Headings, and a row for each command: names | purpose | `pancode` command | command that takes arguments |
first arguments, each with its command after `=`, or a verb of the same group."""
_SAYS = {
    "/compact": "PanCode's own worker compacts its memory automatically when the context window is nearly "
    "full; see /context. Other programs do this in their own way.",
    "/prompt-version": "To see a run's prompt with its digest: /prompt RUN.",
    "/new": "A new conversation is a new session: leave with /detach, then run pancode chat. This session "
    "stays.",
    "/fork": "/checkpoint names a point; /checkpoint restore NAME continues from there, and nothing is lost.",
    "/name": "A session is named after its first message; /checkpoint NAME names a point in it.",
    "/share": "Others can join with: pancode sessions attach. To save a copy: /export FILE.",
    "/login": "A login belongs to a node and a program: pancode node login NODE RUNTIME (see /runtimes).",
    "/reload": "No reload is needed: settings, agents and rules apply from the next interactive run on.",
}
"""The texts of commands that do not run a `pancode` command."""


def read_table(table: str) -> dict[str, tuple[SlashCommand, ...]]:
    found, heading = dict[str, tuple[SlashCommand, ...]](), ""
    for row in table.replace("\n  |", " |").strip().splitlines():
        if not row.startswith("/"):
            heading = row
            continue
        names, about, bare, more, ways = [cell.strip() for cell in [*row.split("|"), "", "", "", ""][:5]]
        (name, *others), verb = names.split(), bare.split()
        pairs = [way.strip().partition("=") for way in ways.split(",") if way]
        meant = {word: tuple(to.split()) or (verb[0], word) for word, _, to in pairs}
        words, says = tuple(more.split()) or None, _SAYS.get(name, "")
        command = SlashCommand(name, about, tuple(verb), tuple(others), words, meant, says)
        found[heading] = (*found.get(heading, ()), command)
    return found


HEADINGS = read_table(_TABLE)
"""From a heading of the help to the commands below it."""
COMMANDS = {command.name: command for commands in HEADINGS.values() for command in commands}
_NAMED = {name: one for one in COMMANDS.values() for name in (one.name, *one.aliases)}
_LOOKS_LIKE_ONE = re.compile(r"/[A-Za-z][\w-]*")
LEAVE = (COMMANDS["/detach"].name, *COMMANDS["/detach"].aliases)


@dataclass(frozen=True, slots=True)
class TypedCommand:
    """A typed slash command with its arguments."""

    command: SlashCommand
    words: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return shlex.join((self.command.name, *self.words))


def parse_command(text: str) -> TypedCommand | None:
    """Return the typed command; None if the text is a message, such as a path or several lines.

    UsageError for an unknown command, with the nearest name, so that no model gets a mistyped one.
    """
    first = text.split(maxsplit=1)[0] if text.startswith("/") else ""
    command = _NAMED.get(first)
    if command is None and _LOOKS_LIKE_ONE.fullmatch(first):
        near = find_nearest(first, _NAMED)
        fix = (
            f"did you mean {near}?"
            if near
            else "/help lists all commands; to send this as a message, start it with another word"
        )
        raise UsageError(f"command not found: {escape_line(first)}", fix=fix, code="no_such_command")
    if command is None or "\n" in text:
        return None
    try:
        words = tuple(shlex.split(text[len(first) :]))
    except ValueError as exc:
        what = f"cannot parse {escape_line(text)}: {exc}"
        raise UsageError(what, fix=f"{first} ...", code="quotes") from exc
    if words and not command.bare:
        raise UsageError(f"{first} takes no arguments", fix=command.says or first, code="takes_no_words")
    return TypedCommand(command, words)


def find_by_prefix(text: str) -> list[tuple[str, str]]:
    """Return the commands whose name or alias starts with the text, each with its purpose."""
    found = [(one.name, one.about) for one in COMMANDS.values() if one.name.startswith(text)]
    for one in COMMANDS.values():
        if not one.name.startswith(text):
            found += [(alias, one.about) for alias in one.aliases if alias.startswith(text)]
    return found


def is_name(text: str) -> bool:
    return text in _NAMED


def format_overview() -> str:
    """Return all commands by heading, one per line."""
    text = ""
    for heading, commands in HEADINGS.items():
        text += f"{heading}:\n"
        for one in commands:
            also = f"   also {', '.join(one.aliases)}" if one.aliases else ""
            text += f"  {one.name:<11} {one.about}{also}\n"
    return text


@dataclass(frozen=True, slots=True)
class CommandEnd:
    """The output of a command as one text of limited length, and the command's exit status."""

    text: str
    status: int

    @property
    def needs_yes(self) -> bool:
        """Whether the command was refused only for lack of `--yes`, as the fix in its output shows."""
        return self.status == ExitCode.REFUSED and self.text.rstrip().endswith("--yes")

    @property
    def question(self) -> str:
        """Return the refusal as a question: without its mark, and without the fix, which a key replaces."""
        return re.sub(r"\Aerror: |\n *fix: .*", "", self.text).strip()


def carried_out(
    argv: Sequence[str], patience_s: float, columns: int, program: Sequence[str] = PROGRAM
) -> CommandEnd:
    """Run this `pancode` command and return its output and status; never raise.

    It has no terminal, so it cannot prompt or disturb the screen. Too much time or output kills it.
    """
    # The command may have been given a directory of another node.
    there = remote_of(os.environ)
    process = subprocess.Popen(
        [*program, *(["-C", there.folder] if there is not None and there.folder is not None else []), *argv],
        env={**os.environ, "COLUMNS": str(columns), "TERM": "dumb"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    late = threading.Timer(patience_s, _end, [process])
    late.daemon = True
    late.start()
    assert process.stdout is not None
    try:
        data = process.stdout.read(MOST_BYTES)
        if len(data) == MOST_BYTES:
            _end(process)
        process.wait()
    finally:
        late.cancel()
        _end(process)
        process.stdout.close()
    status = process.wait()
    return CommandEnd(_format_output(data, shlex.join(("pancode", *argv)), patience_s, status), status)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _format_output(data: bytes, command: str, patience_s: float, status: int) -> str:
    """Return the output's lines; if lines are cut off, add the command that shows them all."""
    lines = reveal_invisible(data.decode("utf-8", "replace").replace("\r\n", "\n")).splitlines()
    shown = lines[:MOST_LINES]
    if len(lines) > MOST_LINES:
        shown.append(f"... {count_noun(len(lines) - MOST_LINES, 'more line')}: {command}")
    elif status == -signal.SIGKILL:
        shown.append(f"... it was stopped after {patience_s:.0f} s: {command}")
    return "\n".join(shown) or "nothing"
