"""The result of a model's test, for faces."""

from __future__ import annotations

from node_agent.wire.endpoint import Grade, PassportFact
from pancode.control.run import iso
from pancode.control.shapes import GradeShape, PassportShape


def passport_shape(passport: PassportFact | None) -> PassportShape:
    """The results of the test; nothing for a model that was not tested."""
    if passport is None:
        return PassportShape(passed=None, checks=[], ctx=None, tok_s=None, taken_at=None)
    checks = [
        GradeShape(check=one.check.value, grade=one.grade.value, words=one.words, fix="", says=one.fix)
        for one in passport.checks
    ]
    return PassportShape(
        passed=all(one.grade is not Grade.FAILED for one in passport.checks),
        checks=checks,
        ctx=passport.ctx,
        tok_s=passport.tok_s,
        taken_at=iso(passport.taken_ms),
    )
