"""What looks reads no history: each GET route costs the same however many runs ended, in steps of SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event, text

from pancode.app.http_routes import VERBS
from tests.integration.faces.populated import Populated
from tests.integration.faces.test_sweep import Recorder, Sweep

pytestmark = pytest.mark.slow
MANY = 3_000
HISTORY = {
    "runs": "id", "ended_runs": "run", "attempts": "run", "fences": "run", "decisions": "run",
    "receipts": "run", "entries": "run", "audit": "run", "feed": "run", "notes": "run",
}  # fmt: skip
"""Tables that grow with each run, and the column with the run's id."""
READS = {
    "GET /v1/audit/verify": "reads the whole chain to verify it",
    "GET /v1/cost": "sums the runs of a period",
    "GET /v1/records": "sums the runs of a period",
    "GET /v1/brief": "sums the runs of a period",
    "GET /v1/metrics": "counts the runs of a period",
    "GET /v1/report": "sums the runs of a period",
}
"""Routes that are asked about the past: their cost grows with it."""


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweep]:
    fleet = Populated(tmp_path_factory.mktemp("history"))
    yield Sweep(fleet, Recorder(fleet.app))
    fleet.close()


class Steps:
    """Counts the steps of the database."""

    def __init__(self, fleet: Populated) -> None:
        self.count, self.fleet = 0, fleet
        event.listen(fleet.ledger._engine, "checkout", self._listen)

    def _listen(self, connection: Any, *_: object) -> None:
        connection.set_progress_handler(self._step, 1)

    def _step(self) -> int:
        self.count += 1
        return 0

    def of(self, path: str, query: dict[str, str]) -> int:
        self.count = 0
        self.fleet.http.get(path, **query)
        return self.count


def grow(fleet: Populated, run: str, mark: str) -> None:
    """Copy an ended, landed run with all that belongs to it, `MANY` times, as runs of long ago."""
    with fleet.ledger._engine.begin() as connection:
        for table, column in HISTORY.items():
            columns = [row[1] for row in connection.execute(text(f"PRAGMA table_info({table})"))]
            keys = [row[1] for row in connection.execute(text(f"PRAGMA table_info({table})")) if row[5]]
            shown = []
            for name in columns:
                if name == column:
                    shown.append(f"'r-{mark}' || printf('%05d', n)")
                elif name in keys and name in ("id", "digest"):
                    shown.append(f"\"{name}\" || 'h' || n")
                elif name in keys and name == "number" and table in ("audit", "feed"):
                    shown.append(f"-n - {ord(mark) * MANY}")
                elif name.endswith("_ms"):
                    shown.append(f'"{name}" - 3000000000 - n')
                else:
                    shown.append(f'"{name}"')
            names = ", ".join(f'"{name}"' for name in columns)
            connection.execute(
                text(
                    f"WITH RECURSIVE more(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM more WHERE n < {MANY}) "
                    f"INSERT OR IGNORE INTO {table} ({names}) SELECT {', '.join(shown)} FROM "
                    f'(SELECT * FROM {table} WHERE "{column}" = :run LIMIT 1), more'
                ),
                {"run": run},
            )


def test_no_route_that_looks_reads_history(sweep: Sweep) -> None:
    fleet, steps = sweep.fleet, Steps(sweep.fleet)
    asked = {
        verb.name: sweep.route(verb)
        for verb in VERBS
        if verb.method == "GET" and verb.name not in READS and "stream" not in verb.path
        and verb.path not in ("/v1/events", "/v1/runs/{run}/events")
    }  # fmt: skip
    for path, query in asked.values():
        fleet.http.get(path, **query)
    grow(fleet, fleet.names["landed"], "b")  # more than any list of the newest has
    before = {name: steps.of(*one) for name, one in asked.items()}
    grow(fleet, fleet.names["landed"], "c")
    after = {name: steps.of(*one) for name, one in asked.items()}
    grown = {name: (before[name], after[name]) for name in asked if after[name] > before[name] * 1.2 + 200}
    assert grown == {}
