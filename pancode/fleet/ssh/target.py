"""Resolves an SSH alias to a host, a user and keys, in the same way as the user's own ssh."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import asyncssh

from pancode.fleet.ssh.errors import TargetError
from pancode.fleet.ssh.proxy import parse_command
from pancode.fleet.ssh.sshconfig import Overrides, SshPlaces

HONOURED = frozenset(
    "host hostname port user identityfile identityagent identitiesonly certificatefile proxyjump proxycommand"
    " addressfamily bindaddress ciphers macs kexalgorithms hostkeyalgorithms tag hostkeyalias"
    " userknownhostsfile globalknownhostsfile revokedhostkeys connecttimeout"
    " stricthostkeychecking".split()
)

IRRELEVANT = frozenset(
    "addkeystoagent batchmode canonicaldomains canonicalizefallbacklocal canonicalizehostname"
    " canonicalizemaxdots canonicalizepermittedcnames challengeresponseauthentication channeltimeout"
    " checkhostip clearallforwardings compression connectionattempts controlmaster controlpath"
    " controlpersist dynamicforward enableescapecommandline enablesshkeysign escapechar exitonforwardfailure"
    " fingerprinthash forkafterauthentication forwardagent forwardx11 forwardx11timeout forwardx11trusted"
    " gatewayports gssapiauthentication gssapiclientidentity gssapidelegatecredentials gssapikexalgorithms"
    " gssapikeyexchange gssapirenewalforcesrekey gssapiserveridentity gssapitrustdns hashknownhosts"
    " hostbasedacceptedalgorithms ignoreunknown ipqos kbdinteractiveauthentication kbdinteractivedevices"
    " localcommand localforward loglevel logverbose nohostauthenticationforlocalhost numberofpasswordprompts"
    " obscurekeystroketiming passwordauthentication permitlocalcommand permitremoteopen"
    " preferredauthentications rekeylimit remotecommand remoteforward requesttty sendenv serveralivecountmax"
    " serveraliveinterval sessiontype setenv stdinnull streamlocalbindmask streamlocalbindunlink"
    " syslogfacility tcpkeepalive tunnel tunneldevice updatehostkeys usekeychain"
    " verifyhostkeydns versionaddendum visualhostkey warnweakcrypto xauthlocation".split()
)
"""Settings without a meaning for an unattended connection, or set by PanCode itself (pins, keepalive ...).
The reason for each is in tests/integration/ssh/test_directives.py."""

REFUSED = {
    "proxyusefdpass": "the connection would not use the route that you configured",
    "refuseconnection": "the connection would be made although your configuration forbids it",
    "bindinterface": "the connection would not use the interface that you configured",
}

_MEANS = {
    "pubkeyauthentication": "PanCode logs in by key only",
    "hostbasedauthentication": "PanCode logs in by key only",
    "pkcs11provider": "load the token into your SSH agent instead",
    "securitykeyprovider": "load the key into your SSH agent instead",
    "knownhostscommand": "PanCode pins the host key itself",
    "pubkeyacceptedalgorithms": "the SSH library's own list is used",
    "casignaturealgorithms": "the SSH library's own list is used",
}
_ALGORITHMS = {
    "ciphers": "encryption_algs",
    "macs": "mac_algs",
    "kexalgorithms": "kex_algs",
    "hostkeyalgorithms": "server_host_key_algs",
}
"""The SSH library's argument for each of ssh's algorithm lists."""


def refuse_setting(alias: str, found: Mapping[str, tuple[str, ...]]) -> None:
    """Raise TargetError for a setting that would change which host is reached."""
    for keyword, why in REFUSED.items():
        if keyword in found:
            raise TargetError(
                f"{keyword} of {alias!r} is not supported",
                why=f"ssh -G {alias} prints {keyword} {found[keyword][0]}, and without it {why}",
                fix="use a separate alias for PanCode without this directive",
            )


def list_warnings(alias: str, one: Mapping[str, str]) -> tuple[str, ...]:
    """Return one sentence for each setting that has an effect in ssh but that PanCode does not support."""
    return tuple(
        f"ssh -G {alias}: {key} is ignored" + (f": {_MEANS[key]}" if key in _MEANS else "")
        for key, value in one.items()
        if key not in HONOURED | IRRELEVANT
        and (key == "pubkeyauthentication" or not (key in _MEANS and value in ("no", "none", "false")))
    )


def select_algorithms(
    alias: str, one: Mapping[str, str], defaults: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Return the algorithm lists that ssh sets for the alias, as (asyncssh's argument, names), and sentences
    about names that asyncssh does not support, which are omitted. TargetError if a list becomes empty."""
    lists: list[tuple[str, str]] = []
    without: list[str] = []
    for keyword, argument in _ALGORITHMS.items():
        if keyword not in one:
            continue
        names = one[keyword].split(",")
        kept = [name for name in names if _is_known(argument, name)]
        if not kept:
            raise TargetError(
                f"PanCode's SSH library supports none of the {keyword} of {alias}",
                why=f"ssh -G {alias} says {', '.join(names)}",
                fix="add a common algorithm to the list of this alias",
            )
        lists.append((argument, ",".join(kept)))
        usual = defaults[keyword][0].split(",")
        gone = [name for name in names if name not in (*kept, *usual)]
        if gone:
            without.append(
                f"ssh -G {alias}: {keyword} is used without {', '.join(gone)}, which PanCode does not support"
            )
    return tuple(lists), tuple(without)


def _is_known(argument: str, name: str) -> bool:
    try:
        asyncssh.SSHClientConnectionOptions(config=None, **{argument: [name]})
    except ValueError:
        return False
    return True


MAX_HOPS = 8
AGENT = "SSH_AUTH_SOCK"
_VARIABLE = re.compile(r"\$\{([^}]+)\}")


@dataclass(frozen=True, slots=True)
class Target:
    """One SSH server and how to log in. `hops` are the jump hosts, in the order of connection."""

    alias: str
    host: str
    port: int
    user: str
    identities: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    identities_only: bool = False
    agent_path: str | None = None
    """The SSH agent's socket; `$NAME`: the variable that has it."""
    hops: tuple[Target, ...] = ()
    proxy: tuple[str, ...] = ()
    """The command through which the server is reached (ProxyCommand); its host key is pinned nevertheless."""
    family: str = "any"
    bind_address: str | None = None
    algorithms: tuple[tuple[str, str], ...] = ()
    """(asyncssh's argument, OpenSSH's list) for ciphers, MACs, key exchange, host key algorithms."""
    warnings: tuple[str, ...] = ()
    """Settings of ssh for this alias and its jump hosts that are ignored, each with what that means."""
    key_name: str = ""
    """The name of the server's key in known_hosts files (HostKeyAlias); empty: its host."""
    known_hosts: tuple[str, ...] | None = None
    """The user's and the system's files of known hosts; None: the usual ones."""
    revoked: str = ""
    """A file of host keys that must not be accepted (RevokedHostKeys); empty: none."""
    accepts: str = ""
    """Which unknown keys the user's settings accept without a question (StrictHostKeyChecking): `new`, `any`
    (also in place of a stored one), or none."""
    connect_s: float | None = None
    """The seconds that each address of the server has to answer (ConnectTimeout); None: PanCode's own."""
    refers: bool = False
    """Whether the paths contain `${NAME}` of the login session as written; older records have its values."""
    lacks: tuple[str, ...] = ()
    """What the login session does not provide now; empty before `in_session`."""

    @property
    def by_hand(self) -> str:
        """Return the command with which OpenSSH connects to the target."""
        if self.hops or self.proxy:  # the user's own configuration contains the other settings
            return f"ssh {self.alias}"
        return f"ssh -p {self.port} {self.user}@{self.host}"

    @property
    def endpoint(self) -> str:
        """Return the name under which a host key pin is stored."""
        if self.key_name:  # two servers behind one address, such as 127.0.0.1, differ by this name alone
            return self.key_name
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def resolve_target(alias: str, overrides: Overrides, places: SshPlaces) -> Target:
    """Return the target of `alias`. Raises TargetError for a configuration that cannot be followed exactly.
    If ssh does not know the alias, the host name given for it may itself be an alias."""
    if overrides.host and places.ask(alias, Overrides())["hostname"] == (alias,):
        alias, overrides = overrides.host, replace(overrides, host=None)
    return _resolve(alias, overrides, places, (), jumps=True)


def in_session(target: Target, environ: Mapping[str, str]) -> Target:
    """Return the target and its jump hosts with the paths of this login session. `environ`: its variables."""
    lacks = list[str]()

    def expand(paths: tuple[str, ...]) -> tuple[str, ...]:
        out = list[str]()
        for path in paths:
            unset = (
                [name for name in _VARIABLE.findall(path) if not environ.get(name)] if target.refers else []
            )
            lacks.extend(f"{path} is not used, since the variable {name} is not set" for name in unset)
            if not unset:
                out.append(_VARIABLE.sub(lambda m: environ[m[1]], path) if target.refers else path)
        return tuple(out)

    agent = target.agent_path
    if target.refers and agent is not None:
        is_name = agent.startswith("$") and not agent.startswith("${")
        agent = environ.get(agent[1:]) if is_name else next(iter(expand((agent,))), None)
    elif not target.refers and not (agent and Path(agent).exists()):
        agent = environ.get(AGENT) or agent
    if agent and not Path(agent).exists():
        lacks.append(f"the SSH agent's socket {agent} does not exist")
    return replace(
        target,
        identities=expand(target.identities),
        certificates=expand(target.certificates),
        known_hosts=None if target.known_hosts is None else expand(target.known_hosts),
        # A list that cannot be found refuses the connection when it is read.
        revoked=next(iter(expand((target.revoked,))), target.revoked),
        agent_path=agent,
        hops=tuple(in_session(hop, environ) for hop in target.hops),
        refers=False,
        lacks=tuple(lacks),
    )


def with_agent(target: Target, path: str | None) -> Target:
    """Return the target of an older record with the caller's SSH agent; a newer one refers to it already."""
    return replace(target, agent_path=path) if path and not target.refers else target


def _resolve(alias: str, given: Overrides, places: SshPlaces, seen: tuple[str, ...], jumps: bool) -> Target:
    if not alias or re.search(r"[\s\x00-\x1f\x7f*?!,/'\"`$;|<>\\]", alias) or alias.startswith("-"):
        raise TargetError(f"{alias!r} is not a host name or alias")
    if alias in seen or len(seen) > MAX_HOPS:
        raise TargetError(f"ProxyJump has a loop: {' -> '.join((*seen, alias))}")
    found = places.ask(alias, given)
    refuse_setting(alias, found)
    one = {key: values[0] for key, values in found.items()}
    host, port, user = one["hostname"].strip("[]"), int(one["port"]), one["user"]
    tokens = _Tokens(alias, host, port, user, places)
    lists, without = select_algorithms(alias, one, places.defaults)
    named = () if given.identity else found.get("identityfile", ())
    command = one.get("proxycommand", "") if jumps else ""
    hops = _parse_hops(one.get("proxyjump", "") if jumps else "", places, (*seen, alias))
    revoked, files = one.get("revokedhostkeys", "none"), _list_known_hosts(found)
    seconds = one.get("connecttimeout", "none")
    return Target(
        alias,
        host,
        port,
        user,
        # `none` stays: the usual files are used only where the settings name no file.
        identities=(given.identity,) if given.identity else tokens.paths(named) or named[:1],
        certificates=tokens.paths(found.get("certificatefile", ())),
        identities_only=bool(given.identity) or one.get("identitiesonly") == "yes",
        agent_path=tokens.agent(one.get("identityagent", AGENT)),
        hops=hops,
        proxy=parse_command(command, alias, tokens.values, places.home),
        family=one.get("addressfamily", "any"),
        bind_address=one.get("bindaddress"),
        algorithms=lists,
        warnings=(*list_warnings(alias, one), *without, *(words for hop in hops for words in hop.warnings)),
        key_name=one.get("hostkeyalias", ""),
        known_hosts=None if files is None else tokens.paths(files),
        revoked="" if revoked.lower() == "none" else tokens.paths((revoked,))[0],
        connect_s=(float(seconds) or None) if seconds.isdecimal() else None,
        accepts=_ACCEPTS.get(one.get("stricthostkeychecking", ""), ""),
        refers=True,
    )


_ACCEPTS = {"accept-new": "new", "no": "any", "off": "any", "false": "any"}


def _list_known_hosts(found: Mapping[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    """Return the files of known hosts that the settings name; None if they name none."""
    usual = {"userknownhostsfile": "~/.ssh/known_hosts", "globalknownhostsfile": "/etc/ssh/ssh_known_hosts"}
    if not usual.keys() & found.keys():
        return None
    return tuple(word for key, path in usual.items() for word in " ".join(found.get(key, (path,))).split())


class _Tokens:
    """Fills in the tokens, variables and `~` that `ssh -G` prints unexpanded."""

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
        """Return the expanded file paths in order, without duplicates; `none` stands for no file."""
        return tuple(dict.fromkeys(self._expand_path(text) for text in texts if text.lower() != "none"))

    def agent(self, text: str) -> str | None:
        """Return the path of the SSH agent's socket, or `$NAME`; None: there is no SSH agent."""
        if text.lower() == "none":
            return None
        if text == AGENT or re.fullmatch(r"\$[A-Za-z_][A-Za-z0-9_]*", text):
            return f"${text.removeprefix('$')}"
        return self._expand_path(text)

    def _expand_path(self, text: str) -> str:
        def token(match: re.Match[str]) -> str:
            if match[1] == "%":
                return "%"
            if match[1] not in self.values:
                raise TargetError(
                    f"ssh -G {self.alias}: PanCode does not support the token %{match[1]} in {text}"
                )
            return self.values[match[1]]

        for name in _VARIABLE.findall(text):
            if name not in self.places.environ:
                raise TargetError(f"ssh -G {self.alias}: ${{{name}}} is not set")
        filled = re.sub(r"%(.)", token, text)
        return str(self.places.home) + filled[1:] if re.match(r"~(/|$)", filled) else filled


def _parse_hops(text: str, places: SshPlaces, seen: tuple[str, ...]) -> tuple[Target, ...]:
    """Return the jump hosts: `a,b` connects to a, then b. As in ssh, only the first one's ProxyJump is
    used."""
    out: list[Target] = []
    for index, hop in enumerate(text.split(",") if text else ()):
        match = re.fullmatch(r"(?:ssh://)?(?:([^@\s]+)@)?(\[[^\]]+\]|[^:@\s\[\]]+)(?::(\d+))?/?", hop.strip())
        if match is None:
            raise TargetError(f"ssh -G {seen[-1]}: PanCode does not support the jump host {hop!r}")
        given = Overrides(user=match[1], port=int(match[3]) if match[3] else None)
        found = _resolve(match[2].strip("[]"), given, places, seen, jumps=index == 0)
        out += [*found.hops, found]
    return tuple(out)
