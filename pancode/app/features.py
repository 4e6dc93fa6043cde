"""The features beside the engine: the one table of what they add to the way of a run."""

from __future__ import annotations

from pancode.memory.prior_runs import notes_for
from pancode.runs.admission.resolution import Resolution
from pancode.runs.features import Features, Hook, Joining
from pancode.runs.request import workspace_in
from pancode.sessions.store import join_session
from pancode.skills.made_tool_store import skills_for
from pancode.workflows.step_replacement import again_in_step, take_step
from pancode.workspaces.input_diffs import prd_for, shown_change
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
        Hook(lambda request: request.in_step, again_in_step),
    ),
    prompt_parts=(
        # A session that is resumed has been told of the PRD and of earlier runs.
        Hook(lambda request: not request.resume, notes_for),
        Hook(lambda request: not request.resume and request.repository is not None, prd_for),
        Hook(lambda request: True, skills_for),
    ),
    inputs=(Hook(_may_show_change, shown_change),),
    join=(
        Hook(lambda joining: "in_workspace" in joining.run.terms, join_workspace),
        Hook(lambda joining: joining.run.takes_turns, join_session),
        Hook(_may_take_step, take_step),
    ),
)
