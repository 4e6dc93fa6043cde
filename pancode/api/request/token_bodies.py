"""Bodies of requests about tokens and browsers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pancode.api.request.bodies import ActBody, Body
from pancode.core.visitors import AccessScope, NewToken

TokenName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$")]
Scopes = Annotated[tuple[AccessScope, ...], Field(min_length=1, max_length=6)]
Lasts = Annotated[int, Field(ge=1_000, le=3_650 * 86_400_000)]


class TokenBody(ActBody):
    """A token that is to be made. `lasts_ms` null: it never expires. `item`: an inbox item, or its run."""

    name: TokenName
    scopes: Scopes = (AccessScope.READ,)
    lasts_ms: Lasts | None = None
    item: Annotated[str, Field(min_length=1, max_length=200)] | None = None

    def wanted(self) -> NewToken:
        scopes = (AccessScope.ANSWER,) if self.item is not None else self.scopes
        return NewToken(self.name, scopes, self.lasts_ms, self.item)


class WebCodeBody(ActBody):
    """What the browser may do that trades the code, and how long."""

    scopes: Scopes = (AccessScope.ADMIN,)
    lasts_ms: Lasts = 12 * 3_600_000


class WebSessionBody(Body):
    """The code of a browser."""

    code: Annotated[str, Field(min_length=1, max_length=200)]
