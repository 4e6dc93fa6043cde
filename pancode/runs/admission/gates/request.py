"""Gates 1 to 6: the request and the state of the fleet, before safety, budget, agent and nodes."""

from __future__ import annotations

from node_agent.wire.job import MAX_TASK_BYTES
from node_agent.wire.model import MOST
from node_agent.wire.policy import MODE_DISPATCHES, MODE_HANDS_ON, MODE_WRITES
from node_agent.wire.receipt import MOST_STEPS
from node_agent.wire.signing import MAX_ENVELOPE_BYTES
from pancode.kernel.formatting import first_few
from pancode.kernel.names import PRD, plan_file, questions_file
from pancode.runs.admission.plan import GateVerdict, Plan, make_pass, make_refusal, make_warning
from pancode.runs.life.jobs import may_exceed, size_of
from pancode.runs.request import AdmissionView


def judge_mode(plan: Plan, view: AdmissionView) -> GateVerdict:
    """Judge whether this mode may dispatch, and whether a child run stays within its parent's mode."""
    mode, parent = plan.mode, view.parent
    if plan.request.scouts and plan.agent.read_only:
        return make_pass("mode", f"mode {mode}: a scout only reads, which every mode allows")
    if parent is not None and parent.mode not in MODE_DISPATCHES:
        words = f"run {parent.run} has mode {parent.mode}, which cannot start runs"
        return make_refusal(
            "mode", f"Dispatch blocked: {words}", f"ask the user who started {parent.run} to do it"
        )
    if mode not in MODE_DISPATCHES and not plan.talks:
        return make_refusal(
            "mode", f"Dispatch blocked: mode {mode} cannot dispatch, it only analyzes", "add --mode build"
        )
    if parent is not None and mode not in MODE_HANDS_ON[parent.mode]:
        return make_refusal(
            "mode",
            f"Dispatch blocked: run {parent.run} has mode {parent.mode} and cannot start one with {mode}",
            f"use --mode {parent.mode}, or dispatch the run yourself",
        )
    how = "dispatches" if mode in MODE_DISPATCHES else "reads only, and dispatches nothing"
    return make_pass("mode", f"mode {mode} {how}")


def judge_mutation(plan: Plan, view: AdmissionView) -> GateVerdict:
    """Judge whether the chosen agent may change files in this mode and under this parent run."""
    agent, mode = plan.agent, plan.mode
    if agent.read_only:
        return make_pass("mutation", f"agent {agent.name} is read-only")
    if mode not in MODE_WRITES and plan.talks:
        return make_pass("mutation", f"in mode {mode} agent {agent.name} only reads")
    if mode not in MODE_WRITES:
        return make_refusal(
            "mutation",
            f"Dispatch blocked: mode {mode} requires a read-only agent, but {agent.name} changes files",
            "add --mode build, or choose a read-only agent such as reviewer",
        )
    if view.parent is not None and view.parent.read_only:
        return make_refusal(
            "mutation",
            f"Dispatch blocked: run {view.parent.run} is read-only, but agent {agent.name} changes files",
            "dispatch the run yourself",
        )
    return make_pass("mutation", f"mode {mode} lets agent {agent.name} change files")


def judge_drain(plan: Plan, view: AdmissionView) -> GateVerdict:
    """Judge whether the fleet accepts new work."""
    if view.draining is not None:
        return make_refusal(
            "drain",
            f"Dispatch blocked: the fleet accepts no new work: {view.draining}",
            "pancode fleet resume",
        )
    return make_pass("drain", "the fleet accepts work")


def judge_recursion(plan: Plan, view: AdmissionView) -> GateVerdict:
    """Judge whether a run may be nested this deeply; a run that a user dispatches is level 1."""
    level = plan.request.depth + 1
    if level > view.max_depth:
        return make_refusal(
            "recursion",
            f"Dispatch blocked: level {level} of nested runs exceeds the limit of {view.max_depth}",
            "do the work in the parent run, or raise dispatch.max_depth (PANCODE_DISPATCH_MAX_DEPTH)",
            lifts="policy",
        )
    return make_pass("recursion", f"nesting level {level} of at most {view.max_depth}")


_LARGEST_WORKSPACE: dict[str, object] = {
    "kind": "git",
    "repo": 80 * "x",
    "base": 64 * "f",
    "snapshot": 64 * "f",
    "object_format": "sha256",
}


def judge_task(plan: Plan, view: AdmissionView) -> GateVerdict:
    """Judge whether the task is not empty, is valid text and is small enough to send to a node."""
    argv, task = plan.request.argv, plan.request.task
    verdict = _judge_command(argv) if argv is not None else _judge_task(task)
    verdict = _limit_commands(plan, verdict) if verdict.passed else verdict
    return _limit_job(plan, verdict) if verdict.passed else verdict


def _judge_task(task: str) -> GateVerdict:
    if not task.strip():
        return make_refusal(
            "task", "Dispatch blocked: the task is empty", 'give a task: pancode dispatch "..."'
        )
    problem = _explain_unfit(task)
    if problem:
        return make_refusal(
            "task",
            f"Dispatch blocked: the task {problem}",
            "put the long text in a file and name its path in the task",
        )
    return make_pass("task", f"{len(task)} characters")


def _judge_command(argv: tuple[str, ...]) -> GateVerdict:
    problem = _explain_unfit("\n".join(argv)) or (
        "contains a NUL character" if any("\0" in word for word in argv) else ""
    )
    if problem:
        words = f"Dispatch blocked: the argument list {problem}"
        return make_refusal("task", words, "pass the long text as a file")
    return make_pass("task", f"an argument list of {len(argv)} arguments")


def _limit_commands(plan: Plan, verdict: GateVerdict) -> GateVerdict:
    """Refuse a run with more commands in one phase than a node executes."""
    for what, commands in (("verify", plan.gates), ("setup", plan.setup)):
        if len(commands) > MOST_STEPS:
            words = (
                f"Dispatch blocked: {len(commands)} commands in {what}, but a node runs at most {MOST_STEPS}"
            )
            return make_refusal(
                "task", words, f"put several of them into one script, and use the script in {what}"
            )
    return verdict


def _limit_job(plan: Plan, verdict: GateVerdict) -> GateVerdict:
    """Refuse a job that is too large: a node would reject it without reading it, so no end is reported."""
    run = plan.run(f"r-{24 * 'x'}", MOST, 64 * "x", _LARGEST_WORKSPACE)
    if not may_exceed(run, MAX_ENVELOPE_BYTES):
        return verdict
    size = size_of(run)
    if size <= MAX_ENVELOPE_BYTES:
        return verdict
    return make_refusal(
        "task",
        f"Dispatch blocked: the job is too large: {size} bytes; the limit is {MAX_ENVELOPE_BYTES}",
        "put long texts in files of the repository: the job contains the task, the agent's prompt and the "
        "commands of --verify and setup",
    )


def _explain_unfit(text: str) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "is not valid text"
    return f"has {size} bytes; the limit is {MAX_TASK_BYTES}" if size > MAX_TASK_BYTES else ""


_SHOWN = 5


def judge_paths(plan: Plan, view: AdmissionView) -> GateVerdict:
    """Warn if a path in the task is outside the project. This gate never refuses: a task may mention a path,
    as a traceback does, without access to it; the run's policy and sandbox still apply."""
    if plan.project is None and plan.request.workspace is None:
        return make_warning(
            "paths",
            "no repository here: the run gets an empty directory",
            "change to the repository; or, if you want an empty directory: --workspace none",
        )
    if plan.project is None:
        return make_pass("paths", "no project: the run gets an empty directory")
    if plan.runtime.own:
        return make_pass("paths", "your own script: it is not checked for paths")
    if plan.request.is_of_issue:
        return make_pass("paths", "an issue of a tracker: it is not checked for paths")
    outside = [fact for fact in view.paths if not fact.inside]
    if outside:
        words = _format_list([fact.word for fact in outside])
        return make_warning(
            "paths",
            f"{words} outside the project {plan.project}, so the run may not find it",
            "this is fine if the task only mentions it; otherwise use files inside the project",
        )
    name = plan.request.in_workspace or ""
    ours = (PRD, plan_file(name), questions_file(name))  # A task of ours names the file that it asks for.
    missing = [fact.word for fact in view.paths if not fact.exists and fact.word not in ours]
    if missing:
        return make_warning(
            "paths",
            f"{_format_list(missing)} missing",
            "this is fine if the run creates the file; otherwise check for a typo",
        )
    return make_pass(
        "paths",
        f"{len(view.paths)} paths named, all inside the project" if view.paths else ("no path is named"),
    )


def _format_list(words: list[str]) -> str:
    return f"{first_few(words, _SHOWN)} {'is' if len(words) == 1 else 'are'}"
