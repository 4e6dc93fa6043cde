"""Makes the request of a dispatch from options, sends it, and waits for the end of the run."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import typer

from pancode.fleet.answers import FLEET
from pancode.interfaces.cli import follow
from pancode.interfaces.cli.node_report import facts_after
from pancode.interfaces.cli.output import Face, exit_of, find_user
from pancode.interfaces.cli.terminal import RowColumns, escape_line, escape_lines, format_rows, safe_block
from pancode.interfaces.cli.tree import find_command_like
from pancode.interfaces.client.caller import describe_parent, find_folder, work_folder
from pancode.interfaces.client.client import Client, RepeatedPost
from pancode.interfaces.client.retry import WHICH_AGENT
from pancode.kernel.errors import ApiError, ExitCode, UnavailableError, UsageError
from pancode.kernel.formatting import format_usd
from pancode.kernel.route import A, Route, path_in
from pancode.runs import answers
from pancode.runs.commands import options

# An environment variable of this command overrides a file, and an option overrides the variable.
_SETTINGS = {
    "PANCODE_SAFETY": "dispatch.safety",
    "PANCODE_DEFAULT_AGENT": "dispatch.agent",
    "PANCODE_REASONING": "dispatch.reasoning",
    "PANCODE_MODEL": "models.orchestrator",
    "PANCODE_WORKER_MODEL": "models.worker",
    "PANCODE_SCOUT_MODEL": "models.scout",
    "PANCODE_PER_RUN_BUDGET": "budget.per_run",
}


class WithArgv(options.WorkCommand):
    """A command that separates the arguments after `--`, as these are not a task of several words."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            args, ctx.meta["argv"] = args[:at], args[at + 1 :]
        try:
            ctx.allow_extra_args = True
            rest = super().parse_args(ctx, list(args))
        except click.NoSuchOption as wrong:
            task = next((word for word in args if word.startswith("-") and " " in word), None)
            if task is None:
                raise
            fix = f"pancode dispatch ... -- {shlex.quote(task)}"
            raise UsageError("a task that begins with a dash must follow --", fix=fix) from wrong
        if rest and not ctx.resilient_parsing:
            words = shlex.join([" ".join([ctx.params["task"], *rest])])
            raise UsageError("the task must be one argument", fix=f"quote it: pancode dispatch ... {words}")
        return rest


def make_request(ctx: typer.Context) -> dict[str, Any]:
    """Return the body of the dispatch request, from the options that were given."""
    given, argv = ctx.params, ctx.meta.get("argv")
    task = task_text(given["task"], given["file"]) or ""
    body: dict[str, Any] = {"task": task, **options.collect_given(given), **of_caller(given)}
    body |= {} if argv is None else {"argv": argv}
    body |= {} if given.get("project") is None else {"project": given["project"]}
    return {**body, "dry_run": given["dry_run"], "yes": given["yes"]}


def queue_run(face: Face, ctx: typer.Context, *, interactive: bool = True) -> answers.QueuedAnswer:
    """Dispatch with the given options; return the queued run. `interactive`: the user may be asked."""
    must_be_task(ctx)
    post, client, body = post_agreed if interactive else _post, face.client(works=True), make_request(ctx)
    given = ctx.params
    nodes = NodePreparation(face, client, is_agreed=given["install"], verbose=given["verbose"])
    answer = nodes.ask(lambda: post(face, client, answers.QUEUE, body))
    waits = any(answers.WOULD_WAIT in one for one in answer["warnings"])  # no node accepts work now
    is_started = waits and nodes.start_for(answer["run"], ctx)
    face.warn(one for one in answer["warnings"] if not is_started or answers.WOULD_WAIT not in one)
    if answer["chosen"] and ctx.params.get("verbose"):
        face.note(f"agent {answer['agent']}: {escape_line(answer['chosen'])}")
    return answer


@dataclass(frozen=True, slots=True)
class NodePreparation:
    """Starts nodes for a dispatch, and installs a missing agent program; with `is_agreed`, without asking."""

    face: Face
    client: Client
    is_agreed: bool
    verbose: bool

    def ask(
        self, queue: Callable[[], answers.QueuedAnswer], followed: frozenset[str] = frozenset()
    ) -> answers.QueuedAnswer:
        """Return what `queue` returns. A fix that its refusal names is applied once, if that is possible."""
        try:
            return queue()
        except ApiError as refused:
            fix = refused.fix
            if fix in followed or not self.follow(refused):
                raise
        return self.ask(queue, followed | {fix})

    def follow(self, refused: ApiError) -> bool:
        """Apply the refusal's first fix (start a node, install a program); return whether it was done."""
        match re.split("[,;]", refused.fix)[0].split():
            case ["pancode", "fleet", "up", *nodes] if nodes:
                return self.start(nodes)
            case ["pancode", "node", "install", node, runtime]:
                if not self.is_agreed and not self.face.can_ask():
                    refused.fix = f"add --install; or run first: {refused.fix}"
                    return False
                return self.install(node, runtime)
        return False

    def start(self, nodes: list[str]) -> bool:
        """Start these nodes; return whether one of them accepts work now."""
        from pancode.fleet.commands.fleet import bring_up

        return bring_up(self.face, self.client, nodes, verbose=self.verbose)

    def start_for(self, run: str, ctx: typer.Context) -> bool:
        """Start the nodes that could take this queued run if none of them is up; return whether one accepts
        work now. A failure is only reported: the run waits for a node. With --detach, no node is awaited that
        may not be reachable."""
        named, detach = ctx.params.get("node"), ctx.params["detach"]
        nodes = [one for one in self.client.get(FLEET)["nodes"] if named in (None, one["name"])]
        silent = ("new", "halted", *(() if detach else ("suspect", "unreachable", "lost")))
        asleep = [one["name"] for one in nodes if one["state"] in silent]
        try:
            return bool(asleep) and len(asleep) == len(nodes) and self.start(asleep)
        except KeyboardInterrupt:
            follow.report_detached(self.face, run)
            raise
        except UnavailableError as error:
            self.face.note(f"{error.words}; {run} waits for a node: pancode fleet up {' '.join(asleep)}")
            return False

    def install(self, node: str, runtime: str) -> bool:
        """Ask the user, install the program on the node and log in; return whether it is installed now."""
        from pancode.interfaces.cli.main import run

        question = f"{node} has no {runtime}. Install it there?"
        if not self.is_agreed and not self.face.confirm(question, "--install"):
            return False
        if run(["node", "install", node, runtime]) != ExitCode.DONE:
            return False
        fact = facts_after(self.client, node, (runtime,), ("missing", "looking")).get(runtime)
        needs_login = fact is not None and fact["state"] == "not_logged_in" and self.face.can_ask()
        if needs_login:  # If this fails, admission reports it with the command.
            run(["node", "login", node, runtime])
        return True


def must_be_task(ctx: typer.Context) -> None:
    """Raise UsageError if there is no task, or if it is the name of a command, as users of gh or docker might
    type it."""
    given, task = ctx.params, ctx.params["task"]
    if task is None and given["file"] is None and "argv" not in ctx.meta:
        raise UsageError("a task is required", fix='pancode dispatch "..."', code="no_task")
    meant = None if task is None or given["runtime"] == "shell" else find_command_like(task)
    if meant is not None:
        fix = f"{meant}; if it is a task: pancode dispatch -- {shlex.quote(task)}"
        raise UsageError(f'"{task}" looks like a command: {meant}', fix=fix, code="no_task")


def wait_and_show(face: Face, answer: answers.QueuedAnswer, *, verbose: bool = False) -> int:
    """Wait for a queued run and show its result; return the exit status."""
    client = face.client()  # Waiting must not start a fleet that has been stopped in the meantime.
    ended = follow.wait_for_run(face, client, answer["run"], verbose=verbose)
    whole = None if ended is None else follow.wait_for_landing(face, client, ended["run"])
    if ended is None or whole is None:
        return ExitCode.DETACHED
    text, words = whole["answer"], follow.format_summary if verbose else follow.format_end
    seen = face.as_json or _was_shown(text, ended)
    status = face.end(
        exit_of(whole["outcome"]), whole, lambda: ("" if seen else safe_block(text)) + words(whole)
    )
    follow.unless_landed(whole)
    return status


def _was_shown(answer: str, ended: follow.WaitedRun) -> bool:
    """Whether this terminal already shows the answer, at the end of the run's output."""
    return sys.stdout.isatty() and ended.get("shown", "").rstrip().endswith(answer.strip())


def task_text(task: str | None, file: str | None) -> str | None:
    """Return the task as given, or as read from a file or standard input. UsageError if it cannot be read."""
    if file is None and task != "-":
        return task
    if file is not None and task not in (None, "-"):
        raise UsageError("--file and a task on the command line cannot be combined", fix="omit one of them")
    name = "-" if file is None else file
    if name == "-" and sys.stdin.isatty():
        sys.stderr.write("enter the task; end it with Ctrl-D on an empty line\n")
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return data.decode("utf-8").rstrip("\n")
    except (OSError, ValueError) as exc:  # The file's name contains a NUL, or its bytes are not text.
        where = "standard input" if name == "-" else name
        raise UsageError(f"cannot read the task from {where}", why=str(exc), fix="use a text file") from exc


def post_agreed(
    face: Face, client: Client, route: Route[A], body: dict[str, Any], words: RepeatedPost | None = None
) -> A:
    """Post a request. If it needs a user's approval, ask the user; without a terminal, raise the refusal.

    If two agents fit the request's task, the user also chooses between them.
    """

    def answered(refused: ApiError) -> bool | str:
        why = escape_line(str(refused).removeprefix("Dispatch blocked: "))
        if not face.can_ask():
            return False
        if refused.code == WHICH_AGENT:
            return "task" in body and face.which(f"{why}. Which one?", refused.details["agents"].split())
        return face.confirm(f"{why}. Dispatch it?", "--yes")

    return _post(face, client, route, body, answered, words)


def _post(face: Face, client: Client, route: Route[A], body: dict[str, Any], *more: Any) -> A:
    """Post the request and show its progress. After Ctrl-C, write how to find out whether it is queued."""
    try:
        return follow.post_with_progress(face, client, route, body, *more)
    except KeyboardInterrupt:
        look = "pancode workflow ls" if path_in(route).endswith("/workflows") else "pancode runs"
        sys.stderr.write(f"\ninterrupted before the answer arrived; to see whether it was queued: {look}\n")
        raise


def of_caller(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the caller's user, folder, PANCODE_ variables and, inside a run, the parent run.

    UsageError if the work needs the files of a folder that is on another computer than the coordinator.
    """
    anywhere = given.get("workspace") not in (None, "git") or given.get("project") is not None
    cwd = find_folder() if anywhere else work_folder()
    about: dict[str, Any] = {"by": find_user(), **({"cwd": cwd} if cwd is not None else {})}
    settings = {path: os.environ[name] for name, path in _SETTINGS.items() if os.environ.get(name)}
    if settings:
        about["settings"] = settings
    return {**about, **describe_parent()}


def format_plan(report: answers.DryRunReport, snapshot: answers.PreviewShape | None) -> str:
    """Return a dry run's report as text: gates, nodes, and what would be sent from this computer."""
    queued = "would wait for a user's approval" if report["asks"] else "would be queued"
    verdict = queued if report["admitted"] else "would be refused"
    why = f" ({escape_line(report['chosen'])})" if report["chosen"] else ""
    text = f"{verdict}: agent {report['agent']}{why}, runtime {report['runtime']}, "
    text += f"estimate {format_usd(report['estimate_usd'])}\n"
    text += format_rows(report["gates"], {"GATE": "gate", "VERDICT": gate_state, "WORDS": "words"})
    for gate in report["gates"]:
        text += f"  fix: {gate['fix']}\n" if gate["fix"] and not gate["passed"] else ""
    text += format_rows(report["nodes"], _NODES, "the fleet has no nodes")
    text += escape_lines(f"warning: {note}" for note in report["notes"])
    if report["untested"]:  # A dry run sends no requests to models.
        text += f"model not tested yet: {escape_line(report['untested'][0])}; "
        first = "you must test the model first, as the test costs money: pancode models test"
        text += f"{first if report['costly_test'] else 'it would be tested first, up to 60 s'}\n"
    return text + _format_travels(report, snapshot)


_NODES: RowColumns[answers.NodeFitShape] = {
    **{"NODE": "node", "READY": lambda one: "yes" if one["ready"] else "later" if one["fits"] else "no"},
    "WHY": "why",
}


def gate_state(gate: answers.GateShape) -> str:
    """Return the verdict of an admission gate as one word."""
    return "warning" if gate["warning"] else "passed" if gate["passed"] else "refused"


def _format_travels(report: answers.DryRunReport, preview: answers.PreviewShape | None) -> str:
    """Return, as text, which files would be sent from this computer."""
    lines = [f"network of {phase}: {words}" for phase, words in report["network"].items()]
    counts = ", ".join(f"{name} {count}" for name, count in report["tokens"].items())
    lines += [f"tokens of the first model call, approximately: {counts}"] if counts else []
    lines += [f"secrets: {', '.join(report['secrets'])}"] if report["secrets"] else []
    if preview is not None:
        lines.append(f"snapshot of {report['project']}: {len(preview['changed'])} changed files")
        lines += [f"begins in {escape_line(report['folder'])}"] if report["folder"] else []
        lines += [f"untracked file, would be sent: {escape_line(name)}" for name in preview["untracked"][:20]]
        more = len(preview["untracked"]) - 20
        lines += [f"and {more} more untracked files"] if more > 0 else []
        lines += [f"warning: {escape_line(text)}" for text in preview["warnings"]]
    return "".join(f"{line}\n" for line in lines)
