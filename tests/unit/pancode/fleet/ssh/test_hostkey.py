"""A pin is compared as a key, and its fingerprint is the one that ssh-keygen prints."""

from __future__ import annotations

import pytest

from pancode.fleet.ssh.hostkey import Changed, HostKey, Same, UnknownKey, compare_keys

ONE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMtL8jLEu/a6cJZTn+PFC5C/WmctCxUsUoiMrlzbk5a9"
TWO = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def test_the_comment_is_not_part_of_the_key() -> None:
    assert HostKey.parse(ONE + " root@box") == HostKey.parse(ONE)
    assert HostKey.parse(ONE).line == ONE


def test_fingerprint_form() -> None:
    fingerprint = HostKey.parse(ONE).fingerprint
    assert fingerprint.startswith("SHA256:") and len(fingerprint) == 7 + 43 and "=" not in fingerprint


def test_three_answers() -> None:
    one, two = HostKey.parse(ONE), HostKey.parse(TWO)
    assert compare_keys(None, one) == UnknownKey(one)
    assert compare_keys(one, HostKey.parse(ONE + " x")) == Same(one)
    assert compare_keys(one, two) == Changed(one, two)


@pytest.mark.parametrize("line", ["", "ssh-ed25519", "ssh-ed25519 !!!", "ssh-rsa " + ONE.split()[1]])
def test_what_is_no_key(line: str) -> None:
    with pytest.raises(ValueError, match="key"):
        HostKey.parse(line)
