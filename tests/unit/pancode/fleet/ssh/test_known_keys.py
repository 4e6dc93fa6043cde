"""The user's files of known hosts: each name under which ssh stores a key is found, and each key of it."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from pancode.fleet.ssh.hostkey import HostKey
from pancode.fleet.ssh.machines import read_known_host
from pancode.fleet.ssh.target import Target


def new_key(algorithm: str = "ssh-ed25519") -> HostKey:
    return HostKey.parse(asyncssh.generate_private_key(algorithm).export_public_key().decode())


RIGHT, OTHER = new_key(), new_key()


def hashed(name: str) -> str:
    salt = b"twenty bytes of salt"
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{b64encode(salt).decode()}|{b64encode(digest).decode()}"


@pytest.mark.parametrize(
    ("stored", "host", "port"),
    [
        ("gpubox.example", "gpubox.example", 22),
        ("gpubox.example,10.0.0.7", "gpubox.example", 22),
        ("*.example", "gpubox.example", 22),
        ("[gpubox.example]:2222", "gpubox.example", 2222),
        ("gpubox.example", "gpubox.example", 2222),  # OpenSSH accepts the key of the default port
        (hashed("gpubox.example"), "gpubox.example", 22),
        (hashed("[gpubox.example]:2222"), "gpubox.example", 2222),
        ("10.0.0.7", "10.0.0.7", 22),
        ("[10.0.0.7]:2222", "10.0.0.7", 2222),
        (hashed("10.0.0.7"), "10.0.0.7", 22),
        ("10.0.0.0/8", "10.0.0.7", 22),
        ("fd00::7", "fd00::7", 22),
        ("[fd00::7]:2222", "fd00::7", 2222),
        (hashed("fd00::7"), "fd00::7", 22),
    ],
)
def test_a_key_is_found_by_name_and_by_address(tmp_path: Path, stored: str, host: str, port: int) -> None:
    target = Target("gpu", host, port, "ops", known_hosts=(str(tmp_path / "known"),))
    (tmp_path / "known").write_text(f"elsewhere.example {OTHER.line}\n")
    assert read_known_host(target, tmp_path).keys == []
    with (tmp_path / "known").open("a") as file:
        file.write(f"{stored} {RIGHT.line}\n")
    assert read_known_host(target, tmp_path).keys == [RIGHT]


def test_the_alias_of_a_key_replaces_name_and_port(tmp_path: Path) -> None:
    (tmp_path / "known").write_text(f"gpubox.example {OTHER.line}\ncompute-1 {RIGHT.line}\n")
    target = Target("gpu", "gpubox.example", 2222, "ops", known_hosts=(str(tmp_path / "known"),))
    assert read_known_host(replace(target, key_name="compute-1"), tmp_path).keys == [RIGHT]
    assert read_known_host(target, tmp_path).keys == [OTHER]


def test_a_host_has_every_key_of_its_lines(tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    old = new_key("ecdsa-sha2-nistp256")
    (tmp_path / ".ssh/known_hosts").write_text(f"hop.example {old.line}\nhop.example {RIGHT.line}\n")
    found = read_known_host(Target("hop", "hop.example", 22, "ops", known_hosts=None), tmp_path).keys
    assert found[:2] == [old, RIGHT]
