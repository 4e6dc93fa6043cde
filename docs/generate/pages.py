"""Names every generated page and what writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from docs.generate.agents import agents_page
from docs.generate.api import api_page
from docs.generate.commands import commands_page
from docs.generate.evidence import evidence_page
from docs.generate.figures import figures_page
from docs.generate.messages import messages_page, redis_page
from docs.generate.runtimes import runtimes_page
from docs.generate.settings import settings_page
from docs.generate.shapes import json_page
from docs.generate.tables import (
    exit_codes_page,
    failures_page,
    journal_chart,
    lease_chart,
    run_chart,
    states_page,
)

REFERENCE = Path(__file__).resolve().parents[1] / "reference"
PAGES: Mapping[str, Callable[[], str]] = {
    "cli.md": commands_page,
    "configuration.md": settings_page,
    "agents.md": agents_page,
    "exit-codes.md": exit_codes_page,
    "failures.md": failures_page,
    "states.md": states_page,
    "run-states.svg": run_chart,
    "lease-states.svg": lease_chart,
    "journal-states.svg": journal_chart,
    "runtimes.md": runtimes_page,
    "safety-matrix.md": evidence_page,
    "events.md": messages_page,
    "redis-keys.md": redis_page,
    "metrics.md": figures_page,
    "json.md": json_page,
    "api.md": api_page,
}
