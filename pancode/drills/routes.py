"""API route for the faults of a drill."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pancode.drills.answers import FAULT, FaultAnswer
from pancode.drills.node_faults import NodeFault, inject_fault
from pancode.fleet.inventory import note_act
from pancode.interfaces.http.access.rights import REMOVES
from pancode.interfaces.http.bodies import ActBody
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, Verb


class FaultBody(ActBody):
    """A fault for a node. `run`: a run of the drill there; for `shim`, the one whose shim is killed."""

    fault: NodeFault
    run: Annotated[str, Field(pattern=r"^r-[0-9a-z]{1,32}$")]


@Verb(FAULT, FaultBody, "fleet drill", right=REMOVES)
def _inject(context: ApiContext, call: ApiCall[FaultBody]) -> FaultAnswer:
    """Inject a fault into a node on which only a drill works."""
    body = call.body
    node, core = call.path["node"], context.core
    note_act(core, node, f"drill: {body.fault}", body.by, None, of=body.run)
    noticed_ms = inject_fault(core, context.coordinator.fleet, node, body.fault, body.run)
    return {"node": node, "fault": body.fault, "noticed_ms": noticed_ms}
