"""The features beside the engine: the one table of what they add to the way of a run."""

from __future__ import annotations

from pancode.kernel.records import ActionKind
from pancode.landing import hooks as landing
from pancode.landing.cross_check import Verifications
from pancode.memory import prior_runs
from pancode.memory import service as memory
from pancode.runs.admission import inputs
from pancode.runs.features import Features, Hook
from pancode.runs.follow_on_actions import FollowOn
from pancode.runs.request import workspace_in
from pancode.schedules import hooks as schedules
from pancode.schedules.store import pause_of_token
from pancode.schedules.views import brief_lines
from pancode.sessions import fleet_calls, pending_updates
from pancode.sessions import store as sessions
from pancode.sessions.child_updates import Tidings
from pancode.sessions.service import GoingOn
from pancode.skills import made_tool_store, made_tools
from pancode.workflows import board, step_replacement
from pancode.workflows import results as workflows
from pancode.workflows.hooks import Advancing
from pancode.workflows.step_start import StepStarter
from pancode.workspaces import hooks as workspaces
from pancode.workspaces.rules import join_workspace
from pancode.workspaces.service import in_workspace

FEATURES = Features(
    complete=(
        Hook(lambda request: request.continues is not None, workspaces.continue_newest),
        Hook(lambda request: request.recovers and request.retry_of is not None, workspaces.repeat_there),
        Hook(lambda request: workspace_in(request.workspace) is not None, in_workspace),
        Hook(lambda request: request.in_step, step_replacement.retake_step),
    ),
    prompt_parts=(
        # A session that is resumed has been told of the PRD and of earlier runs.
        Hook(lambda request: not request.resume, prior_runs.give_notes),
        Hook(lambda request: not request.resume and request.repository is not None, inputs.give_prd),
        Hook(lambda request: True, made_tool_store.give_skills),
    ),
    inputs=(
        # An agent that only reads has no git, and its task may name a change.
        Hook(lambda plan: plan.only_looks or bool(plan.request.show), inputs.show_change),
    ),
    join=(
        Hook(lambda joining: joining.is_in_workspace, join_workspace),
        Hook(lambda joining: joining.run.takes_turns, sessions.join_session),
        Hook(lambda joining: joining.follows_step, step_replacement.take_step),
    ),
    changed=(landing.follow_change, fleet_calls.take_calls, pending_updates.add_update),
    accepted=(board.keep_values, made_tools.keep_proposed, memory.keep),
    ordered=(board.add_board,),
    needs=(workflows.find_need, workspaces.find_need, landing.find_need),
    brief=(made_tools.asked, brief_lines),
    revoked=(pause_of_token,),
    threads=(
        lambda core, around: [
            FollowOn(core, {ActionKind.ADVANCE: Advancing(core, StepStarter(core, around))})
        ],
        schedules.make_threads,
        lambda core, around: [FollowOn(core, {ActionKind.VERIFY: Verifications(core)})],
        lambda core, around: [FollowOn(core, {ActionKind.GO_ON: GoingOn(core, around)})],
        lambda core, around: [FollowOn(core, {ActionKind.TELL: Tidings(core, around)})],
    ),
)
