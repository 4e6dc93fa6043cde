"""The routes of what happens while nobody is there: schedules, notices, webhooks."""

from __future__ import annotations

from pancode.api.hook_routes import HOOK_VERBS
from pancode.api.outgoing_routes import OUTGOING_VERBS
from pancode.api.routing import Verb
from pancode.api.schedule_routes import SCHEDULE_VERBS

UNATTENDED_VERBS: tuple[Verb, ...] = (*SCHEDULE_VERBS, *HOOK_VERBS, *OUTGOING_VERBS)
