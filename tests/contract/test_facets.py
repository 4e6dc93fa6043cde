"""Facets of runs: those of earlier versions' homes are read and written back as they are stored."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

from pancode.kernel.records import Run
from pancode.kernel.rows import Facet, dump_facets
from pancode.kernel.values import replace
from tests.architecture.sources import dotted, facets
from tests.fixtures.restore import Kept, kept
from tests.unit.pancode.kernel.fleets import node, resolved

KINDS: list[type[Facet]] = [getattr(import_module(dotted(path)), one.name) for path, one in facets("pancode")]
UNREAD = {"expected", "record"}
"""What earlier versions have kept of a run, and nobody reads any more."""
RUN: Run = resolved(node("desk")).run("r-0001", 0, "t", {"kind": "none"})


@pytest.mark.parametrize("home", kept(), ids=lambda home: home.name)
def test_the_runs_of_a_kept_home_are_written_back_as_they_were(home: Kept, tmp_path: Path) -> None:
    home.write_ledger(tmp_path / "ledger.db", tmp_path)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as ledger:
        stored = [json.loads(terms) for (terms,) in ledger.execute("SELECT terms FROM runs")]
    assert len(stored) > 10
    for terms in stored:
        run = replace(RUN, terms=terms)
        assert all(kind.of(run).on(run) == run for kind in KINDS)
        assert terms.keys() - dump_facets(kind.of(run) for kind in KINDS).keys() <= UNREAD


def test_a_facet_that_is_put_on_takes_the_place_of_the_one_before_and_of_no_other() -> None:
    for kind in KINDS:
        strange = replace(RUN, terms={"of_a_later_version": [1]})
        assert kind.of(strange) == kind(), kind
        assert kind().on(strange) == strange, kind
        names = {one.name for one in fields(kind)}
        full = replace(RUN, terms=dict.fromkeys(names, ()) | strange.terms)
        assert kind().on(full) == strange, kind
