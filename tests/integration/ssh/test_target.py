"""An alias means what the user's own ssh says of it; what we cannot follow is named or refused."""

from __future__ import annotations

import getpass
import re
from pathlib import Path

import pytest

from pancode.fleet.ssh.errors import TargetError
from pancode.fleet.ssh.sshconfig import Overrides, SshPlaces
from pancode.fleet.ssh.target import Target, in_session, resolve_target, select_algorithms
from pancode.kernel.errors import ConfigError

NONE = Overrides()
ME = getpass.getuser()


def places(folder: Path, config: str) -> SshPlaces:
    """A home with this configuration; `{ssh}` stands for its ~/.ssh."""
    ssh = folder / ".ssh"
    ssh.mkdir(exist_ok=True)
    (ssh / "config").write_text(config.replace("{ssh}", str(ssh)) + "\n")
    return SshPlaces.of({"HOME": str(folder), "SSH_AUTH_SOCK": "/run/agent", "KEYS": "/keys"})


def found(folder: Path, config: str, alias: str = "gpubox", given: Overrides = NONE) -> Target:
    asked = places(folder, config)
    return in_session(resolve_target(alias, given, asked), asked.environ)


TABLE = [
    ("", ("gpubox", 22, ME)),
    ("Host gpubox\n HostName 10.0.0.7\n Port 2222\n User ops", ("10.0.0.7", 2222, "ops")),
    ("Host other\n HostName 10.0.0.9\nHost gpu*\n User ops", ("gpubox", 22, "ops")),
    ("Host * !gpubox\n User no\nHost g?ubox\n User yes", ("gpubox", 22, "yes")),
    ("User first\nHost gpubox\n User second", ("gpubox", 22, "first")),
    ("Host gpubox\n HostName=%h.lan\n User = ops", ("gpubox.lan", 22, "ops")),
    ('Host "gpubox"\n\tHostName "10.0.0.8"   # the new one', ("10.0.0.8", 22, ME)),
    ("match host GPUBOX\n hostname 10.0.0.7", ("10.0.0.7", 22, ME)),
    ("Match host 10.0.0.7\n User late\nHost gpubox\n HostName 10.0.0.7", ("10.0.0.7", 22, ME)),
    ("Host gpubox\n HostName 10.0.0.7\nMatch host 10.0.0.7\n User late", ("10.0.0.7", 22, "late")),
    ("Match originalhost gpubox !user nobody-else\n User ops", ("gpubox", 22, "ops")),
    ("Match localuser you\n User ops\nMatch all\n Port 7", ("gpubox", 7, ME)),
    ("Match final all\n User last\nHost gpubox\n HostName x", ("x", 22, "last")),
    ("Match final host=x\n User last\nHost gpubox\n HostName x", ("x", 22, "last")),
    ("Match originalhost other exec true\n User no", ("gpubox", 22, ME)),
    ('Match exec "false" !originalhost gpubox\n User no', ("gpubox", 22, ME)),
    ("Match exec true\n User x", ("gpubox", 22, "x")),
    ("Match exec false\n User x", ("gpubox", 22, ME)),
    ("User CORP\\bea\nPort 2222 # don't change", ("gpubox", 2222, "CORP\\bea")),
    ("CanonicalizeHostname yes", ("gpubox", 22, ME)),
]


@pytest.mark.parametrize(("config", "expected"), TABLE)
def test_host_port_and_user(tmp_path: Path, config: str, expected: tuple[str, int, str]) -> None:
    target = found(tmp_path, config)
    assert (target.host, target.port, target.user) == expected


def test_the_command_line_wins(tmp_path: Path) -> None:
    target = found(
        tmp_path,
        "Host gpubox\n HostName a\n Port 1\n User u\n IdentityFile ~/k",
        given=Overrides("b", "v", 2, "/id"),
    )
    assert (target.host, target.port, target.user) == ("b", 2, "v")
    assert target.identities == ("/id",) and target.identities_only
    assert target.endpoint == "b:2"


@pytest.mark.parametrize(
    ("config", "host", "expected"),
    [
        ("Host third\n HostName 10.0.0.9\n User ops", "third", ("10.0.0.9", 22, "ops")),
        ("Host third\n User ops", "third", ("third", 22, "ops")),
        ("Host gpubox\n User ops\n HostName 10.0.0.7", "10.0.0.8", ("10.0.0.8", 22, "ops")),
        ("", "10.0.0.8", ("10.0.0.8", 22, ME)),
    ],
)
def test_a_host_may_be_an_alias_where_the_name_is_none(
    tmp_path: Path, config: str, host: str, expected: tuple[str, int, str]
) -> None:
    target = found(tmp_path, config, given=Overrides(host))
    assert (target.host, target.port, target.user) == expected


def test_identities_keep_their_order_and_their_tokens(tmp_path: Path) -> None:
    first = "IdentityFile ~/.ssh/%n_%r\n"
    config = f"{first}IdentityFile ${{KEYS}}/a%%b\nIdentityFile %d/c\n{first}User ops"
    target = found(tmp_path, config)
    assert target.identities == (f"{tmp_path}/.ssh/gpubox_ops", "/keys/a%b", f"{tmp_path}/c")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("", "/run/agent"),
        ("IdentityAgent none", None),
        ("IdentityAgent SSH_AUTH_SOCK", "/run/agent"),
        ("IdentityAgent $KEYS", "/keys"),
        ("IdentityAgent $NOT_SET", None),
        ("IdentityAgent /run/%r.sock", f"/run/{ME}.sock"),
    ],
)
def test_identity_agent(tmp_path: Path, config: str, expected: str | None) -> None:
    assert found(tmp_path, config).agent_path == expected


def test_an_include_with_a_token_leads_where_ssh_goes(tmp_path: Path) -> None:
    asked = places(tmp_path, "Include {ssh}/inc_*\nInclude ${KEYS}/x ~/.ssh/%u.conf\nHost *\n Port 99")
    (tmp_path / ".ssh/inc_a").write_text("Host gpubox\n HostName from-a\n")
    target = resolve_target("gpubox", NONE, asked)
    assert (target.host, target.port) == ("from-a", 99)


def test_jump_hosts_in_the_order_of_dialling(tmp_path: Path) -> None:
    config = (
        "Host gpubox\n ProxyJump first,root@second:2200\n"
        "Host first\n ProxyJump zero\n HostName 10.0.0.1\nHost second\n ProxyJump ignored\n User no\n"
    )
    hops = found(tmp_path, config).hops
    assert [(h.alias, h.host, h.port, h.user) for h in hops] == [
        ("zero", "zero", 22, ME),
        ("first", "10.0.0.1", 22, ME),
        ("second", "second", 2200, "root"),
    ]


@pytest.mark.parametrize("config", ["ProxyJump none", "Host x\n ProxyJump y"])
def test_no_jump(tmp_path: Path, config: str) -> None:
    assert found(tmp_path, config).hops == ()


REFUSED = [
    ("ProxyCommand nc %h %p 2>/dev/null", "needs a shell"),
    ("ProxyCommand tunnel --to $HOST", "needs a shell"),
    ("ProxyCommand tunnel %k", "unsupported token %k"),
    ("ProxyCommand tunnel %r\nUser a;b", "cannot be used for %r"),
    ("Host gpubox\n BindInterface lo", "bindinterface"),
    ("Host gpubox\n ProxyJump a\nHost a\n ProxyJump gpubox", "has a loop"),
    ("IdentityFile %q", "%q"),
    ("IdentityFile ${NOPE}/x", "NOPE"),
    ('User x\nHostName "x', "config line 2"),
    ("FancyNew 1", "config: line 1: Bad configuration option: fancynew"),
    ("Ciphers of-tomorrow@example.org", "Bad SSH2 cipher spec"),
    ("Include {ssh}/config", "Too many recursive configuration includes"),
]


@pytest.mark.parametrize(("config", "words"), REFUSED)
def test_what_we_or_ssh_cannot_follow_is_refused(tmp_path: Path, config: str, words: str) -> None:
    with pytest.raises(TargetError) as caught:
        found(tmp_path, config)
    assert words.lower() in f"{caught.value} {caught.value.why}".lower()


def test_a_machine_without_ssh_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetError) as caught:
        found(tmp_path, "")
    assert "openssh-client" in caught.value.fix


PROXIES = [
    ("ProxyCommand nc -X 5 %h %p\nHostName g.lan\nPort 2222", ("nc", "-X", "5", "g.lan", "2222")),
    (
        "ProxyCommand=ssh -W [%h]:%p %r@%n # no comment",
        ("ssh", "-W", "[gpubox]:22", f"{ME}@gpubox", "#", "no", "comment"),
    ),
    ("ProxyCommand sh -c 'nc %h %p 2>/dev/null'", ("sh", "-c", "nc gpubox 22 2>/dev/null")),
    ('ProxyCommand "~/bin/my tunnel" 100%% "a;b"', ("{home}/bin/my tunnel", "100%", "a;b")),
    ("ProxyCommand none\nProxyJump a", ()),
    ("ProxyJump none\nProxyCommand nc %h", ("nc", "gpubox")),
    ("Host gpubox\n ProxyJump a\n ProxyCommand nc %h", ()),
]


@pytest.mark.parametrize(("config", "command"), PROXIES)
def test_a_proxy_command_is_an_argument_list(tmp_path: Path, config: str, command: tuple[str, ...]) -> None:
    assert found(tmp_path, config).proxy == tuple(w.replace("{home}", str(tmp_path)) for w in command)


def test_only_what_is_dialled_first_goes_through_its_own_proxy_command(tmp_path: Path) -> None:
    config = "Host gpubox\n ProxyJump first,second\nHost *\n ProxyCommand nc %h %p\n"
    target = found(tmp_path, config)
    assert [(h.alias, bool(h.proxy)) for h in (*target.hops, target)] == [
        ("first", True),
        ("second", False),
        ("gpubox", False),
    ]


def test_a_command_line_for_a_shell_is_refused_with_the_line_to_write(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        found(tmp_path, "ProxyCommand nc %h %p 2>/dev/null")
    assert "ProxyCommand sh -c 'nc %h %p 2>/dev/null'" in caught.value.fix


@pytest.mark.parametrize("config", ["ProxyCommand none", "CanonicalizeHostname no", "ProxyUseFdpass no"])
def test_switched_off_is_not_refused(tmp_path: Path, config: str) -> None:
    assert found(tmp_path, config).host == "gpubox"


def test_what_is_not_honoured_is_named(tmp_path: Path) -> None:
    config = (
        "Host gpubox\nProxyJump first\nRemoteCommand top\nGSSAPIAuthentication yes\nServerAliveInterval 9\n"
    )
    target = found(tmp_path, f"{config}Host first\n PubkeyAuthentication no\n RequiredRSASize 4096\n")
    assert target.warnings == (
        "ssh -G first: pubkeyauthentication is ignored: PanCode logs in by key only",
        "ssh -G first: requiredrsasize is ignored",
    )


def test_directives_of_other_aliases_do_not_count(tmp_path: Path) -> None:
    target = found(
        tmp_path, "Host other\n CanonicalizeHostname yes\n RemoteCommand top\nHost gpubox\n User x"
    )
    assert target.user == "x" and target.warnings == ()


def test_algorithms_reach_asyncssh(tmp_path: Path) -> None:
    target = found(tmp_path, "Ciphers aes256-ctr\nHostKeyAlgorithms ssh-ed25519\nAddressFamily inet")
    assert dict(target.algorithms) == {
        "encryption_algs": "aes256-ctr",
        "server_host_key_algs": "ssh-ed25519",
    }
    assert target.family == "inet"


@pytest.mark.parametrize("alias", ["", "-oProxyCommand=x", "a b", "a;b", "a\nb", "*", "../x", "$(x)"])
def test_names_that_are_no_host_are_refused(tmp_path: Path, alias: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(repr(alias))):
        found(tmp_path, "", alias)


def test_ipv6_endpoint(tmp_path: Path) -> None:
    assert found(tmp_path, "HostName fd00::1\nPort 2").endpoint == "[fd00::1]:2"


def test_an_algorithm_that_is_not_known_here_is_left_out_with_a_warning() -> None:
    usual = {"ciphers": ("aes256-ctr,of-ssh@example.org",)}
    said = {"ciphers": "of-ssh@example.org,of-tomorrow@example.org,aes256-ctr"}
    lists, (warning,) = select_algorithms("gpubox", said, usual)
    assert lists == (("encryption_algs", "aes256-ctr"),)
    assert "of-tomorrow@example.org" in warning and "of-ssh" not in warning
    with pytest.raises(TargetError, match="ciphers"):
        select_algorithms("gpubox", {"ciphers": "of-tomorrow@example.org"}, usual)


def test_a_list_that_adds_to_ssh_s_own_reaches_asyncssh_whole(tmp_path: Path) -> None:
    target = found(tmp_path, "KexAlgorithms +diffie-hellman-group1-sha1\nMACs hmac-sha1")
    lists = dict(target.algorithms)
    assert lists["mac_algs"] == "hmac-sha1"
    assert {"curve25519-sha256", "diffie-hellman-group1-sha1"} <= set(lists["kex_algs"].split(","))
    assert target.warnings == ()
