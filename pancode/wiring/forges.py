"""Puts together what opens pull requests: settings and tokens of the home, HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from node_agent.wire.clock import SystemClock
from pancode.code.forge.forges import HttpForges
from pancode.code.landing.forge import ForgeAccess
from pancode.config.load import ConfigPlaces, load
from pancode.config.presets import NO_PRESET
from pancode.notices.delivery.sender import KeptSecrets


def forges_of(root: Path, environ: Mapping[str, str], secrets: KeptSecrets) -> HttpForges:
    """The files are read at each call: those of the user, never those of a repository."""

    def read() -> Mapping[str, ForgeAccess]:
        settings = load(ConfigPlaces(root), environ, preset=NO_PRESET).settings
        return {host.lower(): one.access() for host, one in settings.forge.items()}

    return HttpForges(read, secrets.read, SystemClock())
