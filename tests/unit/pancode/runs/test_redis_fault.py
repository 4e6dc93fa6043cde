"""A Redis that cannot be used is named where a user looks: at the run, by `why` and in the inbox."""

from __future__ import annotations

import pytest

from pancode.kernel.errors import UnavailableError
from pancode.reports.needs import list_needs
from pancode.reports.timeline import explain_run
from pancode.runs.reconcile import run_pass
from pancode.runs.views import get_run_shape
from tests.unit.pancode.runs.world import Desk, Puppet

WORDS = "this Redis is a node of a cluster"


def test_it_is_named_at_the_run_by_why_and_in_the_inbox_until_it_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()
    Puppet(desk).breathe()
    desk.dispatch()
    core = desk.core

    def refuse(*_: object) -> None:
        raise UnavailableError(WORDS, why="push_jobs: MOVED", fix="set redis.url")

    with monkeypatch.context() as patch:
        patch.setattr(core.ports.bus, "push_jobs", refuse)
        with pytest.raises(UnavailableError):
            run_pass(core)
    assert WORDS in get_run_shape(core, "r-0001")["reason"]
    assert f"{WORDS} (push_jobs: MOVED); fix: set redis.url" in explain_run(core, "r-0001")["now"]
    assert any(WORDS in line.title for line in list_needs(core, []))
    run_pass(core)
    assert WORDS not in get_run_shape(core, "r-0001")["reason"] and "redis" not in {
        one.id for one in list_needs(core, [])
    }
