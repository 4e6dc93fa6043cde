"""Which untracked files are held back by their names, and which a user lets through."""

from __future__ import annotations

import pytest

from pancode.git.file_list import ANY, find_withheld, is_private


@pytest.mark.parametrize(
    "name",
    [".env", "a/.env.local", "prod.env", "id_rsa", ".ssh/ID_ED25519", "tls/x.pem", ".netrc", "x.key"],
)
def test_held_back(name: str) -> None:
    assert is_private(name.encode())


@pytest.mark.parametrize(
    "name", [".env.example", "id_rsa.pub", "environment.py", "keys.py", ".envrc", "pem", "src/env/a.py"]
)
def test_not_held_back(name: str) -> None:
    assert not is_private(name.encode())


def test_a_name_of_any_bytes() -> None:
    assert is_private(b"caf\xe9.pem")


def test_what_a_user_allows() -> None:
    names = (b".env", b"test/.env", b"id_rsa", b"a.py")
    assert find_withheld(names, ()) == (b".env", b"test/.env", b"id_rsa")
    assert find_withheld(names, ("test/.env", "id_rsa")) == (b".env",)
    assert find_withheld(names, (".env",)) == (b"id_rsa",)
    assert find_withheld(names, (ANY,)) == ()
