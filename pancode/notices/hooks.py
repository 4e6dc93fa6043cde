"""The coordinator's part for notices: the threads that deliver notices and send traces."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pancode.config.schema import Telemetry
from pancode.fleet.answers import TroubleShape
from pancode.fleet.part import CoordinatorPart
from pancode.kernel.errors import ConfigError
from pancode.notices.deliverer import Outgoing
from pancode.notices.store import OutgoingPort, TokensPort
from pancode.notices.traces.exporter import Tracing
from pancode.runs.core import Core
from pancode.runs.unit_of_work import unit_of_work

log = logging.getLogger("pancode.telemetry")


class Notices(CoordinatorPart):
    """What the coordinator sends to external services."""

    def __init__(self, core: Core, port: OutgoingPort, tokens: TokensPort, telemetry: Telemetry) -> None:
        self._outgoing = Outgoing(core, port, tokens)
        self.threads = (self._outgoing, *make_tracing(core, telemetry))

    @property
    def troubles(self) -> Sequence[TroubleShape]:
        """Return the failed deliveries."""
        why, fix = "its last message was not delivered", "pancode admin notify"
        return [{"what": words, "why": why, "fix": fix} for words in self._outgoing.troubles]


def make_tracing(core: Core, telemetry: Telemetry) -> tuple[Tracing, ...]:
    """Return the threads that send traces; empty, without importing OpenTelemetry, if no endpoint is set. If
    OpenTelemetry is missing, only log, audit and `doctor` report it."""
    if telemetry.endpoint is None:
        return ()
    from pancode.notices.traces.otlp import OtlpExport

    try:
        export = OtlpExport(telemetry.endpoint, core.fleet)
    except ConfigError as missing:
        log.warning("no traces are sent: %s; fix: %s", missing.words, missing.fix)
        with unit_of_work(core) as work:
            work.audit("config", "warning", "no traces are sent", None, why=missing.words, fix=missing.fix)
        return ()
    return (Tracing(core, export, telemetry.tasks),)
