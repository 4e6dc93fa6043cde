"""The settings of forges, by host: the kind, the API's address, the name of the token."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pancode.code.landing.forge import ForgeAccess, ForgeKind
from pancode.config.secrets import SecretShownError

_SECRET = re.compile(r"secret:([A-Za-z0-9][A-Za-z0-9_-]{0,62})")


def _named(text: str) -> str:
    """ValueError for a token itself."""
    if not _SECRET.fullmatch(text):
        raise SecretShownError("a token is only named: token: secret:forge. Fix: pancode notify secret forge")
    return text


def _api(text: str) -> str:
    """ValueError for an address where a token would travel in the clear, and for one with a login."""
    parts = urlsplit(text)
    if not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment or not text.isprintable():
        raise SecretShownError("the address of an API is written as https://git.example.org/api/v1")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_here(parts.hostname)):
        raise ValueError("a token travels by https:// only, but for this machine itself")
    return text


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class ForgeSettings(BaseModel):
    """A forge. `token`: `secret:NAME`. Without `url` the API is at its usual place on the host, by HTTPS."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    token: Annotated[str, AfterValidator(_named)]
    kind: Annotated[ForgeKind | None, Field(strict=False)] = None
    url: Annotated[str, AfterValidator(_api)] | None = None

    def access(self) -> ForgeAccess:
        """The form that decisions take."""
        return ForgeAccess(self.token.removeprefix("secret:"), self.kind, self.url)
