"""The body of a signed request: the bytes as they came, and the headers with the signature."""

from __future__ import annotations

from starlette.requests import Request

from pancode.api.request.bodies import Body
from pancode.errors import UsageError
from pancode.notices.incoming import HEADERS, MOST_BYTES, HookCall


class SignedBody(Body):
    """Never read as JSON: a signature is of bytes, and their text is used for nothing."""

    raw: bytes
    headers: dict[str, str]

    @staticmethod
    async def of(request: Request) -> SignedBody:
        raw = await bytes_of(request, MOST_BYTES)
        headers = {name: request.headers[name] for name in HEADERS if name in request.headers}
        return SignedBody(raw=raw, headers=headers)

    def signed(self) -> HookCall:
        return HookCall(self.headers, self.raw)


async def bytes_of(request: Request, most: int) -> bytes:
    """The whole body. UsageError for one that is larger; no more of it is kept."""
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > most:
            raise UsageError(f"the request is larger than {most} bytes", fix="send less", code="too_large")
    return bytes(raw)
