"""A term of a schedule that is declared once is on every interface."""

from __future__ import annotations

from dataclasses import fields

from pancode.schedules.request import AskedSchedule
from pancode.schedules.routes import ScheduleBody
from pancode.schedules.terms import TERMS
from tests.unit.pancode.interfaces.cli.options import options_of


def test_each_term_is_on_every_interface() -> None:
    assert TERMS.keys() <= ScheduleBody.model_fields.keys()
    assert TERMS.keys() <= {one.name for one in fields(AskedSchedule)}
    assert {one.word for one in TERMS.values()} <= options_of("schedule", "add")
