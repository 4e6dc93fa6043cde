"""Defines the rights that routes need: a token's scope, and the risk of the route."""

from __future__ import annotations

from typing import NamedTuple

from pancode.kernel.visitors import AccessScope, Risk


class Right(NamedTuple):
    """The scope that a route needs, and the risk of the route's effect."""

    scope: AccessScope
    risk: Risk


READS = Right(AccessScope.READ, Risk.LOOKS)
NOTES = Right(AccessScope.READ, Risk.ACTS)
TELLS = Right(AccessScope.ANSWER, Risk.ACTS)
ANSWERS = Right(AccessScope.ANSWER, Risk.SPENDS)
DECIDES = Right(AccessScope.ANSWER, Risk.FINAL)
DISPATCHES = Right(AccessScope.DISPATCH, Risk.SPENDS)
OPERATES = Right(AccessScope.OPERATE, Risk.ACTS)
TESTS = Right(AccessScope.OPERATE, Risk.SPENDS)
LANDS, DROPS = Right(AccessScope.OPERATE, Risk.FINAL), Right(AccessScope.OPERATE, Risk.FINAL)
BUDGETS = Right(AccessScope.BUDGET, Risk.ACTS)
SETTLES = Right(AccessScope.BUDGET, Risk.FINAL)
SEES_ALL = Right(AccessScope.ADMIN, Risk.LOOKS)
SETS_UP = Right(AccessScope.ADMIN, Risk.ACTS)
REMOVES = Right(AccessScope.ADMIN, Risk.FINAL)


def needs_new_link(right: Right) -> bool:
    """Whether a browser needs a link of the last hours for it: to land, to decide, and to set up, such as a
    token that may do the same."""
    return right is LANDS or right is DECIDES or (right.scope is AccessScope.ADMIN and right is not SEES_ALL)
