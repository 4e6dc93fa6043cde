"""Chooses the authority for a server over TLS, and the advice when its certificate is not believed."""

from __future__ import annotations

import ssl

from node_agent.endpoints.answers import Silent
from node_agent.endpoints.places import EndpointAddress
from node_agent.link.trusting import believing

NOT_NOW, OTHER_NAME = (9, 10), (62, 64)
"""OpenSSL's numbers: a certificate that is not yet or no longer good, and one of another name or address."""


def context_of(place: EndpointAddress) -> ssl.SSLContext:
    """The TLS context with the owner's file, else with the machine's authorities. Silent when the file is
    useless."""
    try:
        return believing(place.ca)
    except ssl.SSLError as exc:
        words, fix = f"{place.ca} holds no certificate", "write the authority's certificate there, as PEM"
        raise Silent(f"is not asked: {words}", fix=fix) from exc
    except OSError as exc:
        words = f"{place.ca} cannot be read ({exc.strerror})"
        fix = "give the node's user its authority's certificate there, or name another file as \"ca\""
        raise Silent(f"is not asked: {words}", fix=f"{fix} in endpoints.json of the node") from exc


def unbelieved(place: EndpointAddress, exc: ssl.SSLError) -> Silent:
    """A handshake that failed, in words."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return Silent(f"is not believed: {exc.verify_message}", fix=_fix(place, exc.verify_code))
    if exc.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
        return Silent("speaks no TLS", fix=f"write {place.url.replace('https', 'http', 1)} as its url")
    return Silent(f"cannot be reached over TLS: {exc.reason or exc}")


def _fix(place: EndpointAddress, code: int) -> str:
    if code in NOT_NOW:
        return "renew its certificate, or set the clock of this node"
    if code in OTHER_NAME:
        return f"write a name that its certificate has into its url, in the place of {place.host}"
    if place.ca:
        return f"put the certificate of the authority that signed it into {place.ca}"
    ca = f"/etc/ssl/{place.name or place.host}.pem"
    return f'name the file of its own authority, "ca": "{ca}", beside its url in endpoints.json of the node'
