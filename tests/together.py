"""Decides which tests stay on one worker where whole files are shared out (`--dist loadfile`).

And what becomes of the tests of a worker that ends in the midst of one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

APART = frozenset(
    {
        "tests/clis/test_acts.py",
        "tests/clis/test_gateway.py",
        "tests/clis/test_matrix.py",
        "tests/clis/test_talked.py",
        "tests/e2e/test_docs.py",
        "tests/e2e/test_fault_up.py",
        "tests/e2e/test_programs.py",
        "tests/simulation/test_schedules.py",
    }
)
"""Minutes each, and what they share is made once for the first word of their parameter, or for each test."""

HOSTLESS = "tests/e2e/test_demo.py"
"""The one journey over a whole fleet that needs none of the lab's hosts."""


def scope_of(nodeid: str) -> str:
    """What is handed out as one: a file, or a part of a long one, as `test_acts.py[gemini`."""
    path = nodeid.partition("::")[0]
    if path not in APART:
        return path
    words = nodeid.partition("[")[2].rstrip("]")
    return f"{path}[{words.partition('-')[0]}"


def scope_of_chosen(nodeid: str) -> str:
    """The same in `make test`, where all journeys over the lab's hosts stay together: each worker that has
    one brings up three hosts and a fleet of its own first, which costs 40 s of processor time.
    """
    path = scope_of(nodeid)
    return "tests/e2e" if path.startswith("tests/e2e/") and path != HOSTLESS else path


def scheduler_of(config: pytest.Config, log: Any, scope: Callable[[str], str]) -> Any:
    """xdist's own would give the test that ended a worker to the next one, and then wait for ever.

    A worker holds back its last test until it is told that it is the last; nobody tells one that comes late.
    """
    from xdist.scheduler import LoadFileScheduling

    class Scheduler(LoadFileScheduling):  # type: ignore[misc]  # xdist is not read by mypy here
        def _split_scope(self, nodeid: str) -> str:
            return scope(nodeid)

        def remove_node(self, node: Any) -> str | None:
            workload = self.assigned_work.pop(node)
            open_ = (name for tests in workload.values() for name, ended in tests.items() if not ended)
            crashed: str | None = next(open_, None)
            if crashed is None:
                return None
            for unit, tests in workload.items():
                tests.update({crashed: True} if crashed in tests else {})
                if not all(tests.values()):
                    self.workqueue[unit] = tests
            for other in self.assigned_work:
                self._reschedule(other)
            return crashed

        def schedule(self) -> None:
            super().schedule()
            if not self.workqueue:
                for node in self.nodes:
                    node.shutdown()

    return Scheduler(config, log)
