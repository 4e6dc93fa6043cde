"""`pancode stop`: stops a run, a workflow, the work on an issue, or the runs that a session started."""

from __future__ import annotations

from typing import Annotated

from pancode.conversation.answers import TASKS
from pancode.interfaces.cli.larger_work import load_commands
from pancode.interfaces.cli.parameters import Argument, Json, completions, find_user, option, verb
from pancode.kernel.errors import ExitCode, UsageError
from pancode.kernel.formatting import escape_line, format_status
from pancode.kernel.names import OF_AGENT, RUNNING
from pancode.runs.answers import STOP, RunShape
from pancode.runs.commands.named_runs import OfWorkflow, find_run, is_workflow


@verb("stop", "last --reason 'wrong branch'", "w-7f3k2x", "SHOP-12", "--agent builder", "--session last")
def stop(
    *,
    name: Annotated[
        str | None, Argument(metavar="[RUN|WORKFLOW|ISSUE]", autocompletion=completions.complete_runs)
    ] = None,
    agent: Annotated[str | None, option("Stop the only active run of this agent.")] = None,
    session: Annotated[
        str | None, option("Stop the runs that this session started, but not the session.", "SESSION")
    ] = None,
    workflow: OfWorkflow = False,
    reason: Annotated[str, option("The reason, for the records.")] = "",
    yes: Annotated[bool, option("Do not ask for confirmation for a workflow with many runs.")] = False,
    face: Json,
) -> int:
    """Stop a run (default: the active run that started last, but no idle chat); its node confirms the stop.

    For a workflow, all its runs are stopped and no more begin. For an issue, the run that works on it is
    stopped; its workspace and files remain.
    """
    if sum(one is not None for one in (name, agent, session)) > 1:
        raise UsageError("a name, --agent and --session cannot be combined", fix="use only one of them")
    client, body = face.client(), {"by": find_user(), "reason": reason}
    if session is not None:
        begun = client.get(TASKS.at(session))["runs"]
        ended = [client.post(STOP.at(one["run"]), body) for one in begun if one["state"] != "ended"]
        words = "".join(map(_format_stopped, ended)) or "no active runs of the session\n"
        return face.end(ExitCode.DONE, {"runs": ended}, lambda: words)
    if name is not None and (workflow or is_workflow(name)):
        return load_commands().stop(face, client, name, body, yes)
    named = f"{OF_AGENT}{agent}" if agent is not None else RUNNING if name is None else find_run(client, name)
    face.show_result(client.post(STOP.at(named), body), _format_stopped)
    return ExitCode.DONE


def _format_stopped(run: RunShape) -> str:
    words = "; ".join(escape_line(text) for text in (run["reason"], *run["notes"]))
    return f"{run['run']}  {format_status(run)}  {words}\n"
