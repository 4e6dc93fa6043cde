"""`pancode dispatch`: one task, through admission, to a machine; waits for the result unless told not to."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from pancode.cli import known
from pancode.cli.exams import admitted
from pancode.cli.face import Face, example, here, json_option, who
from pancode.cli.follow import summary, wait
from pancode.cli.landing import landed, unless_landed
from pancode.cli.params import DURATION, MONEY, PAIR, SIZE
from pancode.cli.render import safe, table
from pancode.cli.tell import exit_of
from pancode.client import ApiError, Client
from pancode.errors import ExitCode, UsageError

_SAID = (
    *("agent", "node", "mode", "safety", "model", "reasoning", "runtime", "workspace"),
    *("budget", "on_lost", "attempts", "wrap_up", "network"),
    *("max_requests", "max_turns", "max_tokens", "max_output", "max_memory", "max_processes"),
    "max_disk",
)
NEEDS_YES = "needs_yes"
"""The refusal that a person can lift by a word."""
# A variable of this one command counts more than a file and less than a flag.
_SETTINGS = {
    "PANCODE_SAFETY": "dispatch.safety",
    "PANCODE_DEFAULT_AGENT": "dispatch.agent",
    "PANCODE_REASONING": "dispatch.reasoning",
    "PANCODE_MODEL": "models.orchestrator",
    "PANCODE_WORKER_MODEL": "models.worker",
    "PANCODE_SCOUT_MODEL": "models.scout",
    "PANCODE_PER_RUN_BUDGET": "budget.per_run",
}


class _WithArgv(click.Command):
    """Keeps what comes after `--` apart: an argument list is not a task of several words."""

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
            raise UsageError("a task that begins with a dash comes after --", fix=fix) from wrong
        if rest and not ctx.resilient_parsing:
            words = shlex.join([" ".join([ctx.params["task"], *rest])])
            raise UsageError(
                "a task is one word for the shell", fix=f"put it in quotes: pancode dispatch ... {words}"
            )
        return rest


@click.command(
    cls=_WithArgv,
    epilog=example(
        'pancode dispatch --node gpubox --verify "pytest -q" "add a --json flag to export"',
        "pancode dispatch -f task.md",
        "pancode dispatch --runtime shell -- uname -a",
    ),
)
@click.argument("task", required=False)
@click.option(
    "-f", "--file", metavar="FILE", help="Read TASK from this file; - is standard input, as TASK - is, too."
)
@click.option(
    "--agent",
    metavar="A",
    shell_complete=known.agents,
    help="Agent definition (default: chosen by the task; see pancode agents).",
)
@click.option("--node", metavar="N", shell_complete=known.nodes, help="Only this machine.")
@click.option("--require", type=PAIR, multiple=True, help="Only machines with this label; may be repeated.")
@click.option(
    "--mode", metavar="M", shell_complete=known.modes, help="admin, plan, build (default) or review."
)
@click.option(
    "--safety",
    metavar="S",
    shell_complete=known.levels,
    help="auto-edit (default) or full-auto; under suggest nothing is dispatched.",
)
@click.option(
    "--model",
    metavar="M",
    shell_complete=known.models,
    help="Model: NAME, PROVIDER/NAME or NODE/PROVIDER/NAME.",
)
@click.option(
    "--reasoning",
    metavar="L",
    help="How hard it thinks: off, minimal, low, medium, high or xhigh (default: the runtime's own).",
)
@click.option(
    "--preset",
    metavar="P",
    shell_complete=known.presets,
    help="Settings of this preset; none: without any (see pancode presets).",
)
@click.option(
    "--runtime",
    metavar="R",
    shell_complete=known.runtimes,
    help="Program that runs it; shell runs TASK as a script.",
)
@click.option(
    "--workspace",
    metavar="git|none",
    help="A snapshot of this repository, or (to be said) an empty folder.",
)
@click.option(
    "--budget", type=MONEY, metavar="USD", help="At most this much for the run, all attempts together."
)
@click.option("--timeout", type=DURATION, metavar="D", help="At most this long, as in 15m.")
@click.option(
    "--idle-timeout", type=DURATION, metavar="D", help="At most this long without a sign of life, as in 5m."
)
@click.option(
    "--max-turns", type=click.IntRange(1), metavar="N", help="At most this many answers of its model."
)
@click.option(
    "--max-requests", type=click.IntRange(1), metavar="N", help="At most this many model calls in an attempt."
)
@click.option(
    "--max-tokens", type=click.IntRange(1), metavar="N", help="At most this many tokens in an attempt."
)
@click.option("--max-output", type=SIZE, metavar="S", help="At most this much output, as in 64MiB.")
@click.option("--max-memory", type=SIZE, metavar="S", help="At most this much memory, as in 4GiB.")
@click.option("--max-processes", type=click.IntRange(1), metavar="N", help="At most this many processes.")
@click.option("--max-disk", type=SIZE, metavar="S", help="At most this much in its checkout and home.")
@click.option(
    "--wrap-up/--no-wrap-up",
    default=None,
    help="At a limit of tokens, dollars or calls, let one last, short answer through; of turns: native only.",
)
@click.option("--verify", multiple=True, metavar="CMD", help="Gate: must exit 0 afterwards; may be repeated.")
@click.option("--no-verify", is_flag=True, help="Without the project's gates.")
@click.option(
    "--priority",
    type=click.IntRange(-1000, 1000),
    default=0,
    metavar="P",
    help="Higher is served first (default 0).",
)
@click.option(
    "--attempts",
    type=click.IntRange(1, 10),
    metavar="N",
    help="Tries at most, whatever went wrong (default: one, and one more when it was a fault of ours).",
)
@click.option(
    "--network",
    metavar="none|gateway|machine",
    help="What the run reaches at most: nothing, its model alone, what the machine reaches (default).",
)
@click.option("--on-lost", metavar="ask|retry", help="What happens when the machine is lost.")
@click.option(
    "--allow-told-only",
    "--told-only",
    "told_only",
    is_flag=True,
    help="Accept that rules which cannot be enforced are only told.",
)
@click.option(
    "--with-secret-files",
    "secret_files",
    is_flag=True,
    help="Also untracked files such as .env and *.pem, which are held back by their names.",
)
@click.option("--untested", is_flag=True, help="Use a local model without its test.")
@click.option("--detach/--wait", default=False, help="Do not wait for the result (default: wait).")
@click.option("--dry-run", is_flag=True, help="Show the ten gates and what would happen; start nothing.")
@click.option("--yes", is_flag=True, help="Yes to an agent that asks a person before each dispatch.")
@click.option(
    "--land", is_flag=True, help="Land the change when the run is done, also when nobody waits for it."
)
@json_option
@click.pass_context
def dispatch(ctx: click.Context, /, face: Face, task: str | None, file: str | None, **given: Any) -> int:
    """Give TASK to the fleet and wait for its result.

    Inside a repository the run has all of it and begins in the folder where you stand; set-up and gates
    run at its top. Ctrl-C detaches: the run goes on. A TASK that begins with a dash comes after --. With
    --runtime shell TASK is a script, and -- ARG ARG... runs exactly that argument list.
    """
    body = _body(task_text(task, file), ctx.meta.get("argv"), given)
    answer = _agreed(face, face.client(works=True), body)
    if given["dry_run"]:
        face.show(answer, lambda: _plan(answer))
        return ExitCode.DONE if answer["admitted"] else ExitCode.REFUSED
    for warning in answer.pop("warnings", []):
        face.note(f"warning: {safe(warning)}")
    if answer["chosen"]:
        face.note(f"agent {answer['agent']}: {safe(answer['chosen'])}")
    if given["detach"]:
        face.show(answer, lambda: f"{answer['run']}  {answer['state']}  {safe(answer['reason'])}\n")
        return ExitCode.DONE
    client = face.client()  # who waits brings up no fleet that is taken down meanwhile
    ended = wait(face, client, answer["run"])
    if ended is None:
        return ExitCode.DETACHED
    return _finish(face, client, ended)


def task_text(task: str | None, file: str | None) -> str | None:
    """The task as it was said, or read from a file or standard input. UsageError."""
    if file is None and task != "-":
        return task
    if file is not None and task not in (None, "-"):
        raise UsageError("a task comes from --file or from the command line", fix="leave one of them out")
    name = "-" if file is None else file
    if name == "-" and sys.stdin.isatty():
        sys.stderr.write("the task; its end: Ctrl-D on an empty line\n")
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return data.decode("utf-8").rstrip("\n")
    except (OSError, ValueError) as exc:  # a NUL in the name, or bytes that are no text
        where = "standard input" if name == "-" else name
        raise UsageError(
            f"the task cannot be read from {where}", why=str(exc), fix="give a text file"
        ) from exc


def _agreed(face: Face, client: Client, body: dict[str, Any]) -> Any:
    """An agent that asks first is answered by whoever sits there; where nobody does, the refusal stands."""
    try:
        return _post(face, client, body)
    except ApiError as refused:
        if refused.code != NEEDS_YES or not face.can_ask():
            raise
        words = str(refused).removeprefix("Dispatch blocked: ")
        if not face.agreed(f"{safe(words)}. Dispatch it?", "--yes"):
            raise
    return _post(face, client, {**body, "yes": True})


def _post(face: Face, client: Client, body: dict[str, Any]) -> Any:
    """Admission and snapshot; Ctrl-C here leaves a question that only the list of runs answers."""
    try:
        return admitted(face, client, "/v1/runs", body)
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted before the answer came; whether it was queued: pancode runs\n")
        raise


def _finish(face: Face, client: Client, ended: dict[str, Any]) -> int:
    """The result; a landing that was asked for is waited for, and decides the status where it fails."""
    whole = landed(face, client, ended["run"])
    if whole is None:
        return ExitCode.DETACHED
    answer = safe_block(whole["answer"]) if not face.as_json else ""
    status = face.end(exit_of(whole["outcome"]), whole, lambda: answer + summary(whole))
    unless_landed(whole)
    return status


def safe_block(text: str) -> str:
    """Several lines of a stranger's text, each safe to print."""
    return "".join(f"{safe(line)}\n" for line in text.splitlines())


def _preset(flag: str | None) -> str | None:
    """The flag's, also an empty one, which is refused; else the variable's, where empty is none."""
    return flag if flag is not None else os.environ.get("PANCODE_PRESET", "").strip() or None


def _body(task: str | None, argv: list[str] | None, given: dict[str, Any]) -> dict[str, Any]:
    """The request: only what was said."""
    body: dict[str, Any] = {"task": task or "", "by": who(), "cwd": here(), "land": given["land"]}
    if argv is not None:
        body["argv"] = argv
    for name in _SAID:
        if given[name] is not None:
            body[name] = given[name]
    preset = _preset(given["preset"])
    if preset is not None:
        body["preset"] = preset
    if given["timeout"] is not None:
        body["timeout_ms"] = given["timeout"]
    if given["idle_timeout"] is not None:
        body["idle_timeout_ms"] = given["idle_timeout"]
    if given["verify"] or given["no_verify"]:
        body["verify"] = list(given["verify"])
    body |= {"require": dict(given["require"]), "priority": given["priority"]}
    body |= {"told_only": given["told_only"], "dry_run": given["dry_run"], "yes": given["yes"]}
    body |= {"untested": given["untested"], "secret_files": given["secret_files"], **_from_environment()}
    return body


def _from_environment() -> dict[str, Any]:
    """The caller's own variables, and, inside a run, whose child this is."""
    said: dict[str, Any] = {}
    settings = {path: os.environ[name] for name, path in _SETTINGS.items() if os.environ.get(name)}
    if settings:
        said["settings"] = settings
    if os.environ.get("PANCODE_RUN"):
        depth = os.environ.get("PANCODE_DEPTH", "0")
        said |= {"parent": os.environ["PANCODE_RUN"], "depth": int(depth) + 1 if depth.isdigit() else 1}
    return said


def _plan(report: dict[str, Any]) -> str:
    rows = []
    for gate in report["gates"]:
        word = "warning" if gate["warning"] else "passed" if gate["passed"] else "refused"
        rows.append((gate["gate"], word, gate["words"]))
    text = table(("GATE", "VERDICT", "WORDS"), rows, toned=("VERDICT",))
    fixes = [f"  fix: {gate['fix']}\n" for gate in report["gates"] if gate["fix"] and not gate["passed"]]
    nodes = table(("NODE", "READY", "WHY"), [(n["node"], _ready(n), n["why"]) for n in report["nodes"]])
    verdict = "would be queued" if report["admitted"] else "would be refused"
    why = f" ({safe(report['chosen'])})" if report["chosen"] else ""
    head = f"{verdict}: agent {report['agent']}{why}, runtime {report['runtime']}, "
    head += f"estimate ${report['estimate_usd']}\n"
    listed = nodes if report["nodes"] else "no node in the fleet\n"
    notes = "".join(f"warning: {safe(note)}\n" for note in report["notes"])
    return head + text + "".join(fixes) + listed + notes + _tested(report) + _travels(report)


def _tested(report: dict[str, Any]) -> str:
    """A dry run asks no model anything."""
    if not report["untested"]:
        return ""
    words = f"model not tested yet: {safe(report['untested'][0])}"
    if report["costly_test"]:
        return f"{words} has to be tested by you first, as that costs: pancode models test\n"
    return f"{words} would be tested first, up to 60 s\n"


def _travels(report: dict[str, Any]) -> str:
    """What would leave this machine."""
    lines = [f"network of {phase}: {words}" for phase, words in report["network"].items()]
    counts = ", ".join(f"{name} {count}" for name, count in report["tokens"].items())
    lines += [f"tokens of the first call, about: {counts}"] if counts else []
    lines += [f"secrets: {', '.join(report['secrets'])}"] if report["secrets"] else []
    taken = report["snapshot"]
    if taken is not None:
        lines.append(f"snapshot of {report['project']}: {len(taken['changed'])} changed files")
        lines += [f"begins in {safe(report['folder'])}"] if report["folder"] else []
        lines += [f"untracked, would travel: {safe(name)}" for name in taken["untracked"][:20]]
        lines += (
            [f"and {len(taken['untracked']) - 20} more untracked"] if len(taken["untracked"]) > 20 else []
        )
        lines += [f"warning: {safe(text)}" for text in taken["warnings"]]
    return "".join(f"{line}\n" for line in lines)


def _ready(node: dict[str, Any]) -> str:
    return "yes" if node["ready"] else "later" if node["fits"] else "no"
