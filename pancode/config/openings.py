"""Reads from the settings where this machine is to listen: for nodes with direct links, for its figures."""

from __future__ import annotations

from dataclasses import replace

from pancode.config.load import Loaded
from pancode.domain.place import Doorway, ListenAddress, doorway_of, figures_place_of, place_of


def direct_in(loaded: Loaded) -> Doorway | None:
    """The address for direct nodes; None: nowhere. ConfigError for an address that is none."""
    direct = loaded.settings.direct
    named = ("direct.listen", direct.listen), ("direct.advertise", direct.advertise)
    listen, shown = (place_of(text, loaded.origin(key)) if text is not None else None for key, text in named)
    return doorway_of(listen, shown)


def figures_in(loaded: Loaded) -> ListenAddress | None:
    """The address of the figures; None: nowhere. ConfigError for an address that is none."""
    metrics = loaded.settings.metrics
    if metrics.listen is None:
        return None
    return replace(figures_place_of(metrics.listen, loaded.origin("metrics.listen")), names=metrics.hosts)
