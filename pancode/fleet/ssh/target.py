"""Resolves an SSH alias to a machine, a user and keys, as the user's own ssh understands it."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pancode.fleet.ssh import directives as known
from pancode.fleet.ssh.errors import TargetError
from pancode.fleet.ssh.proxy import arguments
from pancode.fleet.ssh.sshconfig import Overrides, SshPlaces

MAX_HOPS = 8


@dataclass(frozen=True, slots=True)
class Target:
    """One SSH server and how to log in there. `hops` are the jump hosts, the first to dial first."""

    alias: str
    host: str
    port: int
    user: str
    identities: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    identities_only: bool = False
    agent_path: str | None = None
    hops: tuple[Target, ...] = ()
    proxy: tuple[str, ...] = ()
    """The command through which it is dialled (ProxyCommand); its host key is pinned all the same."""
    family: str = "any"
    bind_address: str | None = None
    algorithms: tuple[tuple[str, str], ...] = ()
    """(asyncssh's argument, OpenSSH's list) for ciphers, MACs, key exchange, host key algorithms."""
    warnings: tuple[str, ...] = ()
    """Settings of ssh for this alias that we do not honour, each with what that means."""

    @property
    def by_hand(self) -> str:
        """The words with which OpenSSH connects to it."""
        if self.hops or self.proxy:  # they are in its owner's configuration
            return f"ssh {self.alias}"
        return f"ssh -p {self.port} {self.user}@{self.host}"

    @property
    def endpoint(self) -> str:
        """The name under which a host key pin is kept."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def resolve(alias: str, overrides: Overrides, places: SshPlaces) -> Target:
    """The target of `alias`. Raises TargetError for what we cannot follow truly."""
    return _resolve(alias, overrides, places, (), jumps=True)


def _resolve(alias: str, given: Overrides, places: SshPlaces, seen: tuple[str, ...], jumps: bool) -> Target:
    if not alias or re.search(r"[\s\x00-\x1f\x7f*?!,/'\"`$;|<>\\]", alias) or alias.startswith("-"):
        raise TargetError(f"not a host name or alias: {alias!r}")
    if alias in seen or len(seen) > MAX_HOPS:
        raise TargetError(f"ProxyJump goes round: {' -> '.join((*seen, alias))}")
    found = places.ask(alias, given)
    known.refuse(alias, found)
    one = {key: values[0] for key, values in found.items()}
    host, port, user = one["hostname"].strip("[]"), int(one["port"]), one["user"]
    tokens = _Tokens(alias, host, port, user, places)
    lists, without = known.algorithms(alias, one, places.defaults)
    named = () if given.identity else found.get("identityfile", ())
    command = one.get("proxycommand", "") if jumps else ""
    return Target(
        alias,
        host,
        port,
        user,
        identities=(given.identity,) if given.identity else tokens.paths(named),
        certificates=tokens.paths(found.get("certificatefile", ())),
        identities_only=bool(given.identity) or one.get("identitiesonly") == "yes",
        agent_path=tokens.agent(one.get("identityagent", "SSH_AUTH_SOCK")),
        hops=_hops(one.get("proxyjump", "") if jumps else "", places, (*seen, alias)),
        proxy=arguments(command, alias, tokens.values, places.home),
        family=one.get("addressfamily", "any"),
        bind_address=one.get("bindaddress"),
        algorithms=lists,
        warnings=(*known.warnings(alias, one), *without),
    )


class _Tokens:
    """Fills in what ssh says with its tokens, variables and `~` unfilled."""

    def __init__(self, alias: str, host: str, port: int, user: str, places: SshPlaces) -> None:
        self.alias, self.places = alias, places
        self.values: Mapping[str, str] = {
            "d": str(places.home),
            "h": host,
            "i": str(os.getuid()),
            "n": alias,
            "p": str(port),
            "r": user,
            "u": getpass.getuser(),
        }

    def paths(self, texts: tuple[str, ...]) -> tuple[str, ...]:
        """The files in their order, each once; `none` is no file."""
        return tuple(dict.fromkeys(self._path(text) for text in texts if text.lower() != "none"))

    def agent(self, text: str) -> str | None:
        """The socket of the SSH agent; None: none."""
        if text.lower() == "none":
            return None
        if text == "SSH_AUTH_SOCK" or re.fullmatch(r"\$[A-Za-z_][A-Za-z0-9_]*", text):
            return self.places.environ.get(text.removeprefix("$")) or None
        return self._path(text)

    def _path(self, text: str) -> str:
        def token(match: re.Match[str]) -> str:
            if match[1] == "%":
                return "%"
            if match[1] not in self.values:
                raise TargetError(
                    f"ssh -G {self.alias}: PanCode does not know the token %{match[1]} in {text}"
                )
            return self.values[match[1]]

        def variable(match: re.Match[str]) -> str:
            if match[1] not in self.places.environ:
                raise TargetError(f"ssh -G {self.alias}: ${{{match[1]}}} is not set")
            return self.places.environ[match[1]]

        filled = re.sub(r"\$\{([^}]+)\}", variable, re.sub(r"%(.)", token, text))
        return str(self.places.home) + filled[1:] if re.match(r"~(/|$)", filled) else filled


def _hops(text: str, places: SshPlaces, seen: tuple[str, ...]) -> tuple[Target, ...]:
    """`a,b` dials a, then b. Only the first one's own ProxyJump is followed, as ssh does."""
    out: list[Target] = []
    for index, hop in enumerate(text.split(",") if text else ()):
        match = re.fullmatch(r"(?:ssh://)?(?:([^@\s]+)@)?(\[[^\]]+\]|[^:@\s\[\]]+)(?::(\d+))?/?", hop.strip())
        if match is None:
            raise TargetError(f"ssh -G {seen[-1]}: PanCode does not understand the jump host {hop!r}")
        given = Overrides(user=match[1], port=int(match[3]) if match[3] else None)
        found = _resolve(match[2].strip("[]"), given, places, seen, jumps=index == 0)
        out += [*found.hops, found]
    return tuple(out)
