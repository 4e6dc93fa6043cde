"""Verbs of unattended work: schedules, notices, webhooks."""

from __future__ import annotations

from pancode.api.verbs.outgoing import OutgoingVerbs as OutgoingVerbs
from pancode.api.verbs.schedules import ScheduleVerbs as ScheduleVerbs
