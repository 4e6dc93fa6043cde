"""Reads the listen addresses from the settings: for direct nodes, metrics and the API."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pancode.config.load import Loaded
from pancode.fleet.place import (
    ApiListener,
    ListenAddress,
    NodeListener,
    api_place_of,
    figures_place_of,
    make_node_listener,
    place_of,
)
from pancode.kernel.errors import ConfigError


def read_node_listener(loaded: Loaded) -> NodeListener | None:
    """Return the address for nodes that connect without a tunnel; None: disabled. ConfigError if invalid."""
    direct = loaded.settings.direct
    named = ("direct.listen", direct.listen), ("direct.advertise", direct.advertise)
    listen, shown = (place_of(text, loaded.origin(key)) if text is not None else None for key, text in named)
    return make_node_listener(listen, shown)


def figures_in(loaded: Loaded) -> ListenAddress | None:
    """Return the address of the metrics; None: disabled. ConfigError for an invalid address."""
    metrics = loaded.settings.metrics
    if metrics.listen is None:
        return None
    return replace(figures_place_of(metrics.listen, loaded.origin("metrics.listen")), names=metrics.hosts)


def read_api_listener(loaded: Loaded) -> ApiListener | None:
    """Return the API's TCP listener; None: disabled. ConfigError if others could read the traffic."""
    listener = loaded.settings.api
    if listener.listen is None:
        return None
    place = replace(api_place_of(listener.listen, loaded.origin("api.listen")), names=listener.hosts)
    cert, key = (Path(text).expanduser() if text else None for text in (listener.tls.cert, listener.tls.key))
    if (cert is None) != (key is None):
        missing = "api.tls.key" if key is None else "api.tls.cert"
        why = "TLS requires a certificate and its key"
        raise ConfigError(
            f"{missing} is not set", why=why, fix=f"set it to the path of the PEM file: {missing}: /path"
        )
    if cert is None and not place.is_local:
        raise ConfigError(
            f"{place.origin} opens the API to other nodes without TLS: {place}",
            why="anyone on the network could read the token and use it",
            fix="listen on 127.0.0.1 and connect through ssh -L, or set api.tls.cert and api.tls.key",
            code="tls_needed",
        )
    return ApiListener(place, cert, key)
