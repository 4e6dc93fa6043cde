"""Each setting of ssh_config(5): followed, without a meaning for PanCode, refused, or said to be ignored."""

from __future__ import annotations

import subprocess
from pathlib import Path

import asyncssh
import pytest

from pancode.fleet.ssh.errors import ConnectError
from pancode.fleet.ssh.hostkey import HostKey
from pancode.fleet.ssh.machines import read_known_host
from pancode.fleet.ssh.reach import reach_to, target_of
from pancode.fleet.ssh.revoked import refuse_revoked
from pancode.fleet.ssh.target import HONOURED, IRRELEVANT, REFUSED, list_warnings
from tests.integration.ssh.test_target import found

OWN = "PanCode sets this itself"
KEYS_ONLY = "PanCode logs in by key only, so this is never tried"
NO_SCREEN = "it is about a terminal, a prompt or what ssh prints; nobody watches this connection"
NO_FORWARDS = "PanCode opens the tunnels that it needs, and no other"
PINNED = "PanCode pins the key itself, which is stricter"
BY_SSH = "ssh -G applies it and prints the result"
REASONS = {
    OWN: "batchmode clearallforwardings connectionattempts requesttty serveralivecountmax"
    " serveraliveinterval sessiontype stdinnull tcpkeepalive remotecommand channeltimeout versionaddendum",
    KEYS_ONLY: "challengeresponseauthentication gssapiauthentication gssapiclientidentity"
    " gssapidelegatecredentials gssapikexalgorithms gssapikeyexchange gssapirenewalforcesrekey"
    " gssapiserveridentity gssapitrustdns hostbasedacceptedalgorithms enablesshkeysign"
    " kbdinteractiveauthentication kbdinteractivedevices numberofpasswordprompts passwordauthentication"
    " preferredauthentications",
    NO_SCREEN: "enableescapecommandline escapechar fingerprinthash forkafterauthentication localcommand"
    " loglevel"
    " logverbose obscurekeystroketiming permitlocalcommand syslogfacility visualhostkey warnweakcrypto",
    NO_FORWARDS: "dynamicforward exitonforwardfailure forwardagent forwardx11 forwardx11timeout"
    " forwardx11trusted gatewayports localforward permitremoteopen remoteforward streamlocalbindmask"
    " streamlocalbindunlink tunnel tunneldevice xauthlocation",
    PINNED: "checkhostip hashknownhosts nohostauthenticationforlocalhost updatehostkeys verifyhostkeydns",
    BY_SSH: "canonicaldomains canonicalizefallbacklocal canonicalizehostname canonicalizemaxdots"
    " canonicalizepermittedcnames ignoreunknown",
    "PanCode has one connection for each node and shares it": "controlmaster controlpath controlpersist",
    "it changes the speed, not the result": "compression ipqos rekeylimit",
    "PanCode's commands have their own environment": "sendenv setenv",
    "PanCode adds no key to an agent": "addkeystoagent usekeychain",
}
REASON_OF = {name: reason for reason, names in REASONS.items() for name in names.split()}
KNOWN = frozenset(
    "addkeystoagent addressfamily batchmode bindaddress bindinterface canonicaldomains"
    " canonicalizefallbacklocal canonicalizehostname canonicalizemaxdots canonicalizepermittedcnames"
    " casignaturealgorithms certificatefile channeltimeout checkhostip ciphers clearallforwardings"
    " compression"
    " connectionattempts connecttimeout controlmaster controlpath controlpersist dynamicforward"
    " enableescapecommandline enablesshkeysign escapechar exitonforwardfailure fingerprinthash"
    " forkafterauthentication forwardagent forwardx11 forwardx11timeout forwardx11trusted gatewayports"
    " globalknownhostsfile gssapiauthentication gssapiclientidentity gssapidelegatecredentials"
    " gssapikeyexchange gssapirenewalforcesrekey gssapiserveridentity gssapitrustdns gssapikexalgorithms"
    " hashknownhosts hostbasedacceptedalgorithms hostbasedauthentication hostkeyalgorithms hostkeyalias"
    " hostname identitiesonly identityagent identityfile ignoreunknown ipqos kbdinteractiveauthentication"
    " kbdinteractivedevices kexalgorithms knownhostscommand localcommand localforward loglevel logverbose"
    " macs"
    " nohostauthenticationforlocalhost numberofpasswordprompts obscurekeystroketiming passwordauthentication"
    " permitlocalcommand permitremoteopen pkcs11provider port preferredauthentications proxycommand proxyjump"
    " proxyusefdpass pubkeyacceptedalgorithms pubkeyauthentication refuseconnection rekeylimit remotecommand"
    " remoteforward requesttty requiredrsasize revokedhostkeys securitykeyprovider sendenv"
    " serveralivecountmax"
    " serveraliveinterval sessiontype setenv stdinnull streamlocalbindmask streamlocalbindunlink"
    " stricthostkeychecking syslogfacility tag tcpkeepalive tunnel tunneldevice updatehostkeys user"
    " userknownhostsfile verifyhostkeydns versionaddendum visualhostkey warnweakcrypto xauthlocation".split()
)
"""ssh_config(5) of OpenSSH 9.2 with Debian's GSSAPI, and what 9.4 to 10.0 added."""
SAID = frozenset(
    "casignaturealgorithms hostbasedauthentication knownhostscommand pkcs11provider pubkeyacceptedalgorithms"
    " pubkeyauthentication requiredrsasize securitykeyprovider".split()
)
"""They are ignored, and the user is told so."""


def test_each_setting_is_in_one_list() -> None:
    lists = (HONOURED, IRRELEVANT, frozenset(REFUSED), SAID)
    assert [name for name in KNOWN if sum(name in one for one in lists) != 1] == []
    assert {name for name in IRRELEVANT if name not in REASON_OF} == set()
    assert {name for name in REASON_OF if name not in IRRELEVANT} == set()
    for name in SAID:
        assert len(list_warnings("x", {name: "yes"})) == 1


def test_the_ssh_of_this_machine_prints_no_other() -> None:
    said = subprocess.run(
        ["ssh", "-G", "-F", "none", "host"], capture_output=True, text=True, check=True
    ).stdout
    assert {line.split()[0].lower() for line in said.splitlines()} - KNOWN - {"host"} == set()


def key() -> HostKey:
    made = asyncssh.generate_private_key("ssh-ed25519")
    return HostKey.parse(made.export_public_key().decode())


def test_files_of_known_hosts_and_the_name_in_them(tmp_path: Path) -> None:
    usual, by_name, other = key(), key(), key()
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/known_hosts").write_text(f"[10.0.0.7]:2222 {usual.line}\n")
    (tmp_path / "mine").write_text(f"compute.1 {by_name.line}\n[10.0.0.7]:2222 {other.line}\n")
    config = "HostName 10.0.0.7\nPort 2222\n"
    assert read_known_host(found(tmp_path, config), tmp_path).keys == [usual]
    config += f"UserKnownHostsFile {tmp_path}/none {tmp_path}/mine\n"
    assert read_known_host(found(tmp_path, config), tmp_path).keys == [other]
    target = found(tmp_path, f"{config}HostKeyAlias compute.1\n")
    assert read_known_host(target, tmp_path).keys == [by_name] and target.endpoint == "compute.1"
    assert target_of(reach_to(target)) == target


def test_a_revoked_key_is_refused(tmp_path: Path) -> None:
    bad, good = key(), key()
    (tmp_path / "revoked").write_text(f"{bad.line}\n")
    target = found(tmp_path, "RevokedHostKeys ~/revoked\n")
    refuse_revoked("gpubox", target.revoked, good)
    with pytest.raises(ConnectError, match="revoked"):
        refuse_revoked("gpubox", target.revoked, bad)
    (tmp_path / "bad.pub").write_text(f"{bad.line}\n")
    subprocess.run(["ssh-keygen", "-qk", "-f", tmp_path / "revoked", tmp_path / "bad.pub"], check=True)
    refuse_revoked("gpubox", target.revoked, good)
    with pytest.raises(ConnectError, match="revoked"):
        refuse_revoked("gpubox", target.revoked, bad)
    (tmp_path / "revoked").unlink()
    with pytest.raises(ConnectError) as caught:
        refuse_revoked("gpubox", target.revoked, good)
    assert "No such file" in caught.value.why
    refuse_revoked("gpubox", "", bad)
