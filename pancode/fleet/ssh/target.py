"""Resolves an SSH alias to a machine, a user and keys, as OpenSSH's configuration says."""

from __future__ import annotations

import getpass
import glob
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pancode.fleet.ssh import directives as known
from pancode.fleet.ssh.errors import TargetError
from pancode.fleet.ssh.proxy import arguments
from pancode.fleet.ssh.sshconfig import ConfigReader, Directive, MatchFacts

MAX_HOPS = 8


@dataclass(frozen=True, slots=True)
class Overrides:
    """The node's settings of the command line; they win over every file."""

    host: str | None = None
    user: str | None = None
    port: int | None = None
    identity: str | None = None


@dataclass(frozen=True, slots=True)
class SshPlaces:
    """The SSH configuration files; `environ` is the caller's, so that the caller's SSH agent is used."""

    home: Path
    local_user: str
    files: tuple[tuple[Path, Path], ...]
    """(configuration file, folder that its relative Includes start from), first value wins."""
    environ: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, environ: Mapping[str, str], config: Path | None = None) -> SshPlaces:
        """The user's and the system's files; `config` replaces both, like `ssh -F`."""
        home = Path(environ.get("HOME") or Path.home())
        files: tuple[tuple[Path, Path], ...] = (
            (home / ".ssh/config", home / ".ssh"),
            (Path("/etc/ssh/ssh_config"), Path("/etc/ssh")),
        )
        return cls(home, getpass.getuser(), ((config, home / ".ssh"),) if config else files, dict(environ))


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
    """Directives that apply and that we do not honour, each with its place and what that means."""
    ignored: tuple[str, ...] = ()
    """Names of the directives that have no meaning for us (we set our own keepalive, forwards, ...)."""

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
    """The target of `alias`. Raises TargetError, with file and line, for what we cannot follow truly."""
    return _resolve(alias, overrides, places, (), jumps=True)


def _resolve(alias: str, given: Overrides, places: SshPlaces, seen: tuple[str, ...], jumps: bool) -> Target:
    _check_name(alias)
    if alias in seen or len(seen) > MAX_HOPS:
        raise TargetError(f"ProxyJump goes round: {' -> '.join((*seen, alias))}")
    found = directives(alias, given, places)
    one = {d.keyword: d for d in reversed(found)}
    known.refuse(alias, found, host_given=given.host is not None)
    host = given.host or _expanded(one.get("hostname"), {"h": alias, "n": alias}) or alias
    user = given.user or _first(one.get("user")) or places.local_user
    port = given.port or _port(one.get("port"))
    tokens = _tokens(alias, host, port, user, places)
    way = _way(found) if jumps else None
    command = way is not None and way.keyword == "proxycommand"
    lists, without = known.algorithms(one)
    return Target(
        alias,
        host,
        port,
        user,
        identities=(given.identity,) if given.identity else _paths(found, "identityfile", tokens, places),
        certificates=_paths(found, "certificatefile", tokens, places),
        identities_only=bool(given.identity) or _first(one.get("identitiesonly")) == "yes",
        agent_path=_agent(one.get("identityagent"), tokens, places),
        hops=_hops(None if command else way, places, (*seen, alias)),
        proxy=arguments(way, tokens, places.home) if way is not None and command else (),
        family=_first(one.get("addressfamily")) or "any",
        bind_address=_first(one.get("bindaddress")) or None,
        algorithms=lists,
        warnings=(*known.warnings(found), *without),
        ignored=known.ignored(found),
    )


def directives(alias: str, given: Overrides, places: SshPlaces) -> list[Directive]:
    """All that apply to the alias, in order; read twice when a `Match final` asks for it, as ssh does."""
    facts = MatchFacts(alias, places.local_user, hostname=given.host or "", user=given.user or "")
    _read_all(facts, places)
    if facts.wants_final:
        first = facts.found
        facts = MatchFacts(alias, places.local_user, facts.hostname, facts.user, final=True)
        _read_all(facts, places)
        facts.found = first + [d for d in facts.found if d not in first]
    return facts.found


def _read_all(facts: MatchFacts, places: SshPlaces) -> None:
    for path, base in places.files:
        if path.is_file():
            ConfigReader(facts, _read, partial(_included, base=base, places=places)).walk(str(path))


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise TargetError(f"cannot read {path}", why=str(error)) from error


def _included(pattern: str, base: Path, places: SshPlaces) -> tuple[str, ...]:
    if re.search(r"%.|\$\{", pattern):  # an ssh of today passes over it, one of tomorrow may read it
        raise TargetError(
            f"cannot tell which files `Include {pattern}` names",
            why="another machine could be meant than you think",
            fix="write the path without a token or a variable",
        )
    pattern = _home(pattern, places)
    return tuple(sorted(p for p in glob.glob(os.path.join(base, pattern)) if os.path.isfile(p)))


def _check_name(alias: str) -> None:
    if not alias or re.search(r"[\s\x00-\x1f\x7f*?!,/'\"`$;|<>\\]", alias) or alias.startswith("-"):
        raise TargetError(f"not a host name or alias: {alias!r}")


def _first(directive: Directive | None) -> str:
    return directive.args[0] if directive else ""


def _expanded(directive: Directive | None, tokens: Mapping[str, str]) -> str:
    return _fill(directive.args[0], tokens, directive.where) if directive else ""


def _fill(text: str, tokens: Mapping[str, str], where: str) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] == "%":
            return "%"
        if match[1] not in tokens:
            raise TargetError(f"{where}: the token %{match[1]} is not known here")
        return tokens[match[1]]

    return re.sub(r"%(.)", value, text)


def _port(directive: Directive | None) -> int:
    if directive is None:
        return 22
    text = directive.args[0]
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise TargetError(f"{directive.where}: not a port: {text!r}")
    return int(text)


def _tokens(alias: str, host: str, port: int, user: str, places: SshPlaces) -> dict[str, str]:
    return {
        "d": str(places.home),
        "h": host,
        "i": str(os.getuid()),
        "n": alias,
        "p": str(port),
        "r": user,
        "u": places.local_user,
    }


def _home(text: str, places: SshPlaces) -> str:
    return str(places.home) + text[1:] if text == "~" or text.startswith("~/") else text


def _env(text: str, places: SshPlaces, where: str) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in places.environ:
            raise TargetError(f"{where}: ${{{match[1]}}} is not set")
        return places.environ[match[1]]

    return re.sub(r"\$\{([^}]+)\}", value, text)


def _paths(
    found: list[Directive], keyword: str, tokens: Mapping[str, str], places: SshPlaces
) -> tuple[str, ...]:
    given = [d for d in found if d.keyword == keyword]
    paths = [_home(_env(_fill(d.args[0], tokens, d.where), places, d.where), places) for d in given]
    return tuple(dict.fromkeys(p for p in paths if p.lower() != "none"))


def _agent(directive: Directive | None, tokens: Mapping[str, str], places: SshPlaces) -> str | None:
    value = directive.args[0] if directive else "SSH_AUTH_SOCK"
    if value.lower() == "none":
        return None
    if value == "SSH_AUTH_SOCK" or directive is None:
        return places.environ.get("SSH_AUTH_SOCK") or None
    if re.fullmatch(r"\$[A-Za-z_][A-Za-z0-9_]*", value):
        return places.environ.get(value[1:]) or None
    return _home(_env(_fill(value, tokens, directive.where), places, directive.where), places)


def _way(found: list[Directive]) -> Directive | None:
    """ProxyJump or ProxyCommand, whichever comes first, as ssh does it."""
    jump = next((d for d in found if d.keyword == "proxyjump"), None)
    none = jump is not None and jump.args[0].lower() == "none"  # in ssh, too, it keeps no ProxyCommand out
    ways = ("proxycommand",) if none else ("proxycommand", "proxyjump")
    return next((d for d in found if d.keyword in ways), None)


def _hops(directive: Directive | None, places: SshPlaces, seen: tuple[str, ...]) -> tuple[Target, ...]:
    """`a,b` dials a, then b. Only the first one's own ProxyJump is followed, as ssh does."""
    if directive is None:
        return ()
    out: list[Target] = []
    for index, text in enumerate(directive.args[0].split(",")):
        alias, given = _hop(text, directive)
        hop = _resolve(alias, given, places, seen, jumps=index == 0)
        out += [*hop.hops, hop]
    return tuple(out)


def _hop(text: str, directive: Directive) -> tuple[str, Overrides]:
    match = re.fullmatch(r"(?:ssh://)?(?:([^@\s]+)@)?(\[[^\]]+\]|[^:@\s\[\]]+)(?::(\d+))?/?", text.strip())
    if match is None:
        raise TargetError(f"{directive.where}: not a jump host: {text!r}")
    return match[2].strip("[]"), Overrides(user=match[1], port=int(match[3]) if match[3] else None)
