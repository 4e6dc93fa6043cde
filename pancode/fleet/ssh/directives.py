"""Decides for each setting of ssh whether we follow, ignore, report or refuse it."""

from __future__ import annotations

from collections.abc import Mapping

import asyncssh

from pancode.fleet.ssh.errors import TargetError

HONOURED = frozenset(
    "host hostname port user identityfile identityagent identitiesonly certificatefile proxyjump proxycommand"
    " addressfamily bindaddress ciphers macs kexalgorithms hostkeyalgorithms tag".split()
)

OURS = frozenset(
    "addkeystoagent batchmode canonicaldomains canonicalizefallbacklocal canonicalizehostname"
    " canonicalizemaxdots canonicalizepermittedcnames challengeresponseauthentication checkhostip"
    " clearallforwardings compression connectionattempts connecttimeout controlmaster controlpath"
    " controlpersist dynamicforward enableescapecommandline escapechar exitonforwardfailure fingerprinthash"
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
    "bindinterface": "the connection would leave by another interface than you mean",
}

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
"""asyncssh's argument for each list."""


def refuse(alias: str, found: Mapping[str, tuple[str, ...]]) -> None:
    """TargetError for a setting that would change which machine we talk to."""
    for keyword, why in _REFUSED.items():
        if keyword in found:
            raise TargetError(
                f"{keyword} of {alias!r} is not supported",
                why=f"ssh -G {alias} says {keyword} {found[keyword][0]}, and without it {why}",
                fix="use an alias of its own for PanCode without this directive",
            )


def warnings(alias: str, one: Mapping[str, str]) -> tuple[str, ...]:
    """One sentence for each setting that means something and is not followed."""
    return tuple(
        f"ssh -G {alias}: {key} is not honoured" + (f": {_MEANS[key]}" if key in _MEANS else "")
        for key, value in one.items()
        if key not in HONOURED | OURS and not (key in _MEANS and value in ("no", "none", "false"))
    )


def algorithms(
    alias: str, one: Mapping[str, str], defaults: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """(asyncssh's argument, list) for the algorithm lists that are set, and a sentence for the names beyond
    ssh's own that asyncssh does not have: they are left out. TargetError where nothing is left of a list."""
    lists: list[tuple[str, str]] = []
    without: list[str] = []
    for keyword, argument in _ALGORITHMS.items():
        if keyword not in one:
            continue
        names = one[keyword].split(",")
        kept = [name for name in names if _is_known(argument, name)]
        if not kept:
            raise TargetError(
                f"PanCode's SSH library has no algorithm of {keyword} for {alias}",
                why=f"ssh -G {alias} says {', '.join(names)}",
                fix="add a common one to the list of this alias",
            )
        lists.append((argument, ",".join(kept)))
        usual = defaults[keyword][0].split(",")
        gone = [name for name in names if name not in (*kept, *usual)]
        if gone:
            without.append(f"ssh -G {alias}: {keyword} goes without {', '.join(gone)}, not known here")
    return tuple(lists), tuple(without)


def _is_known(argument: str, name: str) -> bool:
    try:
        asyncssh.SSHClientConnectionOptions(config=None, **{argument: [name]})
    except ValueError:
        return False
    return True
