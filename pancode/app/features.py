"""The features beside the engine: the one table of what they add to the way of a run."""

from __future__ import annotations

from pancode.kernel.records import ActionKind
from pancode.landing import hooks as landing
from pancode.landing.cross_check import Verifications
from pancode.memory import service as memory
from pancode.runs.features import Features
from pancode.runs.follow_on_actions import FollowOn
from pancode.schedules import hooks as schedules
from pancode.schedules.store import pause_of_token
from pancode.schedules.views import brief_lines
from pancode.sessions import fleet_calls, pending_updates
from pancode.sessions.child_updates import Tidings
from pancode.sessions.service import GoingOn
from pancode.skills import made_tools
from pancode.workflows import board
from pancode.workflows import results as workflows
from pancode.workflows.hooks import Advancing
from pancode.workflows.step_start import StepStarter
from pancode.workspaces import hooks as workspaces

FEATURES = Features(
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
