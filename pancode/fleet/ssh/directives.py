"""Decides for each OpenSSH directive whether we follow, ignore, report or refuse it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from asyncssh.encryption import get_encryption_algs
from asyncssh.kex import get_kex_algs
from asyncssh.mac import get_mac_algs
from asyncssh.public_key import get_certificate_algs, get_public_key_algs

from pancode.fleet.ssh.errors import TargetError
from pancode.fleet.ssh.sshconfig import Directive, wildcard

HONOURED = frozenset(
    "hostname port user identityfile identityagent identitiesonly certificatefile proxyjump proxycommand"
    " addressfamily bindaddress ciphers macs kexalgorithms hostkeyalgorithms tag".split()
)

OURS = frozenset(
    "addkeystoagent batchmode canonicaldomains canonicalizefallbacklocal canonicalizemaxdots"
    " canonicalizepermittedcnames challengeresponseauthentication checkhostip clearallforwardings"
    " compression connectionattempts connecttimeout controlmaster controlpath controlpersist"
    " dynamicforward enableescapecommandline escapechar exitonforwardfailure fingerprinthash"
    " forkafterauthentication forwardagent forwardx11 forwardx11timeout forwardx11trusted gatewayports"
    " gssapiauthentication"
    " globalknownhostsfile hashknownhosts ignoreunknown ipqos kbdinteractiveauthentication localcommand"
    " localforward loglevel logverbose numberofpasswordprompts obscurekeystroketiming"
    " passwordauthentication permitlocalcommand permitremoteopen preferredauthentications"
    " pubkeyauthentication rekeylimit remoteforward requesttty sendenv serveralivecountmax"
    " serveraliveinterval sessiontype setenv stdinnull streamlocalbindmask streamlocalbindunlink"
    " stricthostkeychecking syslogfacility tcpkeepalive updatehostkeys usekeychain userknownhostsfile"
    " verifyhostkeydns visualhostkey xauthlocation".split()
)
"""No meaning for an unattended connection, or set by PanCode itself (pins, keepalive, forwards)."""

_REFUSED = {
    "proxyusefdpass": "the connection would go another way than you mean",
    "hostkeyalias": "the host key would be filed under another name than you mean",
    "canonicalizehostname": "the name would mean another machine than you mean",
    "bindinterface": "the connection would leave by another interface than you mean",
}
_OFF = {"proxyusefdpass": "no", "canonicalizehostname": "no"}

_MEANS = {
    "remotecommand": "PanCode runs its own commands",
    "hostbasedauthentication": "PanCode logs in by key only",
    "pkcs11provider": "load the token into your SSH agent instead",
    "securitykeyprovider": "load the key into your SSH agent instead",
    "knownhostscommand": "PanCode pins the host key itself",
    "pubkeyacceptedalgorithms": "asyncssh's own list is used",
    "casignaturealgorithms": "host certificates are not used, the key itself is pinned",
}
_ALGORITHMS: Mapping[str, tuple[str, Callable[[], list[bytes]]]] = {
    "ciphers": ("encryption_algs", get_encryption_algs),
    "macs": ("mac_algs", get_mac_algs),
    "kexalgorithms": ("kex_algs", get_kex_algs),
    "hostkeyalgorithms": (
        "server_host_key_algs",
        lambda: [*get_public_key_algs(), *get_certificate_algs()],
    ),
}
"""asyncssh's argument, and what it has of that kind."""


def _off(directive: Directive) -> bool:
    return directive.args[0].lower() == _OFF.get(directive.keyword)


def _firsts(found: list[Directive]) -> list[Directive]:
    """The first of each keyword: the one that counts."""
    return list({d.keyword: d for d in reversed(found)}.values())[::-1]


def refuse(alias: str, found: list[Directive], host_given: bool) -> None:
    """TargetError for a directive that would change which machine we talk to, or that ssh would refuse."""
    for directive in found:
        if directive.keyword in HONOURED and len(directive.args) > 1:
            raise TargetError(
                f"{directive.where}: {directive.name} has more than one word: {' '.join(directive.args)!r}",
                fix="put the value into double quotes, or take the rest away",
            )
    for directive in _firsts(found):
        why = _REFUSED.get(directive.keyword)
        if why and not _off(directive):
            raise TargetError(
                f"{directive.where}: {directive.name} of {alias!r} is not supported",
                why=f"without it {why}",
                fix="use an alias of its own for PanCode without this directive",
            )


def warnings(found: list[Directive]) -> tuple[str, ...]:
    """One sentence for each directive that applies, means something, and is not followed."""
    return tuple(
        f"{d.where}: {d.name} is not honoured" + (f": {_MEANS[d.keyword]}" if d.keyword in _MEANS else "")
        for d in _firsts(found)
        if d.keyword not in HONOURED | OURS and d.keyword not in _REFUSED and not _is_no(d)
    )


def _is_no(directive: Directive) -> bool:
    return directive.keyword in _MEANS and directive.args[0].lower() in ("no", "none")


def ignored(found: list[Directive]) -> tuple[str, ...]:
    """Names of those without a meaning for us."""
    return tuple(d.name for d in _firsts(found) if d.keyword in OURS)


def algorithms(one: Mapping[str, Directive]) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """(asyncssh's argument, list) for the algorithm lists that are set, and a sentence for each name that is
    left out, as asyncssh does not have it. TargetError where nothing is left of a list."""
    lists: list[tuple[str, str]] = []
    without: list[str] = []
    for keyword, (argument, known) in _ALGORITHMS.items():
        if keyword not in one:
            continue
        directive = one[keyword]
        sign, names = _signed(directive.args[0])
        there = [name.decode() for name in known()]
        kept = [name for name in names if any(wildcard(name, each, fold=False) for each in there)]
        gone = [name for name in names if name not in kept]
        if gone:
            without.append(
                f"{directive.where}: {directive.name} goes without {', '.join(gone)}, not known here"
            )
        if kept:
            lists.append((argument, sign + ",".join(kept)))
        elif not sign:
            raise TargetError(
                f"{directive.where}: no algorithm of {directive.name} is known here",
                why=f"PanCode's SSH library has {', '.join(there)}",
                fix="add one of these to the list",
            )
    return tuple(lists), tuple(without)


def _signed(text: str) -> tuple[str, list[str]]:
    """OpenSSH's sign for a change of its own list (+, -, ^; empty: the whole list), and the names."""
    sign = text[:1] if text[:1] in "+-^" else ""
    return sign, [name for name in text[len(sign) :].split(",") if name]
