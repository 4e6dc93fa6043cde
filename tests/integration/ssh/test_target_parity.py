"""Our reading of ssh_config against the real `ssh -G`: same host, port, user, identities, agent and jump."""

from __future__ import annotations

import getpass
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pancode.fleet.ssh.errors import TargetError
from pancode.fleet.ssh.target import Overrides, SshPlaces, resolve

CONFIGS = [
    "",
    "Host gpubox\n  HostName 10.0.0.7\n  Port 2222\n  User ops\nHost *\n  User no\n  Port 1\n",
    "Host * !gpubox\n User no\nHost gpu?ox other\n User yes\n",
    "HostName=%h.lan\nUser = ops\n",
    "Host gpubox\n HostName 10.0.0.7\nMatch host 10.0.0.7\n User late\nMatch host gpubox\n Port 9\n",
    "Match host 10.0.0.7\n User early\nHost gpubox\n HostName 10.0.0.7\n User late\n",
    "Match originalhost gpubox !user root\n User ops\nMatch all\n Port 7\n",
    "Match final all\n User last\nHost gpubox\n HostName x\n",
    "Match final host x\n User last\n Port 77\nHost gpubox\n HostName x\n",
    "Match originalhost other exec true\n User no\n",
    "IdentityFile /k/%n_%h_%r\nIdentityFile /k/%%\nUser ops\nIdentitiesOnly yes\n",
    "IdentityAgent none\n",
    "IdentityAgent /run/%r.sock\nUser ops\n",
    "Host gpubox\n ProxyJump a,root@b:2200\n",
    "ProxyJump none\n",
    "ProxyJump none\nProxyCommand nc %h %p\n",
    "ProxyCommand none\nProxyJump a\n",
    "Host gpubox\n ProxyCommand nc %h %p\n ProxyJump root@b:2200\n",
    "Host gpubox\n ProxyJump root@b:2200\n ProxyCommand nc %h %p\n",
    "ProxyCommand=nc -X 5 %h %p # all of it\n",
    'Host "gpubox"\n\tHostName "10.0.0.8" # comment\n',
    "Include {folder}/inc\nHost other\n Include {folder}/dead\nHost *\n Port 99\n",
    "Host nobody\n Include {folder}/inc\n",
    "Host gpubox\n Include {folder}/inc\n User outer\n",
    "host GPUBOX\n hostname 10.0.0.7\n",
    "match originalhost GPUBOX\n hostname 10.0.0.7\nmatch localuser ROOT\n user no\n",
    "Host gpubox,other\n User no\nHost a,gpubox b gpubox\n User yes\n",
    "Match host other,gpu*,!gpubox\n User no\nMatch host o*,gpu*\n User yes\n",
    "AddressFamily inet6\nHost gpubox\nAddressFamily inet\n",
]


def openssh(config: Path, alias: str) -> dict[str, list[str]]:
    done = subprocess.run(
        ["ssh", "-G", "-F", str(config), alias], capture_output=True, text=True, check=True, timeout=10
    )
    out: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        out.setdefault(key, []).append(value)
    return out


@pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh here")
@pytest.mark.parametrize("config", CONFIGS, ids=range(len(CONFIGS)))
def test_we_read_what_ssh_reads(tmp_path: Path, config: str) -> None:
    (tmp_path / "inc").write_text("Host gpubox\n HostName from-inc\nHost zzz\n User zzz\n")
    (tmp_path / "dead").write_text("User dead\n")
    path = tmp_path / "config"
    path.write_text(config.replace("{folder}", str(tmp_path)))
    theirs = openssh(path, "gpubox")
    ours = resolve("gpubox", Overrides(), SshPlaces(tmp_path, getpass.getuser(), ((path, tmp_path),)))
    assert [ours.host] == theirs["hostname"]
    assert [str(ours.port)] == theirs["port"]
    assert [ours.user] == theirs["user"]
    assert [ours.family] == theirs["addressfamily"]
    given = [i for i in theirs["identityfile"] if not i.startswith("~/.ssh/id_")]
    tokens = {"%n": "gpubox", "%h": ours.host, "%r": ours.user, "%%": "%"}
    for token, value in tokens.items():
        given = [i.replace(token, value) for i in given]
    assert list(ours.identities) == given
    proxies = [
        p.replace("%h", ours.host).replace("%p", str(ours.port)) for p in theirs.get("proxycommand", [])
    ]
    assert [" ".join(ours.proxy)] == (proxies or [""])
    jumps = theirs.get("proxyjump", [""])[0].split(",")
    assert [f"{h.user}@{h.host}:{h.port}" for h in ours.hops][-1:] == [
        f"root@{j.split('@')[1]}" if "@" in j else j for j in jumps if j
    ][-1:]


@pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh here")
@given(value=st.text("ab\\\"'# ", max_size=7), after=st.sampled_from(["", "  # Bea's box", " # x"]))
@settings(max_examples=150, deadline=None)
def test_quotes_comments_and_backslashes_are_those_of_ssh(value: str, after: str) -> None:
    """Any line of a configuration names the same user, or is refused by both."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config"
        path.write_text(f"User {value}{after}\nPort 2222 # don't change\n")
        argv = ["ssh", "-G", "-F", str(path), "gpubox"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
        places = SshPlaces(Path(folder), "me", ((path, Path(folder)),))
        if done.returncode:
            with pytest.raises(TargetError):
                resolve("gpubox", Overrides(), places)
            return
        theirs = dict(line.partition(" ")[::2] for line in done.stdout.splitlines())
        ours = resolve("gpubox", Overrides(), places)
        assert (ours.user, str(ours.port)) == (theirs["user"], theirs["port"])
