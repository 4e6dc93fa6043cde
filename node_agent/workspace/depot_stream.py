"""Opens an authenticated stream to the depot: connect, answer the nonce with a signed hello."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node_agent.link.direct import Secure, dial
from node_agent.wire.identity import AttemptId
from node_agent.wire.node import Verb
from node_agent.workspace.errors import DepotRefused, DepotUnavailable

LINE_MAX = 16 * 1024
Address = Path | tuple[str, int] | Secure
"""A unix socket, or host and port where sshd forbids forwarding those; or the coordinator by TLS."""
SignHello = Callable[[str, Verb, AttemptId], bytes]
"""(nonce, verb, identity) -> the signed hello, one line without its end."""


@dataclass(frozen=True, slots=True)
class DepotAccess:
    """The depot's address (None: no link is up), the signing key, and the time-out of its words (seconds)."""

    address: Callable[[], Address | None]
    sign: SignHello
    patience_s: float = 30.0

    def open(self, verb: Verb, identity: AttemptId) -> socket.socket:
        """A granted stream. DepotUnavailable: try again later; DepotRefused: it never will be."""
        peer, nonce = self.greeted()
        try:
            send(peer, self.sign(nonce, verb, identity) + b"\n")
            must_agree(read_line(peer))
        except BaseException:
            peer.close()
            raise
        return peer

    def greeted(self) -> tuple[socket.socket, str]:
        """Connected, and the nonce by which a depot is known. DepotUnavailable."""
        address = self.address()
        if address is None:
            raise DepotUnavailable("no link to the coordinator is up")
        try:
            peer = self._connect(address)
        except OSError as exc:
            raise DepotUnavailable(f"the depot cannot be reached: {exc}") from exc
        try:
            nonce = read_line(peer).get("nonce")
            if not isinstance(nonce, str):
                raise DepotUnavailable("the server there is not a depot")
        except BaseException:
            peer.close()
            raise
        return peer, nonce

    def _connect(self, address: Address) -> socket.socket:
        if isinstance(address, Secure):
            return dial(address, self.patience_s)
        family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
        peer = socket.socket(family)
        peer.settimeout(self.patience_s)
        try:
            peer.connect(str(address) if isinstance(address, Path) else address)
        except OSError:
            peer.close()
            raise
        return peer


def read_line(peer: socket.socket) -> Mapping[str, Any]:
    """One JSON object, and not a byte more: what follows belongs to git. DepotUnavailable at its end."""
    seen = b""
    try:
        while not seen.endswith(b"\n") and len(seen) < LINE_MAX:
            byte = peer.recv(1)
            if not byte:
                raise DepotUnavailable("the depot closed the stream")
            seen += byte
        answer = json.loads(seen)
    except (OSError, ValueError) as exc:
        raise DepotUnavailable(f"the depot's answer did not come: {exc}") from exc
    if not isinstance(answer, dict):
        raise DepotUnavailable("the server there is not a depot")
    return answer


def must_agree(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The answer itself when it is yes."""
    if answer.get("ok") is True:
        return answer
    why = str(answer.get("why"))
    if answer.get("retry") is True:
        raise DepotUnavailable(f"the depot says: {why}")
    raise DepotRefused(f"the depot refused: {why}")


def send(peer: socket.socket, data: bytes | memoryview) -> None:
    try:
        peer.sendall(data)
    except OSError as exc:
        raise DepotUnavailable(f"the stream to the depot broke: {exc}") from exc


def ask(peer: socket.socket, **request: object) -> Mapping[str, Any]:
    """One request and its answer."""
    send(peer, json.dumps(request, separators=(",", ":")).encode() + b"\n")
    return must_agree(read_line(peer))


def hang_up(peer: socket.socket) -> None:
    with suppress(OSError):
        peer.shutdown(socket.SHUT_RDWR)
    peer.close()
