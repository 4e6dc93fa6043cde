"""Parses the address of a coordinator on another machine: `ssh://[user@]host[:port][/home]`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import unquote, urlsplit

from pancode.kernel.errors import ConfigError

VARIABLE = "PANCODE_COORDINATOR"
_HOST = re.compile(r"[A-Za-z0-9_:.][A-Za-z0-9_:.-]*")
_USER = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@+-]*")


@dataclass(frozen=True, slots=True)
class RemoteAddress:
    """The address of a coordinator's machine. `home`: PANCODE_HOME there; empty: that login's default."""

    host: str
    user: str = ""
    port: int | None = None
    home: str = ""

    def words(self) -> list[str]:
        """Return the arguments for ssh. The host comes after `--`, so ssh never parses it as an option."""
        user = ["-l", self.user] if self.user else []
        return [*user, *(["-p", str(self.port)] if self.port else []), "--", self.host]

    def by_hand(self, rest: str) -> str:
        """Return the ssh command for a user to type. `rest`: a command there, or more options of ssh."""
        port = f"-p {self.port} " if self.port else ""
        return f"ssh {port}{self.user}{'@' if self.user else ''}{self.host} {rest}"


def read_address(text: str) -> RemoteAddress:
    """Parse an address. Raises ConfigError `bad_coordinator`, with the reason, for an invalid one."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as exc:
        _refuse(text, _explain_fault(text, exc))
    if parts.scheme != "ssh":
        _refuse(text, "the address must start with ssh://")
    if parts.password is not None:
        _refuse("", "the address contains a password; ssh asks for the password itself")
    if parts.query or parts.fragment:
        _refuse(text, "the address has a query or a fragment after the path")
    if not _HOST.fullmatch(host):
        _refuse(text, f"{host!r} is not a host name" if host else "the address has no host")
    user = unquote(parts.username or "")
    if user and not _USER.fullmatch(user):
        _refuse(text, f"{user!r} is not a user name")
    # keep the case of the host: a name in ~/.ssh/config may have capitals
    at = parts.netloc.lower().rfind(host)
    as_typed = parts.netloc[at : at + len(host)]
    return RemoteAddress(as_typed, user, port or None, _parse_home(text, parts.path))


def _parse_home(text: str, path: str) -> str:
    """Return the PANCODE_HOME in a path; `/~/x` is below the login's home folder, as in git's addresses."""
    home = unquote(path).rstrip("/")
    if "\0" in home or "\n" in home:
        _refuse(text, "the address contains a line break or a zero byte in its path")
    return home.removeprefix("/") if home.startswith("/~") else home


def _explain_fault(text: str, problem: ValueError) -> str:
    """Return the parser's reason, unless it may show part of a password (`#` can turn it into the port)."""
    return "the host or port of the address is invalid" if _mask_password(text) != text else str(problem)


def _mask_password(text: str) -> str:
    """Return the address with everything from the first colon after `//` to the last `@` masked."""
    login, at, rest = text.rpartition("@")
    scheme, slashes, named = login.rpartition("://") if login.count("://") == 1 else ("", "", login)
    user, colon, _ = named.partition(":")
    return f"{scheme}{slashes}{user}:***{at}{rest}" if at and colon else text


def _refuse(text: str, why: str) -> NoReturn:
    raise ConfigError(
        f"{VARIABLE}{f'={_mask_password(text)[:100]}' if text else ''} is not a coordinator address",
        why=why,
        fix=f"export {VARIABLE}=ssh://[user@]host[:port][/path-of-its-home], or: unset {VARIABLE}",
        code="bad_coordinator",
    )
