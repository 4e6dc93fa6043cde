"""Copies of ignored files: sealed at the dispatch, and again for the node and attempt that gets them."""

from __future__ import annotations

import pytest

from node_agent.wire.sealing import SEALED_FOR, open_files, seal_files
from node_agent.wire.signing import SigningKey
from pancode.kernel.records import Run, RunState
from pancode.kernel.rows import dump_facets
from pancode.landing.judgement import judging_run
from pancode.landing.rules import RequiredGates
from pancode.runs.facts import Provision
from pancode.runs.life.jobs import seal_copied
from tests.unit.pancode.runs.world import Desk, Puppet

FILES = {".env.local": b"API_KEY=0123456789abcdef\n"}


@pytest.fixture
def desk() -> Desk:
    return Desk()


def dispatch(desk: Desk, key: SigningKey) -> Run:
    terms = dump_facets((Provision(copied=seal_files(FILES, key.public, SEALED_FOR), ports=2),))
    desk.dispatch("r-0001", terms=terms)
    desk.turn()
    return desk.row(Run, "r-0001")


def test_only_the_node_of_the_attempt_opens_them(desk: Desk) -> None:
    node, other = Puppet(desk, "n1"), SigningKey(b"o" * 32)
    node.breathe()
    dispatch(desk, desk.key)
    job = node.take()
    assert open_files(job.copied, node.key, str(job.identity)) == FILES
    for key, subject in ((other, str(job.identity)), (desk.key, SEALED_FOR), (node.key, "r-0001.2.9")):
        with pytest.raises(ValueError, match="sealed for another key"):
            open_files(job.copied, key, subject)


def test_after_a_change_of_the_coordinators_key_a_run_that_waits_says_what_to_do(desk: Desk) -> None:
    node = Puppet(desk, "n1")
    node.breathe()
    run = dispatch(desk, SigningKey(b"z" * 32))
    assert run.state is RunState.ENDED and "; pancode runs retry r-" in run.reason


def test_no_run_starts_without_its_files_because_a_key_is_missing(desk: Desk) -> None:
    run = dispatch(desk, desk.key)
    with pytest.raises(ValueError, match="key of its node is not known"):
        seal_copied(run, (desk.key,), None, 1)


def test_gates_that_run_alone_get_what_they_had_in_the_run(desk: Desk) -> None:
    run = dispatch(desk, desk.key)
    given = Provision.of(judging_run(desk.core, run, "r-0002", "a" * 40, "ana", RequiredGates((), ())))
    assert (given.copied, given.ports) == (Provision.of(run).copied, 2)
