"""The features on top of the engine: what they add to runs, in order of calls."""

from __future__ import annotations

from pancode.config import proposals
from pancode.config.records import ConfigChange, ConfigProposal
from pancode.interfaces.http.access.store import KeyedRequest
from pancode.issues import hooks as issues
from pancode.landing import hooks as landing
from pancode.memory import hooks as memory
from pancode.notices.records import Delivery
from pancode.pull_requests import hooks as pull_requests
from pancode.reviews import hooks as reviews
from pancode.runs.admission import given_changes
from pancode.runs.extension import Hook
from pancode.runs.features import Features, join_features
from pancode.schedules import hooks as schedules
from pancode.sessions import hooks as sessions
from pancode.skills import hooks as skills
from pancode.workflows import held as held_workflows
from pancode.workflows import hooks as workflows
from pancode.workspaces import hooks as workspaces

SHOWN = Features(
    # A resumed session already got the PRD.
    prompt_parts=(
        Hook(lambda request: not request.resume and request.repository is not None, given_changes.give_prd),
    ),
    # A read-only agent has no git, and its task may refer to a change.
    inputs=(Hook(lambda plan: plan.only_looks or bool(plan.request.show), given_changes.show_change),),
)

# Subjects that add nothing else to runs.
STORED = Features(
    items=(proposals.list_proposed,), tables=(KeyedRequest, ConfigChange, ConfigProposal, Delivery)
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
    pull_requests.FEATURE,
    reviews.FEATURE,
    issues.FEATURE,
    held_workflows.FEATURE,
    STORED,
)
