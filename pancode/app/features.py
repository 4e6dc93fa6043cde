"""The features beside the engine: the one table of what they add to the way of a run."""

from __future__ import annotations

from pancode.landing import hooks as landing
from pancode.memory import service as memory
from pancode.runs.features import Features
from pancode.sessions import fleet_calls, pending_updates
from pancode.skills import made_tools
from pancode.workflows import board
from pancode.workflows import results as workflows
from pancode.workspaces import hooks as workspaces

FEATURES = Features(
    changed=(landing.follow_change, fleet_calls.take_calls, pending_updates.add_update),
    accepted=(board.keep_values, made_tools.keep_proposed, memory.keep),
    ordered=(board.add_board,),
    needs=(workflows.find_need, workspaces.find_need, landing.find_need),
)
