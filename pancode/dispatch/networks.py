"""Lists what each phase of a run would reach, by its policy and its candidate nodes. Pure."""

from __future__ import annotations

from node_agent.wire.policy import Isolation, NetworkAccess, narrowest
from pancode.dispatch.resolve import Resolution

_MACHINE, _NOTHING = "what the machine reaches", "nothing"


def networks(resolution: Resolution) -> dict[str, str]:
    """The networks by phase, only for the phases that the run has."""
    access = narrowest(resolution.rules.network)
    rest = _MACHINE if access is NetworkAccess.MACHINE else _NOTHING
    by_phase = {"the agent": rest if resolution.runtime.own else _agent(resolution, access)}
    if resolution.setup:
        by_phase["set-up"] = rest
    if resolution.gates:
        by_phase["gates"] = rest
    return by_phase


def _agent(resolution: Resolution, access: NetworkAccess) -> str:
    """The agent reaches only its model, if it is in a sandbox and a gateway holds its key; else nothing
    limits it."""
    if access is NetworkAccess.GATEWAY:
        return "its model alone, through the gateway"
    fitting = [one for one in resolution.candidates if one.fits]
    bare = [one.name for one in fitting if one.isolation is not Isolation.SANDBOX]
    if fitting and len(bare) == len(fitting):
        return f"{_MACHINE}: there is no sandbox on {', '.join(bare)}"
    open_ = f"; on {', '.join(bare)}, without a sandbox, {_MACHINE}" if bare else ""
    return f"its model alone where the gateway holds its key; by a login of its own {_MACHINE}{open_}"
