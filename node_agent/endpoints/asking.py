"""Asks one server over HTTP, with a short patience: the effect behind `answers.Ask`."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING

from node_agent.chat.client import first_of
from node_agent.endpoints.answers import ServerReply, Silent
from node_agent.endpoints.places import EndpointAddress
from node_agent.endpoints.trust import context_of, unbelieved
from node_agent.wire.clock import Clock

if TYPE_CHECKING:
    import httpx2

HERE_S, NEAR_S, READ_S = 0.5, 1.0, 2.0
MOST_BYTES = 4 << 20


class Http:
    """A connection for each question: a server that is restarted is never asked over an old one."""

    def __init__(self, place: EndpointAddress, key: str, clock: Clock) -> None:
        self._place, self._key, self._clock = place, key, clock

    def get(self, path: str) -> ServerReply:
        return self._ask("GET", path, None)

    def post(self, path: str, body: Mapping[str, object]) -> ServerReply:
        return self._ask("POST", path, body)

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None) -> ServerReply:
        import httpx2  # where there is a server: most nodes have none

        place, until = self._place, self._clock.mono_ms() + int(READ_S * 1000)
        limit = httpx2.Timeout(READ_S, connect=HERE_S if place.is_here else NEAR_S)
        tls = context_of(place) if place.tls else False
        try:
            with (
                httpx2.Client(verify=tls, trust_env=False, timeout=limit) as client,
                client.stream(method, f"{place.url}{path}", json=body, headers=self._headers()) as answer,
            ):
                return ServerReply(
                    answer.status_code, self._read(answer, until), answer.headers.get("server", "")
                )
        except httpx2.ConnectError as exc:
            raise _unreached(place, exc) from exc
        except httpx2.ConnectTimeout as exc:
            raise Silent("cannot be reached: timed out") from exc
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as exc:
            raise Silent(f"does not answer {path}: {str(exc) or type(exc).__name__}") from exc

    def _headers(self) -> dict[str, str]:
        own = {"accept": "application/json"}
        return {**own, "authorization": f"Bearer {self._key}"} if self._key else own

    def _read(self, answer: httpx2.Response, until: int) -> bytes:
        """Read the whole answer in time: a slow server must not keep a thread."""
        data = bytearray()
        for piece in answer.iter_bytes():
            data += piece
            if len(data) > MOST_BYTES or self._clock.mono_ms() > until:
                raise ValueError("the answer is too long, or takes too long")
        return bytes(data)


def _unreached(place: EndpointAddress, exc: BaseException) -> Silent:
    first = first_of(exc)
    if isinstance(first, ssl.SSLError):
        return unbelieved(place, first)
    return Silent(f"cannot be reached: {first}", isinstance(first, ConnectionRefusedError))
