"""Queries one model server over HTTP, with a short timeout; does not trust its answers."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from node_agent.chat.client import first_of
from node_agent.endpoints.places import EndpointAddress
from node_agent.link.trusting import make_tls_context
from node_agent.wire.clock import Clock
from node_agent.wire.model import MOST

WORD_CHARS = 200
_SIZES = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


class Silent(Exception):
    """The server did not answer in time. `refused`: nothing listens there; `fix`: the remedy, if known."""

    def __init__(self, words: str, refused: bool = False, fix: str = "") -> None:
        super().__init__(words)
        self.refused, self.fix = refused, fix


class Mismatch(Exception):
    """The answer does not have the form that the server's known kind would give."""


@dataclass(frozen=True)
class ServerReply:
    """A server's answer. `server`: the `Server` header. The status is unreliable: some always send 200."""

    status: int
    body: bytes
    server: str = ""

    @cached_property
    def value(self) -> Any:
        """Return the answer's JSON; None if it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def fields(self) -> Mapping[str, Any]:
        """Return the fields of a valid answer; empty for any other."""
        return self.value if self.status == 200 and isinstance(self.value, dict) else {}

    @property
    def error(self) -> Any:
        """Return the error in the answer's body; None if there is no error."""
        return self.value.get("error") if isinstance(self.value, dict) else None


class ServerClient(Protocol):
    """Queries one server without changing anything on it. Raises Silent."""

    def get(self, path: str) -> ServerReply:
        """Send a GET request for this path."""

    def post(self, path: str, body: Mapping[str, object]) -> ServerReply:
        """Send one of the few queries that need POST, which change nothing on the server either."""


def read_items(value: object, name: str) -> list[Mapping[str, Any]]:
    """Return the objects in the list of that name. Raises Mismatch if there is no such list."""
    found = value.get(name) if isinstance(value, Mapping) else None
    if not isinstance(found, list):
        raise Mismatch(f"no list {name!r}")
    return [one for one in found if isinstance(one, dict)]


def read_object(value: object, *names: str) -> Mapping[str, Any]:
    """Return the object at the path of these names; empty if there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def read_text(value: Mapping[str, Any], name: str) -> str | None:
    """Return a text, truncated to fit a heartbeat; None if it is missing, empty or not text."""
    found = value.get(name)
    return (found.strip()[:WORD_CHARS] or None) if isinstance(found, str) else None


def read_count(value: Mapping[str, Any], name: str) -> int | None:
    """Return a count; None for any other value."""
    found = value.get(name)
    whole = isinstance(found, int) and not isinstance(found, bool)
    return found if whole and found is not None and 0 <= found <= MOST else None


def read_flag(value: Mapping[str, Any], name: str) -> bool | None:
    found = value.get(name)
    return found if isinstance(found, bool) else None


def size_of(text: str | None) -> int | None:
    """Return `8.0B`, `135M` or `8x7B` as a number of parameters; None for other texts."""
    found = re.fullmatch(r"(?:(\d+)x)?(\d+(?:\.\d+)?)([KMBT])", (text or "").strip().upper())
    if found is None:
        return None
    return round(int(found[1] or 1) * float(found[2]) * _SIZES[found[3]])


def makes_vectors(model: str) -> bool:
    """Whether the model's name is that of an embedding model, for servers that do not report the purpose."""
    return re.search(r"embed|rerank|(?:^|[-/_])bge[-_]", model.lower()) is not None


NOT_NOW, OTHER_NAME = (9, 10), (62, 64)
"""OpenSSL's error codes for a certificate that is not valid now, and for one of another name or address."""


def context_of(place: EndpointAddress) -> ssl.SSLContext:
    """Return the TLS context with the owner's file or, without one, this computer's authorities. Raises
    Silent if the file is unusable."""
    try:
        return make_tls_context(place.ca)
    except ssl.SSLError as exc:
        words, fix = (
            f"{place.ca} contains no certificate",
            ("write the certificate of the authority to that file, as PEM"),
        )
        raise Silent(f"is not queried: {words}", fix=fix) from exc
    except OSError as exc:
        words = f"{place.ca} cannot be read ({exc.strerror})"
        fix = 'make that file readable for the node\'s user, or name another certificate file as "ca"'
        raise Silent(f"is not queried: {words}", fix=f"{fix} in endpoints.json on the node") from exc


def handshake_error(place: EndpointAddress, exc: ssl.SSLError) -> Silent:
    """Return a failed handshake as Silent, with its reason."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return Silent(f"is not trusted: {exc.verify_message}", fix=_describe_fix(place, exc.verify_code))
    if exc.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
        return Silent("speaks no TLS", fix=f"set its url to {place.url.replace('https', 'http', 1)}")
    return Silent(f"cannot be reached over TLS: {exc.reason or exc}")


def _describe_fix(place: EndpointAddress, code: int) -> str:
    if code in NOT_NOW:
        return "renew its certificate, or set the clock of this node"
    if code in OTHER_NAME:
        return f"in the server's url, replace {place.host} by a name from its certificate"
    if place.ca:
        return f"put the certificate of the authority that signed the server's certificate into {place.ca}"
    ca = f"/etc/ssl/{place.name or place.host}.pem"
    return (
        f'set "ca": "{ca}", the certificate file of the server\'s authority, next to its url in '
        "endpoints.json of the node"
    )


HERE_S, NEAR_S, READ_S = 0.5, 1.0, 2.0
MOST_BYTES = 4 << 20


class Http:
    """Opens a new connection for each query, so that a restarted server is never queried over an old one."""

    def __init__(self, place: EndpointAddress, key: str, clock: Clock) -> None:
        self._place, self._key, self._clock = place, key, clock

    def get(self, path: str) -> ServerReply:
        return self._ask("GET", path, None)

    def post(self, path: str, body: Mapping[str, object]) -> ServerReply:
        return self._ask("POST", path, body)

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None) -> ServerReply:
        import httpx2  # imported only if there is a server: most nodes have none

        headers = {"accept": "application/json"}
        headers |= {"authorization": f"Bearer {self._key}"} if self._key else {}
        place, until = self._place, self._clock.mono_ms() + int(READ_S * 1000)
        limit = httpx2.Timeout(READ_S, connect=HERE_S if place.is_here else NEAR_S)
        tls = context_of(place) if place.tls else False
        try:
            with (
                httpx2.Client(verify=tls, trust_env=False, timeout=limit) as client,
                client.stream(method, f"{place.url}{path}", json=body, headers=headers) as answer,
            ):
                # the whole answer must arrive in time: a slow server must not block a thread
                data = bytearray()
                for piece in answer.iter_bytes():
                    data += piece
                    if len(data) > MOST_BYTES or self._clock.mono_ms() > until:
                        raise ValueError("the answer is too long or takes too long")
                return ServerReply(answer.status_code, bytes(data), answer.headers.get("server", ""))
        except httpx2.ConnectError as exc:
            raise _make_unreached_error(place, exc) from exc
        except httpx2.ConnectTimeout as exc:
            raise Silent("cannot be reached: timed out") from exc
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as exc:
            raise Silent(f"does not answer {path}: {str(exc) or type(exc).__name__}") from exc


def _make_unreached_error(place: EndpointAddress, exc: BaseException) -> Silent:
    first = first_of(exc)
    if isinstance(first, ssl.SSLError):
        return handshake_error(place, first)
    return Silent(f"cannot be reached: {first}", isinstance(first, ConnectionRefusedError))
