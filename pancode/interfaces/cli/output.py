"""The output of each command (result, notes, errors, exit status), and the API client that a command uses."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pancode.config.answers import SETTINGS
from pancode.config.variables import PER_DISPATCH, VARIABLES, may_change_settings
from pancode.fleet.answers import PING
from pancode.interfaces.cli.terminal import escape_line, paint_text
from pancode.interfaces.client.caller import find_user as find_user
from pancode.interfaces.client.caller import folder_here as folder_here
from pancode.interfaces.client.caller import read_environment, stands_in
from pancode.interfaces.client.caller import work_folder as work_folder
from pancode.interfaces.client.client import Client, home_here, home_of, place_of, try_get
from pancode.interfaces.client.remote.place import forget_remote, remote_of
from pancode.kernel.declared import to_json
from pancode.kernel.errors import (
    ApiError,
    ConfigError,
    ExitCode,
    PancodeError,
    Problem,
    UnavailableError,
    UsageError,
)
from pancode.kernel.route import A, Route, path_in

PROGRAM = (sys.executable, "-P", "-m", "pancode")
"""The program and arguments with which a command starts another `pancode` command. `-P`: a `pancode.py` in
the current folder is not imported."""


T = TypeVar("T")
FORMATS = ("json", "yaml", "wide", "name")
PING_S = 5.0


@dataclass(frozen=True, slots=True)
class Face:
    """A command's output. Progress and notes go to standard error, the result to standard output."""

    as_json: bool
    format: str = ""

    def client(self, *, starts: bool = True, works: bool = False) -> Client:
        """Return a client. `works`: the command begins work, so a stopped fleet is started, and the user is
        warned of variables that a running coordinator ignores."""
        client = Client(place_of(os.environ), starts=starts, works=works, note=self.note, folder=stands_in())
        if works:
            self.warn(find_ignored_variables(client, folder_here(), os.environ))
        return client

    def get(self, route: Route[A], **query: object) -> A:
        """Send a GET request to the coordinator and return the answer."""
        return self.client().get(route, **query)

    def post(self, route: Route[A], body: Mapping[str, object] | None = None, *, works: bool = False) -> A:
        """Send a request in the name of the user, and return the coordinator's answer."""
        return self.client(works=works).post(route, {"by": find_user(), **(body or {})})

    def ask_running(self, route: Route[A], **query: object) -> A | None:
        """Return the answer of the coordinator that runs on this machine, which has loaded the settings. None
        if the caller must read the files itself: no coordinator answers within `PING_S`, its version lacks
        this route, the folder has no name as text, or variables of this shell may change the settings."""
        if may_change_settings(os.environ) or remote_of(os.environ) is not None:
            return None
        try:
            if try_get(home_of(os.environ), path_in(PING), PING_S) is None:
                return None
            return self.client(starts=False).get(route, **query)
        except (UnavailableError, UsageError, UnicodeError):
            return None
        except ApiError as refused:
            if refused.code != "no_such_route":
                raise
            return None

    def warn(self, warnings: Iterable[str]) -> None:
        """Print each warning as a note, separate from the result."""
        for warning in warnings:
            self.note(f"warning: {escape_line(warning)}")

    def acts_here(self, what: str) -> None:
        """Make the command act on this machine; print a note if the coordinator is on another one."""
        there = remote_of(os.environ)
        if there is not None:
            self.note(f"{what} acts on this machine, not on {there}")
            forget_remote()

    def show(self, data: Any, words: Callable[[], str]) -> None:
        """Print the result as JSON or in the requested format, else as the text that `words` returns."""
        data = to_json(data)
        sys.stdout.write(json.dumps(data) + "\n" if self.as_json else self.format_result(data, words))
        sys.stdout.flush()

    def show_result(self, data: T, words: Callable[[T], str]) -> None:
        """Print the result as JSON or in the requested format, else as the text that `words` makes of it."""
        self.show(data, lambda: words(data))

    def format_result(self, data: Any, words: Callable[[], str]) -> str:
        """Format the result as YAML, ids, or text; in the format `wide`, no column is cut."""
        if self.format == "yaml":
            import yaml

            return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))
        if self.format == "name":
            return "".join(f"{name}\n" for name in list_names(data))
        if self.format != "wide":
            return words()
        with redirect_stdout(io.StringIO()):  # columns are cut only on a terminal
            return words()

    def end(self, status: int, data: Any, words: Callable[[], str]) -> int:
        """Like `show`, at the end of a command that waited; return `status` even if the reader has exited."""
        try:
            self.show(data, words)
        except BrokenPipeError:
            say_no_more()
        return status

    def note(self, text: str) -> None:
        """Print a note separate from the result; not with --json. If it cannot be printed (the reader of the
        output has exited, or the disk is full), the command continues."""
        if not self.as_json:
            write_stderr(text + "\n")

    def can_ask(self) -> bool:
        """Whether a user can answer: standard input is a terminal, and --json is not given."""
        return not self.as_json and sys.stdin.isatty()

    def confirm(self, question: str, otherwise: str) -> bool:
        """Ask the user to confirm. UsageError if no user can answer; its fix is the option `otherwise`."""
        if not self.can_ask():
            what = f"{question} No user can answer: this is not a terminal."
            raise UsageError(what, fix=otherwise, code="cannot_ask")
        import typer

        return typer.confirm(question, default=False, err=True)

    def confirm_or_decline(self, question: str) -> bool:
        """Ask a yes-or-no question; False if no user can answer. The caller's error then names `--yes`."""
        return self.can_ask() and self.confirm(question, "--yes")

    def read_secret(self, question: str, most: int) -> str:
        """Read a secret from a hidden prompt, or up to `most` characters of standard input."""
        import getpass

        return getpass.getpass(question) if self.can_ask() else sys.stdin.read(most)

    def which(self, question: str, names: list[str]) -> str:
        """Ask the user to choose one of these names."""
        import click
        import typer

        answer: str = typer.prompt(question, type=click.Choice(names), err=True)
        return answer


def list_names(data: Mapping[str, object]) -> list[str]:
    """Return a result's ids: the first field of each row of its first list, or its first field if it has no
    list or begins with its own name."""
    if "name" in list(data)[:1]:
        return [str(data["name"])]
    rows = next((value for value in data.values() if isinstance(value, list)), [data])
    return [str(next(iter(row.values()))) if isinstance(row, Mapping) else str(row) for row in rows if row]


def write_stderr(text: str) -> None:
    """Write to standard error. A failure to write is ignored, because it could not be reported either."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def say_no_more() -> None:
    """Discard the rest of standard output, so that Python can exit without an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def describe_caller() -> dict[str, Any]:
    """Return the fields of an API request body that describe the caller."""
    return {"by": find_user(), "environ": read_environment()}


_ITS_OWN = {name: key for name, (key, _) in VARIABLES.items() if name not in PER_DISPATCH}


def find_ignored_variables(client: Client, cwd: str, environ: Mapping[str, str]) -> list[str]:
    """Return a warning for each variable that differs from the running coordinator's settings. ConfigError
    for an invalid value: the coordinator would not notice it, because it does not read the variable."""
    named = {name: key for name, key in _ITS_OWN.items() if environ.get(name, "").strip()}
    if not named:
        return []
    remote = remote_of(environ)
    if remote is not None:
        return [f"{name} is ignored: the coordinator on {remote} has its own settings" for name in named]
    there: dict[str, Any] = {row["key"]: row["value"] for row in client.get(SETTINGS)["settings"]}
    for name, key in list(named.items()):
        text = environ[name].strip()
        with suppress(ValueError):  # Other values need the schema, which is slow to load.
            if there.get(key) in (text, str(VARIABLES[name][1](text)).lower()):
                del named[name]
    if not named:
        return []
    from pancode.config.folder_settings import settings_here  # this import loads the schema

    here = {row["key"]: row for row in settings_here(home_of(environ), Path(cwd), environ)[0]}
    return [
        f"{name} is ignored: the coordinator was started without it, with {there.get(key)} for {key} (fix: "
        "pancode fleet down, then this command again)"
        for name, key in named.items()
        if here[key]["origin"] == name and here[key]["value"] != there.get(key)
    ]


MEANINGS: dict[ExitCode, str] = {
    ExitCode.DONE: "done",
    ExitCode.INTERNAL: "internal error",
    ExitCode.USAGE: "usage",
    ExitCode.CONFIG: "configuration",
    ExitCode.NOT_FOUND: "not found",
    ExitCode.REFUSED: "refused by admission",
    ExitCode.UNAVAILABLE: "fleet or queue unavailable",
    ExitCode.WORKSPACE: "workspace or merge problem",
    ExitCode.SIGNATURE: "bad signature or protocol (TAMPERED, UNSIGNED, UNKNOWN_KEY)",
    ExitCode.ERROR: "error: the agent failed, or could not start",
    ExitCode.VERIFY_FAILED: "verify_failed: a gate failed",
    ExitCode.BLOCKED: "blocked: needs a decision of a user",
    ExitCode.TIMEOUT: "timeout",
    ExitCode.STALLED: "stalled: no output for the idle limit",
    ExitCode.BUDGET_EXCEEDED: "budget_exceeded",
    ExitCode.LOST: "lost: no report from the node until the deadline",
    ExitCode.INFRA: "infra: the fleet failed (ssh, disk, login, missing runtime, failed setup)",
    ExitCode.POLICY_VIOLATION: "policy_violation",
    ExitCode.INTERRUPTED: "interrupted: by a user or a drain",
    ExitCode.PARTIAL: "some of a batch, or some nodes, failed",
    ExitCode.DETACHED: "Ctrl-C: detached, still running",
}
"""The meaning of each exit status."""

OUTCOMES: dict[str, ExitCode] = {
    code.name.lower(): code for code in ExitCode if code is ExitCode.DONE or 10 <= code < 20
}
"""The exit status of a command that waited for a run, by the run's outcome."""


def exit_of(outcome: str | None) -> int:
    """Return the exit status for an outcome; INTERNAL for an outcome that this version does not know."""
    return OUTCOMES.get(outcome or "", ExitCode.INTERNAL)


def tell_error(error: PancodeError, *, as_json: bool) -> int:
    """Print the error on standard error; return the exit status."""
    problem = error.problem()
    if as_json:
        names = ("code", "message", "why", "fix", "exit_code")
        sys.stderr.write(json.dumps({"error": {name: getattr(problem, name) for name in names}}) + "\n")
    else:
        sys.stderr.write(in_words(problem))
    return problem.exit_code


COMMAND_LOG = "run/command.log"
"""The log in PANCODE_HOME with the tracebacks of commands that failed because of a bug in PanCode."""
_LOG_CAP = 1 << 20


def internal_error(exc: Exception) -> PancodeError:
    """Return an unexpected exception as an error for the user; append its traceback to the log, unless the
    cause is a file that the system does not let PanCode use."""
    import errno
    import traceback

    refusals = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EISDIR)
    if isinstance(exc, OSError) and exc.errno in refusals and exc.filename is not None:
        fix = (
            "correct its owner, mode or free space, then repeat the command; pancode doctor checks your home"
        )
        return ConfigError(f"cannot use {exc.filename}", why=exc.strerror or "", fix=fix)
    why = f"{type(exc).__name__}: {exc}"
    whole = "".join(traceback.format_exception(exc))
    try:
        import shlex
        import time

        log = home_here(os.environ) / COMMAND_LOG
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > _LOG_CAP:
            log.replace(log.with_suffix(".log.1"))
        text = f"{time.strftime('%FT%TZ', time.gmtime())} {shlex.join(sys.argv[:3])}\n{whole}\n"
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as sink:
            sink.write(text.encode(errors="backslashreplace"))
    except (OSError, PancodeError):
        last = traceback.extract_tb(exc.__traceback__)[-1]
        why += f" (in {last.filename}:{last.lineno}; the log cannot be written)"
        fix = "report this bug and include these lines"
        return PancodeError("internal error: this is a bug in PanCode", why=why, fix=fix)
    fix = (
        f"report it with the end of {log}; check whether the command had an effect: pancode runs, pancode "
        "audit"
    )
    return PancodeError("internal error: this is a bug in PanCode", why=why, fix=fix)


def in_words(problem: Problem) -> str:
    """Format the error (what happened, why, the fix), escaped: a node or repository may supply parts."""
    lines = [f"{paint_text('error', 'red', sys.stderr)}: {escape_line(problem.message)}"]
    lines += [f"  why: {escape_line(problem.why)}"] if problem.why else []
    label = "" if problem.fix.startswith("look: ") else "fix: "
    lines += [f"  {label}{escape_line(problem.fix)}"] if problem.fix else []
    return "\n".join(lines) + "\n"


def list_findings(kind: str, found: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the lines for findings in a file: each message, with its reason and its fix if they exist."""
    lines = []
    for one in found:
        lines.append(f"{kind}: {one['message']}")
        lines += [f"  {name}: {one[name]}" for name in ("why", "fix") if one[name]]
    return lines


def write_new(path: Path, text: str) -> None:
    """Write a new file. UsageError if it already exists or cannot be created."""
    try:
        with open(path, "x", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except FileExistsError as exc:
        raise UsageError(
            f"{path} already exists", fix="choose another file name", code="file_exists"
        ) from exc
    except OSError as exc:
        raise UsageError(f"cannot write {path}", why=str(exc), fix="choose another file") from exc
