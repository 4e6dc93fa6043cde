"""Defines the rights that routes need: a token's scope, and the risk of the route."""

from __future__ import annotations

from typing import NamedTuple

from pancode.kernel.visitors import AccessScope, Risk


class Right(NamedTuple):
    """The scope that a route needs, and the risk of its effect. `confirmed`: browsers need a recent link."""

    scope: AccessScope
    risk: Risk
    confirmed: bool = False


READS = Right(AccessScope.READ, Risk.LOOKS)
NOTES = Right(AccessScope.READ, Risk.ACTS)
TELLS = Right(AccessScope.ANSWER, Risk.ACTS)
ANSWERS = Right(AccessScope.ANSWER, Risk.SPENDS)
DECIDES = Right(AccessScope.ANSWER, Risk.FINAL, confirmed=True)
APPROVES = Right(AccessScope.ANSWER, Risk.SPENDS, confirmed=True)
DISPATCHES = Right(AccessScope.DISPATCH, Risk.SPENDS)
OPERATES = Right(AccessScope.OPERATE, Risk.ACTS)
CHANGES = Right(AccessScope.OPERATE, Risk.ACTS, confirmed=True)
TESTS = Right(AccessScope.OPERATE, Risk.SPENDS)
STOPS = Right(AccessScope.OPERATE, Risk.FINAL)
LANDS = DROPS = Right(AccessScope.OPERATE, Risk.FINAL, confirmed=True)
BUDGETS = Right(AccessScope.BUDGET, Risk.ACTS, confirmed=True)
SETTLES = Right(AccessScope.BUDGET, Risk.FINAL, confirmed=True)
SEES_ALL = Right(AccessScope.ADMIN, Risk.LOOKS)
SETS_UP = Right(AccessScope.ADMIN, Risk.ACTS, confirmed=True)
REMOVES = Right(AccessScope.ADMIN, Risk.FINAL, confirmed=True)
