"""Verbs of unattended work: schedules, notices, webhooks."""

from __future__ import annotations

from pancode.control.verbs.outgoing import OutgoingVerbs as OutgoingVerbs
from pancode.control.verbs.schedules import ScheduleVerbs as ScheduleVerbs
