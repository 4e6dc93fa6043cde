"""Decides for each OpenSSH directive whether we follow, ignore, report or refuse it."""

from __future__ import annotations

from collections.abc import Mapping

from pancode.fleet.ssh.errors import TargetError
from pancode.fleet.ssh.sshconfig import Directive

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
_ALGORITHMS = {
    "ciphers": "encryption_algs",
    "macs": "mac_algs",
    "kexalgorithms": "kex_algs",
    "hostkeyalgorithms": "server_host_key_algs",
}


def _off(directive: Directive) -> bool:
    return directive.args[0].lower() == _OFF.get(directive.keyword)


def _firsts(found: list[Directive]) -> list[Directive]:
    """The first of each keyword: the one that counts."""
    return list({d.keyword: d for d in reversed(found)}.values())[::-1]


def refuse(alias: str, found: list[Directive], host_given: bool) -> None:
    """TargetError for a directive that would change which machine we talk to."""
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


def algorithms(one: Mapping[str, Directive]) -> tuple[tuple[str, str], ...]:
    """(asyncssh's argument, list) for the algorithm lists that are set."""
    return tuple((argument, one[k].args[0]) for k, argument in _ALGORITHMS.items() if k in one)
