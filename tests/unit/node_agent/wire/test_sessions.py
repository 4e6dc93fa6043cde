"""The name of a session is never an option, nor a way to a file."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from node_agent.wire.job import Resumed, is_session
from tests.fakes.node import Script
from tests.unit.node_agent.attempt.test_procedure import NAME
from tests.unit.node_agent.stage import RUN, Stage, job_of

NONE = ("--dangerously-skip-permissions", "-c", "", "../../etc", "a b", "a\n", "\u202ea", "x" * 201)
SOME = ("3f0c6a2e-9d1b-4a77-8f53-2f5f0c1d9e10", "ses_4f2A", "s", "r-0001.1.2")


@pytest.mark.parametrize("name", NONE)
def test_what_no_session_has_is_refused_in_a_job_and_left_out_of_a_receipt(name: str) -> None:
    assert not is_session(name)
    with pytest.raises(ValidationError):
        Resumed(run="r-0001", session=name)
    assert _told(name) is None


@pytest.mark.parametrize("name", SOME)
def test_names_of_programs_pass(name: str) -> None:
    assert Resumed(run="r-0001", session=name).session == name == _told(name)


def _told(name: str) -> str | None:
    said = {"answer": "did it", "session": name}
    stage = Stage(script=lambda _: Script(output=f"{json.dumps(said)}\n".encode()))
    stage.host.stored.add((RUN, name))
    stage.push(job_of())
    stage.settle()
    return stage.claims[NAME].session
