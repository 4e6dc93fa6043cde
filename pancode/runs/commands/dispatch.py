"""`pancode dispatch`: sends one task through admission to a node, and waits for the result."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import click
import typer

from pancode.interfaces.cli import completions, follow
from pancode.interfaces.cli.output import Face, exit_of, find_user
from pancode.interfaces.cli.parameters import Json, Verbose, option, verb
from pancode.interfaces.cli.terminal import RowColumns, escape_line, escape_lines, format_rows, safe_block
from pancode.interfaces.cli.tree import find_command_like
from pancode.interfaces.client.caller import describe_parent, find_folder, work_folder
from pancode.interfaces.client.client import Client, RepeatedPost
from pancode.interfaces.client.retry import WHICH_AGENT
from pancode.kernel.errors import ApiError, ExitCode, UsageError
from pancode.kernel.formatting import format_usd
from pancode.kernel.route import A, Route
from pancode.runs import answers
from pancode.runs.commands import options
from pancode.runs.commands.node_preparation import NodePreparation
from pancode.workflows.answers import BEGIN

Install = Annotated[
    bool, option("Install an agent program that the node lacks, without asking.", "--install")
]
_HEADLESS = (
    "Ask nothing; start the fleet if it does not run (on this computer if there is no other node), and stop "
    "it at the end."
)
# A variable of this one command overrides a file and is overridden by a flag.
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
    """A command that separates what follows `--`: an argument list is not a task of several words."""

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


_PROJECT = "Work in this project, regardless of the current folder: its name, or an issue such as MIN-123."
_ARTIFACTS = "Write receipt, change, logs, JUnit and the run itself to this directory."


@verb(
    "dispatch",
    'pancode dispatch --node gpubox --verify "pytest -q" "add a --json flag to export"',
    "pancode dispatch -f task.md",
    "pancode dispatch --runtime shell -- uname -a",
    'pancode dispatch --headless --artifacts out "make the tests pass"',
    cls=WithArgv,
)
@options.take_options("dispatch", after="file")
def dispatch(
    ctx: typer.Context,
    *,
    task: options.Task = None,
    file: options.File = None,
    project: Annotated[str | None, option(_PROJECT, "P", complete=completions.projects)] = None,
    detach: options.Detach = False,
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    verbose: Verbose = False,
    install: Install = False,
    headless: Annotated[bool, option(_HEADLESS, "--headless")] = False,
    keep_fleet: Annotated[
        bool, option("Do not stop the fleet that --headless has started.", "--keep-fleet")
    ] = False,
    artifacts: Annotated[Path | None, option(_ARTIFACTS, "DIR")] = None,
    face: Json,
    **_options: Any,
) -> int:
    """Dispatch TASK to the fleet and wait for its result.

    In a repository the run gets a copy of your files, including uncommitted ones, and starts in your current
    folder; setup and gates run at the repository's root. Your files do not change until you land the run:
    look at it with pancode diff, then pancode land. Ctrl-C detaches: the run continues. A TASK that begins
    with a dash comes after --. With --runtime shell TASK is a script, and -- ARG ARG... runs exactly that
    argument list.

    With --headless nothing is left behind, even after Ctrl-C or SIGTERM: no run, no coordinator, no node
    agent. A fleet that already runs is used, and continues to run.
    """
    if headless or artifacts is not None:
        if detach or dry_run:
            what = "--headless and --artifacts require waiting for the run"
            raise UsageError(what, fix="omit --detach and --dry-run")
        from pancode.runs.commands.headless import run_headless, run_with_artifacts

        if headless:
            return run_headless(face, ctx, artifacts, keep_fleet=keep_fleet)
        return run_with_artifacts(face, ctx, artifacts, headless=False)
    if dry_run:
        must_be_task(ctx.params)
        planned = post_agreed(face, face.client(works=True), answers.DRY_RUN, _request(ctx))
        face.show(planned, lambda: format_plan(planned, planned["snapshot"]))
        return ExitCode.DONE if planned["admitted"] else ExitCode.REFUSED
    answer = queue_run(face, ctx)
    if detach:
        follow.show_queued(face, answer)
        return ExitCode.DONE
    return wait_and_show(face, answer, verbose=verbose)


def _request(ctx: typer.Context) -> dict[str, Any]:
    """Return the body of the request, with the options that were given."""
    given, argv = ctx.params, ctx.meta.get("argv")
    task = task_text(given["task"], given["file"]) or ""
    body: dict[str, Any] = {"task": task, **options.collect_given(given), **of_caller(given)}
    body |= {} if argv is None else {"argv": argv}
    body |= {} if given.get("project") is None else {"project": given["project"]}
    return {**body, "dry_run": given["dry_run"], "yes": given["yes"]}


def queue_run(face: Face, ctx: typer.Context, *, interactive: bool = True) -> answers.QueuedAnswer:
    """Send the request of the options; return the queued run. `interactive`: a user may be asked."""
    must_be_task(ctx.params)
    post, client, body = post_agreed if interactive else _post, face.client(works=True), _request(ctx)
    given = ctx.params
    nodes = NodePreparation(face, client, is_agreed=given["install"], verbose=given["verbose"])
    answer = nodes.ask(lambda: post(face, client, answers.QUEUE, body))
    is_started = answer["state"] == "pending" and nodes.start_for(body.get("node"), detach=given["detach"])
    face.warn(one for one in answer["warnings"] if not is_started or answers.WOULD_WAIT not in one)
    if answer["chosen"] and ctx.params.get("verbose"):
        face.note(f"agent {answer['agent']}: {escape_line(answer['chosen'])}")
    return answer


def must_be_task(given: Mapping[str, Any]) -> None:
    """Raise UsageError for a task that is a command's name, as users of gh and docker might type."""
    task = given["task"]
    meant = None if task is None or given["runtime"] == "shell" else find_command_like(task)
    if meant is not None:
        fix = f"{meant}; if it is a task: pancode dispatch -- {shlex.quote(task)}"
        raise UsageError(f'"{task}" looks like a command: {meant}', fix=fix, code="no_task")


def wait_and_show(face: Face, answer: answers.QueuedAnswer, *, verbose: bool = False) -> int:
    """Wait for a queued run and show its result; return the exit status."""
    client = face.client()  # Waiting must not start a fleet that is stopped meanwhile.
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
    disputed = whole["verification"] is not None and whole["verification"]["state"] == "disputed"
    return exit_of("verify_failed") if disputed else status


def _was_shown(answer: str, ended: follow.WaitedRun) -> bool:
    """Whether this terminal already shows the answer at the end of the run's output."""
    return sys.stdout.isatty() and ended.get("shown", "").rstrip().endswith(answer.strip())


def task_text(task: str | None, file: str | None) -> str | None:
    """Return the task as given, or read from a file or standard input. UsageError."""
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
    except (OSError, ValueError) as exc:  # The name contains a NUL, or the bytes are not text.
        where = "standard input" if name == "-" else name
        raise UsageError(f"cannot read the task from {where}", why=str(exc), fix="give a text file") from exc


def post_agreed(
    face: Face, client: Client, route: Route[A], body: dict[str, Any], words: RepeatedPost | None = None
) -> A:
    """Post a request; if it needs approval, ask the user, or let the refusal stand if no terminal can ask.

    The user also chooses between two possible agents, if the request is one task.
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
    """Post it, with admission and snapshot. After Ctrl-C only a list can show whether it is queued."""
    try:
        return follow.post_with_progress(face, client, route, body, *more)
    except KeyboardInterrupt:
        look = "pancode workflow ls" if route == BEGIN else "pancode runs"
        sys.stderr.write(f"\ninterrupted before the answer arrived; to see whether it was queued: {look}\n")
        raise


def of_caller(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the caller, its folder, its PANCODE_ variables, and its parent run if it is inside one.

    UsageError if its folder is on another node than the coordinator and the work needs its files.
    """
    anywhere = given.get("workspace") not in (None, "git") or given.get("project") is not None
    cwd = find_folder() if anywhere else work_folder()
    about: dict[str, Any] = {"by": find_user(), **({"cwd": cwd} if cwd is not None else {})}
    settings = {path: os.environ[name] for name, path in _SETTINGS.items() if os.environ.get(name)}
    if settings:
        about["settings"] = settings
    return {**about, **describe_parent()}


def format_plan(report: answers.DryRunReport, snapshot: answers.PreviewShape | None) -> str:
    """Return the verdict of a dry run, its gates, the nodes, and what would be sent from this computer."""
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
    if report["untested"]:  # a dry run sends no requests to models
        text += f"model not tested yet: {escape_line(report['untested'][0])}; "
        first = "you must test it first, as the test costs money: pancode models test"
        text += f"{first if report['costly_test'] else 'it would be tested first, up to 60 s'}\n"
    return text + _format_travels(report, snapshot)


_NODES: RowColumns[answers.NodeFitShape] = {
    **{"NODE": "node", "READY": lambda one: "yes" if one["ready"] else "later" if one["fits"] else "no"},
    "WHY": "why",
}


def gate_state(gate: answers.GateShape) -> str:
    """Return the state of an admission gate."""
    return "warning" if gate["warning"] else "passed" if gate["passed"] else "refused"


def _format_travels(report: answers.DryRunReport, preview: answers.PreviewShape | None) -> str:
    """Return, as text, which files would be sent from this computer."""
    lines = [f"network of {phase}: {words}" for phase, words in report["network"].items()]
    counts = ", ".join(f"{name} {count}" for name, count in report["tokens"].items())
    lines += [f"tokens of the first call, approximately: {counts}"] if counts else []
    lines += [f"secrets: {', '.join(report['secrets'])}"] if report["secrets"] else []
    if preview is not None:
        lines.append(f"snapshot of {report['project']}: {len(preview['changed'])} changed files")
        lines += [f"begins in {escape_line(report['folder'])}"] if report["folder"] else []
        lines += [f"untracked, would be sent: {escape_line(name)}" for name in preview["untracked"][:20]]
        more = len(preview["untracked"]) - 20
        lines += [f"and {more} more untracked"] if more > 0 else []
        lines += [f"warning: {escape_line(text)}" for text in preview["warnings"]]
    return "".join(f"{line}\n" for line in lines)
