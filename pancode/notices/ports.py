"""What deliveries need of the world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pancode.notices.routing import NotifyRules


class OutgoingPort(Protocol):
    """Settings, secrets, and what sends. Each send takes half a minute at most."""

    def rules(self) -> NotifyRules:
        """The settings of notices as the files are now. ConfigError names file and key."""

    def secret(self, name: str) -> str:
        """A value that is kept by its name. NotFoundError with the command that keeps it."""

    def notify(self, address: str, notice: Mapping[str, Any]) -> None:
        """One notice, to an address in Apprise's words. UnavailableError without the address in its words."""

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> str:
        """The answer's status in words. UnavailableError if it is not 2xx, RefusedError for the address."""


@dataclass(frozen=True, slots=True)
class DeliveryTry:
    """How a try has ended. `final`: another one would end the same."""

    ok: bool
    status: str
    final: bool = False
