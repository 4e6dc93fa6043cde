"""An alias means what OpenSSH's configuration says; what we cannot follow is named or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pancode.errors import ConfigError
from pancode.fleet.ssh.errors import TargetError
from pancode.fleet.ssh.target import Overrides, SshPlaces, Target, resolve

NONE = Overrides()


def places(folder: Path, config: str, **more: str) -> SshPlaces:
    """The user's configuration `config` and further files in its ~/.ssh, and no system file."""
    ssh = folder / ".ssh"
    ssh.mkdir(exist_ok=True)
    (ssh / "config").write_text(config)
    for name, text in more.items():
        (ssh / name).write_text(text)
    return SshPlaces(folder, "me", ((ssh / "config", ssh),), {"SSH_AUTH_SOCK": "/run/agent", "KEYS": "/keys"})


def found(folder: Path, config: str, alias: str = "gpubox", given: Overrides = NONE, **more: str) -> Target:
    return resolve(alias, given, places(folder, config, **more))


TABLE = [
    ("", ("gpubox", 22, "me")),
    ("Host gpubox\n HostName 10.0.0.7\n Port 2222\n User ops", ("10.0.0.7", 2222, "ops")),
    ("Host other\n HostName 10.0.0.9\nHost gpu*\n User ops", ("gpubox", 22, "ops")),
    ("Host * !gpubox\n User no\nHost g?ubox\n User yes", ("gpubox", 22, "yes")),
    ("User first\nHost gpubox\n User second", ("gpubox", 22, "first")),
    ("Host gpubox\n HostName=%h.lan\n User = ops", ("gpubox.lan", 22, "ops")),
    ('Host "gpubox"\n\tHostName "10.0.0.8"   # the new one', ("10.0.0.8", 22, "me")),
    ("host GPUBOX\n hostname 10.0.0.7", ("gpubox", 22, "me")),
    ("match host GPUBOX\n hostname 10.0.0.7", ("10.0.0.7", 22, "me")),
    ("Match host 10.0.0.7\n User late\nHost gpubox\n HostName 10.0.0.7", ("10.0.0.7", 22, "me")),
    ("Host gpubox\n HostName 10.0.0.7\nMatch host 10.0.0.7\n User late", ("10.0.0.7", 22, "late")),
    ("Match originalhost gpubox !user root\n User ops", ("gpubox", 22, "ops")),
    ("Match localuser you\n User ops\nMatch all\n Port 7", ("gpubox", 7, "me")),
    ("Match final all\n User last\nHost gpubox\n HostName x", ("x", 22, "last")),
    ("Match final host=x\n User last\nHost gpubox\n HostName x", ("x", 22, "last")),
    ("Match originalhost other exec true\n User no", ("gpubox", 22, "me")),
    ('Match exec "false" !originalhost gpubox\n User no', ("gpubox", 22, "me")),
    ("Tag lab\nMatch tagged lab\n User t", ("gpubox", 22, "t")),
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
        ("IdentityAgent /run/%r.sock", "/run/me.sock"),
    ],
)
def test_identity_agent(tmp_path: Path, config: str, expected: str | None) -> None:
    assert found(tmp_path, config).agent_path == expected


def test_includes(tmp_path: Path) -> None:
    target = found(
        tmp_path,
        "Include inc_*\nHost other\n Include dead\nHost *\n Port 99",
        inc_a="Host gpubox\n HostName from-a\n",
        inc_b="Host gpubox\n HostName from-b\n User b\n",
        dead="User dead\n",
    )
    assert (target.host, target.port, target.user) == ("from-a", 99, "b")


def test_a_block_of_an_included_file_ends_with_it(tmp_path: Path) -> None:
    target = found(tmp_path, "Include inc\nUser outer", inc="Host nobody\n User inner\n")
    assert target.user == "outer"


def test_include_that_goes_round_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="deeper"):
        found(tmp_path, "Include config")


def test_jump_hosts_in_the_order_of_dialling(tmp_path: Path) -> None:
    config = (
        "Host gpubox\n ProxyJump first,root@second:2200\n"
        "Host first\n ProxyJump zero\n HostName 10.0.0.1\nHost second\n ProxyJump ignored\n User no\n"
    )
    hops = found(tmp_path, config).hops
    assert [(h.alias, h.host, h.port, h.user) for h in hops] == [
        ("zero", "zero", 22, "me"),
        ("first", "10.0.0.1", 22, "me"),
        ("second", "second", 2200, "root"),
    ]


@pytest.mark.parametrize("config", ["ProxyJump none", "Host x\n ProxyJump y"])
def test_no_jump(tmp_path: Path, config: str) -> None:
    assert found(tmp_path, config).hops == ()


REFUSED = [
    ("ProxyCommand nc %h %p 2>/dev/null", "needs a shell"),
    ("ProxyCommand tunnel --to $HOST", "needs a shell"),
    ("ProxyCommand tunnel '%h", "quote is not closed"),
    ("ProxyCommand tunnel %k", "no token %k"),
    ("ProxyCommand tunnel %r\nUser a;b", "cannot stand for %r"),
    ("ProxyCommand", "no value"),
    ("Host gpubox\n HostKeyAlias y", "HostKeyAlias"),
    ("CanonicalizeHostname yes", "CanonicalizeHostname"),
    ("Match exec true\n User x", "Match exec"),
    ("Match localnetwork 10.0.0.0/8\n User x", "Match localnetwork"),
    ("Host gpubox\n ProxyJump a\nHost a\n ProxyJump gpubox", "goes round"),
    ("ProxyJump a b@c:::", "not a jump host"),
    ("Port http", "not a port"),
    ("IdentityFile %q", "%q"),
    ("IdentityFile ${NOPE}/x", "NOPE"),
    ('HostName "x', "quote is not closed"),
    ("HostName", "no value"),
    ("Match host", "no pattern"),
    ("???", "not a directive"),
]


@pytest.mark.parametrize(("config", "words"), REFUSED)
def test_what_we_cannot_follow_is_refused_by_name_and_place(tmp_path: Path, config: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        found(tmp_path, config.replace("a b@c", "b@c"))
    assert words.lower() in str(caught.value).lower()
    assert "config:" in str(caught.value) or "goes round" in str(caught.value)


PROXIES = [
    ("ProxyCommand nc -X 5 %h %p\nHostName g.lan\nPort 2222", ("nc", "-X", "5", "g.lan", "2222")),
    (
        "ProxyCommand=ssh -W [%h]:%p %r@%n # no comment",
        ("ssh", "-W", "[gpubox]:22", "me@gpubox", "#", "no", "comment"),
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
    assert caught.value.fix == "write it as ProxyCommand sh -c 'nc %h %p 2>/dev/null'"


@pytest.mark.parametrize("config", ["ProxyCommand none", "CanonicalizeHostname no", "ProxyUseFdpass no"])
def test_switched_off_is_not_refused(tmp_path: Path, config: str) -> None:
    assert found(tmp_path, config).host == "gpubox"


def test_what_is_not_honoured_is_named(tmp_path: Path) -> None:
    target = found(tmp_path, "RemoteCommand top\nGSSAPIAuthentication yes\nFancyNew 1\nServerAliveInterval 9")
    assert [w.split(": ", 1)[1].split(" ")[0] for w in target.warnings] == ["RemoteCommand", "FancyNew"]
    assert "config:1" in target.warnings[0]
    assert target.ignored == ("GSSAPIAuthentication", "ServerAliveInterval"), "Debian's own file has it"


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
    with pytest.raises(ConfigError, match="not a host name"):
        found(tmp_path, "", alias)


def test_ipv6_endpoint(tmp_path: Path) -> None:
    assert found(tmp_path, "HostName fd00::1\nPort 2").endpoint == "[fd00::1]:2"


@pytest.mark.parametrize("sign", ["", "+", "-", "^"])
@pytest.mark.parametrize(
    ("keyword", "known"),
    [
        ("Ciphers", "aes256-ctr"),
        ("MACs", "hmac-sha2-256"),
        ("KexAlgorithms", "curve25519-sha256"),
        ("HostKeyAlgorithms", "ssh-ed25519"),
    ],
)
def test_an_algorithm_that_is_not_known_here_is_left_out_with_a_warning(
    tmp_path: Path, keyword: str, known: str, sign: str
) -> None:
    target = found(tmp_path, f"{keyword} {sign}of-tomorrow@example.org,{known}")
    assert [value for _, value in target.algorithms] == [f"{sign}{known}"]
    (warning,) = target.warnings
    assert "of-tomorrow@example.org" in warning and ":1:" in warning
    if sign:
        assert found(tmp_path, f"{keyword} {sign}of-tomorrow@example.org").algorithms == ()
    else:
        with pytest.raises(TargetError, match=":1:"):
            found(tmp_path, f"{keyword} of-tomorrow@example.org")


def test_an_include_that_cannot_be_resolved_is_not_skipped(tmp_path: Path) -> None:
    for pattern in ("${HOME}/.ssh/conf.d/*", "~/.ssh/%u.conf"):
        with pytest.raises(TargetError, match="Include"):
            found(tmp_path, f"Include {pattern}")
