"""The features beside the engine: the one table of what they add to runs, in the order of their calls."""

from __future__ import annotations

from pancode.landing import hooks as landing
from pancode.memory import hooks as memory
from pancode.runs.admission import inputs
from pancode.runs.features import Features, Hook, join_features
from pancode.schedules import hooks as schedules
from pancode.sessions import hooks as sessions
from pancode.skills import hooks as skills
from pancode.workflows import hooks as workflows
from pancode.workspaces import hooks as workspaces

SHOWN = Features(
    # A session that is resumed has been told of the PRD.
    prompt_parts=(
        Hook(lambda request: not request.resume and request.repository is not None, inputs.give_prd),
    ),
    # An agent that only reads has no git, and its task may name a change.
    inputs=(Hook(lambda plan: plan.only_looks or bool(plan.request.show), inputs.show_change),),
)

FEATURES = join_features(
    workspaces.FEATURE,
    sessions.FEATURE,
    workflows.FEATURE,
    memory.FEATURE,
    SHOWN,
    skills.FEATURE,
    landing.FEATURE,
    schedules.FEATURE,
)
