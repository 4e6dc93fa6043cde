"""Checks of `pancode doctor`: failed deliveries, and traces that cannot be sent."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from pancode.config.schema import Settings
from pancode.fleet.answers import HomeCheck
from pancode.fleet.checks import fail_check, pass_check
from pancode.kernel.formatting import count_noun
from pancode.notices.traces.otlp import FIX


def check_telemetry(settings: Settings) -> HomeCheck | None:
    """Return a failed check if traces are requested, but OpenTelemetry is missing."""
    if settings.telemetry.endpoint is None or find_spec("opentelemetry") is not None:
        return None
    words = "telemetry.endpoint is set, but OpenTelemetry is not installed: no traces are sent"
    return fail_check("settings", "warning", words, FIX)


def check_deliveries(runs: bool, answer: Mapping[str, Any] | None) -> HomeCheck:
    """Check for notices that were not delivered. `answer`: the coordinator's; `runs`: a coordinator runs,
    though bad settings may keep it silent."""
    if answer is None:
        why = "the coordinator does not answer" if runs else "no coordinator is running"
        return pass_check("notices", f"not known: {why}")
    if answer["troubles"]:
        fix = "pancode admin notify; then: pancode admin notify --test CHANNEL"
        return fail_check("notices", "warning", "; ".join(map(str, answer["troubles"])), fix)
    count = len(answer["channels"])
    return pass_check(
        "notices", f"{count_noun(count, 'channel')}, no failures" if count else "no channel is configured"
    )
