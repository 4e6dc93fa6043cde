"""The ports of a test: the node's table of model servers, and a way to talk with one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from node_agent.passport.replies import Reply
from node_agent.wire.endpoint import EndpointFact


class ExamServer(Protocol):
    """One endpoint. `url`: without the `/v1`; `key`: empty for none; `ca`: a file. The key stays here."""

    @property
    def fact(self) -> EndpointFact: ...
    @property
    def url(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def ca(self) -> str | None: ...


class Servers(Protocol):
    """The node's own table. Safe from any thread; raises nothing."""

    def server(self, name: str) -> ExamServer | None:
        """The endpoint at the last look; None when there is none of that name now."""

    def look(self) -> None:
        """Look again, now; returns when that is done. Wakes and loads no model."""


class ServerUnreachable(Exception):
    """Nobody takes the connection; the message says how we know."""


class Chat(Protocol):
    """Asks one server, streamed, and leaves when its time is over. Raises Unreachable."""

    def ask(self, body: Mapping[str, Any], ms: int) -> Reply:
        """The reply within that time; `late` when there would have been more."""
