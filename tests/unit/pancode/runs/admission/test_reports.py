"""Which files of the gates a run reads, and which names are refused."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.wire.model import FleetTime
from pancode.runs.admission.resolution import Unresolved, resolve
from pancode.runs.life.jobs import job_for
from pancode.runs.request import Project
from tests.unit.pancode.kernel.fleets import catalogue, node, request, resolved


@pytest.mark.parametrize(
    ("verify", "reports", "words"),
    [
        ((), ("a",), "--report requires a gate"),
        (("true",), ("../a",), "`..`"),
        (("true",), ("/etc/passwd",), "extra slashes"),
        (("true",), (".git/config",), "reserved for git"),
        (("true",), ("",), "1 to 200"),
        (("true",), ("a\nb",), "printable"),
        (("true",), ("a", "a"), "listed twice"),
        (("true",), tuple("abcdefghi"), "at most 8 reports"),
    ],
)
def test_a_name_that_is_none_is_refused(
    verify: tuple[str, ...], reports: tuple[str, ...], words: str
) -> None:
    found = resolve(request(verify=verify, reports=reports), catalogue(node("desk")))
    assert isinstance(found, Unresolved)
    (problem,) = found.problems
    assert words in f"{problem}: {problem.why}" and problem.fix


def test_reports_are_the_projects_only_with_the_projects_gates() -> None:
    project = {"project": Project(verify=(("make", "test"),), reports=("out/j.xml",))}

    def ordered(**options: Any) -> tuple[str, ...]:
        found = resolved(settings=project, **options)
        return found.reports

    assert ordered() == ("out/j.xml",)
    assert ordered(verify=("true",)) == () == ordered(verify=())
    assert ordered(reports=("r.xml",)) == ("r.xml",) == ordered(verify=("true",), reports=("r.xml",))
    assert ordered(reports=()) == ()


def test_what_gates_read_goes_with_the_projects_gates_into_the_job() -> None:
    project = {"project": Project(verify=(("make", "test"),), reads=("out/model",))}

    def ordered(**options: Any) -> tuple[str, ...]:
        run = resolved(settings=project, **options).run("r-0001", 0, "t", {"kind": "none"})
        return job_for(run, "f-test", "0123456789", 1, (1, FleetTime(epoch=1, ms=1))).reads

    assert ordered() == ("out/model",) and ordered(verify=("true",)) == ()
