"""The retry of a step's run does not replace the step; the refusal names what helps."""

from __future__ import annotations

from pancode.kernel.records import Run
from tests.unit.pancode.workflows.world import ERROR, Flows, step


def failed_step(flows: Flows) -> str:
    """The run of a chain's second step, which has failed."""
    flows.begin(step("a"), step("b", "a"), step("c", "b"), kind="chain", budget="5")
    for name, end in (("a", {}), ("b", ERROR)):
        flows.claim()
        flows.end(name, **end)
    return flows.runs()["b"].id


def test_a_step_is_not_replaced_and_the_fix_resumes_the_workflow(flows: Flows) -> None:
    first = failed_step(flows)
    before, workflow = flows.coordinator.rows(Run), flows.show()
    said = flows.world.problem("POST", f"/v1/runs/{first}/retry", {"by": "ana"})
    assert said["code"] == "not_in_its_place" and f"part of {workflow['workflow']}" in said["message"]
    assert f"pancode workflow resume {workflow['workflow']}" in said["fix"]
    assert said["fix"].endswith(f"pancode runs retry --alone {first}")
    assert flows.coordinator.rows(Run) == before and flows.show() == workflow


def test_alone_it_stays_outside(flows: Flows) -> None:
    first = failed_step(flows)
    said = flows.world.http.post(f"/v1/runs/{first}/retry", {"by": "ana", "alone": True})
    assert said.status_code == 201, said.text
    queued = said.json()
    assert "workflow" not in queued and flows.coordinator.row(Run, queued["run"]).workflow is None
    assert flows.show()["state"] == "failed"
