"""The depot's server for nodes: the ledger decides what a stream may do, when it says hello."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from node_agent.wire.clock import Ids
from pancode.code.git.depot import Depot
from pancode.code.git.depot_server import DepotParts, DepotServer, Grant, Refusal, StreamEnd, grant_for
from pancode.code.git.streams import LogStreams
from pancode.control.core import Core
from pancode.errors import UnavailableError
from pancode.runs.grant import StreamDenial, authorize, note_wait

log = logging.getLogger("pancode.depot")


def depot_server(path: Path, depot: Depot, streams: LogStreams, core: Core, ids: Ids) -> DepotServer:
    """Serves nodes on that socket; refusals and broken streams go to the log."""

    def judge(line: bytes, nonce: str) -> Grant | Refusal:
        verdict = authorize(core, line, nonce)
        if isinstance(verdict, StreamDenial):
            log.warning("depot: %s", verdict.why)
            return Refusal(verdict.why)
        return grant_for(verdict.verb, verdict.identity, verdict.repo or None)

    def ended(end: StreamEnd) -> None:
        if end.problem:
            log.warning("depot stream %s: %s", end.grant.identity if end.grant else "?", end.problem)

    def held_up(grant: Grant, why: str) -> None:
        log.warning("depot: %s: %s", grant.identity, why)
        with suppress(UnavailableError):  # the ledger's disk may be the same
            note_wait(core, grant.identity.run, why)

    return DepotServer(path, DepotParts(depot, streams, judge, ids, ended, held_up))
