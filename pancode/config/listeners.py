"""Reads the listen addresses from the settings: for metrics and the API."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pancode.config.load import Loaded
from pancode.fleet.place import ApiListener, ListenAddress, place_of
from pancode.kernel.errors import ConfigError


def figures_in(loaded: Loaded) -> ListenAddress | None:
    """Return the address of the metrics; None: disabled. ConfigError for an invalid address."""
    metrics = loaded.settings.metrics
    if metrics.listen is None:
        return None
    place = place_of(metrics.listen, loaded.origin("metrics.listen"), "metrics.listen: 127.0.0.1:9464")
    return replace(place, names=metrics.hosts)


def read_api_listener(loaded: Loaded) -> ApiListener | None:
    """Return the API's TCP listener; None: disabled. ConfigError if others could read the traffic."""
    listener = loaded.settings.api
    if listener.listen is None:
        return None
    origin, example = loaded.origin("api.listen"), "api.listen: 127.0.0.1:7433"
    place = replace(place_of(listener.listen, origin, example, least=0), names=listener.hosts)
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
