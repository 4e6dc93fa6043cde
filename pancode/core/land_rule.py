"""Names the rule by which results are landed: a dispatch says it, and landing follows it."""

from __future__ import annotations

from enum import StrEnum


class LandRule(StrEnum):
    """Which results are landed without a person's `pancode land`."""

    ASK = "ask"
    """Those of a dispatch, workflow or schedule that has asked for it: --land."""
    NEVER = "never"
    WHEN_VERIFIED = "when-verified"
    """Those, and each result whose gates have passed; where `dispatch.verify_on` says so, on two nodes."""
