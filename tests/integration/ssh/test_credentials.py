"""Keys made by ssh-keygen and held by a real ssh-agent: what can be used is used, the rest is named."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pancode.fleet.ssh.credentials import SshLogin, encrypted, keys
from pancode.fleet.ssh.errors import ConnectError, LinkFault
from pancode.fleet.ssh.home import make_key
from pancode.fleet.ssh.target import Target


def keygen(path: Path, passphrase: str = "", *more: str) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-N", passphrase, "-f", str(path), *more], check=True, timeout=30)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """plain, locked and locked_pem keys; a home with a default key."""
    where = tmp_path_factory.mktemp("keys")
    keygen(where / "plain", "", "-t", "ed25519")
    keygen(where / "locked", "secret", "-t", "ed25519")
    keygen(where / "locked_pem", "secret", "-t", "ecdsa", "-m", "PEM")
    (where / "home/.ssh").mkdir(parents=True)
    keygen(where / "home/.ssh/id_ed25519", "", "-t", "ed25519")
    yield where


def target(*identities: Path, only: bool = False, agent: str | None = None) -> Target:
    return Target("box", "h", 22, "me", tuple(map(str, identities)), identities_only=only, agent_path=agent)


def test_which_keys_need_a_passphrase(folder: Path) -> None:
    said = {n: encrypted((folder / n).read_text()) for n in ("plain", "locked", "locked_pem")}
    assert said == {"plain": False, "locked": True, "locked_pem": True}
    assert not encrypted(make_key()) and not encrypted("") and not encrypted("-----BEGIN OPENSSH PRIVATE KEY")


def test_named_files_then_defaults(folder: Path) -> None:
    home = SshLogin(home=str(folder / "home"))
    assert keys(target(folder / "plain"), home)["client_keys"] == [str(folder / "plain")]
    assert keys(target(), home)["client_keys"] == [str(folder / "home/.ssh/id_ed25519")]
    assert keys(target(folder / "locked", folder / "plain"), home)["client_keys"] == [str(folder / "plain")]


def test_the_agent_holds_what_is_locked(folder: Path) -> None:
    chosen = keys(target(folder / "locked", agent="/a"), SshLogin())
    assert (chosen["client_keys"], chosen["agent_path"], chosen["agent_identities"]) == ([], "/a", None)
    for name in ("locked", "locked.pub"):
        only = keys(target(folder / name, only=True, agent="/a"), SshLogin())
        assert only["agent_identities"] == [str(folder / "locked.pub")] and only["client_keys"] == []


def test_our_own_key_needs_nothing_of_the_user(folder: Path) -> None:
    chosen = keys(target(folder / "plain", agent="/a"), SshLogin(keys=(make_key(),), own_only=True))
    assert len(chosen["client_keys"]) == 1 and chosen["agent_path"] is None


@pytest.mark.parametrize(
    ("name", "words", "fix"),
    [
        ("locked", "passphrase", "ssh-add"),
        ("missing", "no key", "--identity"),
        ("locked.pub", "passphrase", "ssh-add"),
    ],
)
def test_nothing_to_log_in_with(folder: Path, name: str, words: str, fix: str) -> None:
    with pytest.raises(ConnectError, match=words) as caught:
        keys(target(folder / name), SshLogin())
    assert (
        caught.value.fault is LinkFault.BAD_CREDENTIALS and caught.value.permanent and fix in caught.value.fix
    )


def test_only_the_named_identity_is_offered(folder: Path) -> None:
    with pytest.raises(ConnectError):
        keys(target(folder / "missing", only=True, agent="/a"), SshLogin())
