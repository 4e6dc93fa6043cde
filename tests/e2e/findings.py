"""Looks at the receipts of all runs of a fleet: a run that did no wrong has no finding."""

from __future__ import annotations

import re

from pancode.interfaces.client.client import Client, path_of
from tests.e2e.owner import Owner

EXPECTED = re.compile(
    r"a user says no|denied: approve \(|let through: delete-git|\d processes were left behind and killed"
)
"""What journeys provoke: a user's no, a tool that is not offered, a hostile checkout, a killed shim."""


def unexpected(fleet: Owner) -> list[str]:
    """Return the findings of runs that are done, each with its run and its task."""
    client = Client(fleet.fleet_home, starts=False)
    runs = [one for one in client.get("/v1/runs", limit=1_000)["runs"] if one["outcome"] == "done"]
    found = []
    for one in runs:
        told = client.get(path_of("runs", one["run"]))
        words = [text for text in told["findings"] if not EXPECTED.search(text)]
        found += [f"{one['run']} ({one['task'][:60]}): {text}" for text in words]
    return found
