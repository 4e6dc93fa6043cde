"""The features beside the engine: the one table of what they add to the way of a run."""

from __future__ import annotations

from pancode.landing import hooks as landing
from pancode.memory import prior_runs
from pancode.memory import service as memory
from pancode.runs.admission.resolution import Resolution
from pancode.runs.features import Features, Hook, Joining
from pancode.runs.request import workspace_in
from pancode.sessions import fleet_calls, pending_updates
from pancode.sessions import store as sessions
from pancode.skills import made_tool_store, made_tools
from pancode.workflows import board, step_replacement
from pancode.workflows import results as workflows
from pancode.workspaces import hooks as workspaces
from pancode.workspaces import input_diffs
from pancode.workspaces.rules import join_workspace
from pancode.workspaces.service import in_workspace


def _may_show_change(resolution: Resolution) -> bool:
    """Whether the request names a change to look at, or its agent has no git, and its task may name one."""
    looks = resolution.agent.read_only and not resolution.runtime.own
    return looks or bool(resolution.request.show)


def _may_take_step(joining: Joining) -> bool:
    """Whether the run follows one of a workflow."""
    before = (joining.continued, joining.replaced)
    return any(run is not None and run.workflow is not None for run in before)


FEATURES = Features(
    complete=(
        Hook(lambda request: workspace_in(request.workspace) is not None, in_workspace),
        Hook(lambda request: request.in_step, step_replacement.retake_step),
    ),
    prompt_parts=(
        # A session that is resumed has been told of the PRD and of earlier runs.
        Hook(lambda request: not request.resume, prior_runs.give_notes),
        Hook(lambda request: not request.resume and request.repository is not None, input_diffs.give_prd),
        Hook(lambda request: True, made_tool_store.give_skills),
    ),
    inputs=(Hook(_may_show_change, input_diffs.show_change),),
    join=(
        Hook(lambda joining: "in_workspace" in joining.run.terms, join_workspace),
        Hook(lambda joining: joining.run.takes_turns, sessions.join_session),
        Hook(_may_take_step, step_replacement.take_step),
    ),
    changed=(landing.follow_change, fleet_calls.take_calls, pending_updates.add_update),
    accepted=(board.keep_values, made_tools.keep_proposed, memory.keep),
    ordered=(board.add_board,),
    needs=(workflows.find_need, workspaces.find_need, landing.find_need),
)
