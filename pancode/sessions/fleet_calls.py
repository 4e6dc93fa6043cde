"""Decides on an orchestrator's call of a fleet tool: carries it out as an action, or refuses it."""

from __future__ import annotations

from dataclasses import dataclass

from node_agent.wire.control import FleetAnswers
from node_agent.wire.event import FleetAsked
from node_agent.wire.fleet import MOST_FLEET_CALLS, MOST_OPEN_FLEET_CALLS
from node_agent.wire.identity import Mark
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Action, ActionKind, Lease, LeaseState, RunState
from pancode.kernel.values import replace
from pancode.runs.facts import FleetLead
from pancode.runs.life.changes import Changes, Signal
from pancode.runs.life.jobs import identity_of

ASKED, REFUSED = "fleet tool called", "fleet tool call refused"
MOST_REFUSALS_TOLD = 50


def take_calls(tx: Transaction, made: Changes) -> Changes:
    """Handle the fleet tool calls among the node's events, which the engine leaves to features."""
    for body in made.left:
        made = _take_call(made, body) if isinstance(body, FleetAsked) else made
    return made


def _take_call(made: Changes, body: FleetAsked) -> Changes:
    """Turn an orchestrator's tool call into an action or a refusal. A repeated call is ignored."""
    run = made.run
    if not made.case.newest or run.state is not RunState.RUNNING:
        return made
    waiting = [action for action in made.case.actions if action.kind is ActionKind.FLEET]
    if any(is_call(action, made.lease, body.number) for action in waiting):
        return made
    detail = {"by": run.agent, "tool": body.tool, "call": body.number}
    if why := _find_refusal(made, body, len(waiting)):
        return _answer(_audit_refusal(made, detail, why), made.lease, body.number, False, why)
    made = made.record("fleet", "info", ASKED, **detail)
    call = {"fence": made.lease.lease, "number": body.number, "tool": body.tool, "arguments": body.arguments}
    return made.follow(ActionKind.FLEET, run.agent, call)


def _audit_refusal(made: Changes, detail: dict[str, object], why: str) -> Changes:
    """Audit a refused call, but only a run's first ones, so that a program cannot flood the audit."""
    lead = FleetLead.of(made.run)
    count = lead.refused_calls + 1
    if count > MOST_REFUSALS_TOLD:
        return made
    detail |= {"more": "further refusals of this run are not recorded"} if count == MOST_REFUSALS_TOLD else {}
    made = made.put(replace(lead, refused_calls=count).on(made.run))
    return made.record("trust", "warning", REFUSED, **detail, why=why)


def is_call(action: Action, lease: Lease, number: int) -> bool:
    """Whether the action belongs to the call with this number under this lease."""
    return (action.detail.get("fence"), action.detail.get("number")) == (lease.lease, number)


def _find_refusal(made: Changes, body: FleetAsked, waiting: int) -> str:
    """Return the reason why the call is refused; empty if it is not."""
    offered = FleetLead.of(made.run).fleet
    if body.tool not in offered:
        return f"{body.tool} is not a tool of this interactive run; its tools: {', '.join(offered) or 'none'}"
    if body.number > MOST_FLEET_CALLS:
        return (
            f"this interactive run has made {MOST_FLEET_CALLS} calls, the maximum; the next run can make more"
        )
    if waiting >= MOST_OPEN_FLEET_CALLS:
        return f"{waiting} calls of this interactive run wait for answers; call again after the next answer"
    return ""


@dataclass(frozen=True, slots=True)
class FleetAnswered(Signal):
    """The signal that an orchestrator's call was carried out or refused. `action`: the call's action."""

    action: str
    ok: bool
    text: str

    def apply(self, made: Changes) -> Changes:
        """Finish the call, and send its answer if the program still runs. Idempotent."""
        action = next((one for one in made.case.actions if one.id == self.action), None)
        if action is None:
            return made
        made = made.done(action)
        lease = made.case.leases.get(int(str(action.detail["fence"])))
        if lease is None or lease.state is not LeaseState.RUNNING or lease.mark != Mark.SPAWNED:
            return made
        return _answer(made, lease, int(str(action.detail["number"])), self.ok, self.text)


def _answer(made: Changes, lease: Lease, number: int, ok: bool, text: str) -> Changes:
    body = FleetAnswers(identity=identity_of(lease), number=number, ok=ok, text=text)
    return made.send(lease.node, body)
