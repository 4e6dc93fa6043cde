"""What the user's git knows of a remote counts for forges and schedules: address, proxy, authority."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.wire.clock import SystemClock
from pancode.git.forge.forges import HttpForges
from pancode.git.forge_rules import ForgeKind, ForgePlace
from pancode.kernel.errors import ConfigError, PancodeError, UnavailableError
from tests.integration.forge.fakes import TOKEN
from tests.integration.forge.test_forges import REPOSITORY, WANTED
from tests.integration.git.repos import simple

NOWHERE = "git.example.invalid"


class Proxy:
    """Writes down what it is asked for, and refuses it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                talk, _ = self._socket.accept()
            except OSError:
                return
            with talk:
                self.asked.append(talk.recv(4096).split(b"\r\n")[0].decode("latin-1"))
                if self.asked[-1].startswith("\x05"):
                    talk.sendall(b"\x05\xff")  # SOCKS 5: no method is accepted
                    continue
                talk.sendall(b"HTTP/1.1 403 no\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)  # ends the wait for a caller
        self._thread.join()
        self._socket.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy()
    yield made
    made.close()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "gitconfig"
    file.write_text("")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(file))
    return file


def forge() -> HttpForges:
    return HttpForges(dict, lambda name: TOKEN, SystemClock())


def ask_forge() -> None:
    with pytest.raises(PancodeError):
        forge().open(ForgePlace(ForgeKind.GITHUB, f"https://{NOWHERE}/api", "forge", REPOSITORY), WANTED)


@pytest.mark.parametrize("key", ["http", f'http "https://{NOWHERE}"'])
def test_the_proxy_of_the_users_git(settings: Path, proxy: Proxy, key: str) -> None:
    settings.write_text(f"[{key}]\n\tproxy = {proxy.url}\n")
    ask_forge()
    assert proxy.asked == [f"CONNECT {NOWHERE}:443 HTTP/1.1"]


def test_the_proxy_of_the_environment(settings: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", proxy.url)
    ask_forge()
    assert len(proxy.asked) == 1


def test_an_address_that_git_rewrites(settings: Path, tmp_path: Path) -> None:
    settings.write_text('[url "git@github.com:"]\n\tpushInsteadOf = gh:\n')
    user = simple(tmp_path / "user", 1)
    user.git("remote", "add", "origin", "gh:me/proj")
    assert forge().remote(str(user.path), "origin") == "git@github.com:me/proj"


def test_an_authority_of_the_users_git_that_cannot_be_read(settings: Path) -> None:
    settings.write_text("[http]\n\tsslCAInfo = ~/no-such-authority.pem\n")
    place = ForgePlace(ForgeKind.GITHUB, f"https://{NOWHERE}/api", "forge", REPOSITORY)
    with pytest.raises(PancodeError) as refused:
        forge().open(place, WANTED)
    assert "no-such-authority.pem" in refused.value.why


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("scheme", ["socks5h", "socks5", "socks"])
def test_a_socks_proxy(settings: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    address = proxy.url.replace("http", scheme)
    monkeypatch.setenv("ALL_PROXY", address)
    place = ForgePlace(ForgeKind.GITHUB, f"https://{NOWHERE}/api", "forge", REPOSITORY)
    with pytest.raises(UnavailableError) as refused:
        forge().check(place)
    assert proxy.asked == ["\x05\x01\x00"], "the greeting of SOCKS 5"
    assert "through the proxy socks5" in refused.value.why
    del refused
    gc.collect()  # httpcore leaves the socket of a refused greeting to the garbage collector


@pytest.mark.parametrize("address", ["quic://127.0.0.1:1", "http://127.0.0.1:port", "http://"])
def test_a_proxy_that_is_none(settings: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("ALL_PROXY", address)
    place = ForgePlace(ForgeKind.GITHUB, f"https://{NOWHERE}/api", "forge", REPOSITORY)
    with pytest.raises(ConfigError) as refused:
        forge().check(place)
    assert refused.value.code == "forge_proxy" and address in str(refused.value)


def test_an_alias_of_the_users_ssh(settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aliases = tmp_path / "ssh_config"
    aliases.write_text("Host work\n  HostName GitHub.com\nHost other\n  HostName git.example.org\n")
    user = simple(tmp_path / "user", 1)
    user.git("remote", "add", "origin", "git@work:me/proj.git")
    (tmp_path / "bin").mkdir()
    ssh, real = tmp_path / "bin/ssh", shutil.which("ssh")
    ssh.write_text(f'#!/bin/sh\nexec {real} -F {aliases} "$@"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    found = forge().repository(str(user.path), "origin")
    assert (found.host, found.alias, found.path) == ("github.com", "work", "me/proj")
    # Another file by core.sshCommand counts if the user set it, and not if the repository did.
    others = tmp_path / "others"
    others.write_text("Host work\n  HostName gitlab.com\n")
    user.git("config", "core.sshCommand", f"ssh -F {others}")
    assert forge().repository(str(user.path), "origin").host == "github.com"
    user.git("config", "--unset", "core.sshCommand")
    ssh.write_text(f'#!/bin/sh\nexec {real} "$@"\n')
    settings.write_text(f'[core]\n\tsshCommand = "ssh -F {others}"\n')
    assert forge().repository(str(user.path), "origin").host == "gitlab.com"
    settings.write_text('[core]\n\tsshCommand = "ssh -F /no/such/file"\n')
    assert forge().repository(str(user.path), "origin").host == "work"
