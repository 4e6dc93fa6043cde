"""Describes for people what a machine's sandbox enforces. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from node_agent.wire.policy import Isolation

HOLDS: Mapping[Isolation, str] = {
    Isolation.SANDBOX: "other files, the repository, processes, and the network where a run may not use it",
    Isolation.LANDLOCK: "other files, the repository, TCP; not UDP, not sockets; counts for no level",
    Isolation.OWN_UID: "files of other users; not the repository, not the network; counts for no level",
    Isolation.NONE: "nothing; what a runtime does not hold by itself is only told",
}
NOT_KNOWN = "not known: the machine has not reported"


def holds(isolation: str | None) -> str:
    """The kind of sandbox for the word in a machine's facts; None: no facts yet."""
    return NOT_KNOWN if isolation is None else HOLDS[Isolation(isolation)]
