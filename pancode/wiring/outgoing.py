"""Puts together what tells the world outside: settings and secrets of the home, Apprise, HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pancode.config.load import ConfigPlaces, load
from pancode.config.presets import NO_PRESET
from pancode.control.core import Core
from pancode.notices.delivery.sender import KeptSecrets, Sender
from pancode.notices.routing import NotifyRules
from pancode.notices.sending import Outgoing
from pancode.wiring.home import Home


class OutgoingParts:
    """`sending` is the thread; `rules` are read of the files each time."""

    def __init__(self, root: Path, environ: Mapping[str, str], core: Core) -> None:
        self._root, self._environ = root, environ
        self.secrets = KeptSecrets(Home(root).secrets)
        self.sender = Sender(self.rules, self.secrets)
        self.sending = Outgoing(core, self.sender)

    def shown(self) -> list[dict[str, str]]:
        """The failed deliveries for `fleet status`."""
        fix = "pancode notify ls; pancode webhook ls"
        return [
            {"what": words, "why": "its last message did not arrive", "fix": fix}
            for words in self.sending.troubles
        ]

    def rules(self) -> NotifyRules:
        """ConfigError names file and key."""
        settings = load(ConfigPlaces(self._root), self._environ, preset=NO_PRESET).settings
        return settings.notify.routes(is_open=settings.api.listen is not None)
