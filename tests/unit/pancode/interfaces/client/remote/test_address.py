"""The address of a coordinator on another node: how it is read, and what ssh is told of it."""

from __future__ import annotations

import pytest

from node_agent.wire.frames import line_of, read_line
from pancode.interfaces.client.client import home_of, place_of
from pancode.interfaces.client.remote.address import VARIABLE, RemoteAddress, read_address
from pancode.interfaces.client.remote.place import RemoteCoordinator
from pancode.kernel.errors import ConfigError, ExitCode, UsageError


@pytest.mark.parametrize(
    ("text", "address", "words"),
    [
        ("ssh://desk", RemoteAddress("desk"), ["--", "desk"]),
        ("ssh://Desk.Lan/", RemoteAddress("Desk.Lan"), ["--", "Desk.Lan"]),
        (
            "ssh://ana@desk:2222",
            RemoteAddress("desk", "ana", 2222),
            ["-l", "ana", "-p", "2222", "--", "desk"],
        ),
        ("ssh://desk/srv/pancode", RemoteAddress("desk", home="/srv/pancode"), ["--", "desk"]),
        ("ssh://desk/~/.other", RemoteAddress("desk", home="~/.other"), ["--", "desk"]),
        ("ssh://[::1]:22", RemoteAddress("::1", port=22), ["-p", "22", "--", "::1"]),
        ("ssh://desk/with%20space", RemoteAddress("desk", home="/with space"), ["--", "desk"]),
    ],
)
def test_an_address_is_read_as_its_parts(text: str, address: RemoteAddress, words: list[str]) -> None:
    assert read_address(text) == address and address.words() == words


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("desk", "ssh://"),
        ("tcp://desk:7433", "ssh://"),
        ("ssh://", "has no host"),
        ("ssh://-oProxyCommand=touch", "not a host name"),
        ("ssh://-l@desk", "not a user name"),
        ("ssh://desk:99999", "ort out of range"),
        ("ssh://desk:x", "ort could not be cast"),
        ("ssh://ana:secret@desk", "a password"),
        ("ssh://desk?x=1", "a query or a fragment"),
        ("ssh://desk/a%0Ab", "its path"),
        ("ssh://de%20sk", "not a host name"),
    ],
)
def test_what_is_no_address_is_refused_with_the_form(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as told:
        read_address(text)
    assert why in told.value.why and "ssh://[user@]host" in told.value.fix
    assert told.value.code == "bad_coordinator" and "secret" not in str(told.value)


@pytest.mark.parametrize(
    "text",
    [
        "http://ana:hunter2@desk",
        "ana:hunter2@desk",
        "http:/ana:hunter2@desk",
        "tcp://ana:a://hunter2@desk",
        "tcp://ana:@hunter2@desk",
        "ssh://ana:hunter2@desk:99999",
        "ssh://ana:hunter2#@desk",
        "ssh://ana:hunter2/x@desk",
        "ssh://ana:hunter2@de sk?x=1",
        "ssh://[ana:hunter2@desk",
    ],
)
def test_a_password_is_not_shown_whatever_else_is_wrong(text: str) -> None:
    with pytest.raises(ConfigError) as told:
        read_address(text)
    assert "hunter2" not in f"{told.value} {told.value.why} {told.value.fix}"


def test_who_needs_the_files_of_a_home_is_refused_where_it_is_on_another_machine() -> None:
    environ = {VARIABLE: "ssh://ana@desk", "HOME": "/h"}
    there = place_of(environ)
    assert isinstance(there, RemoteCoordinator) and there is place_of(environ) and str(there) == "desk"
    with pytest.raises(UsageError) as told:
        home_of(environ)
    assert told.value.exit_code is ExitCode.USAGE and "ssh ana@desk pancode" in told.value.fix
    assert str(place_of({VARIABLE: " ", "HOME": "/h"})) == "/h/.pancode"


def test_lines_of_a_noisy_login_are_none_of_ours() -> None:
    assert read_line(line_of({"protocol": 1})) == {"protocol": 1}
    assert [read_line(line) for line in (b"Welcome!\n", b"pancode-api {\n", b"pancode-api 7\n")] == [None] * 3


@pytest.mark.parametrize("noise", [b"Welcome! ", b"PS1=$ \x1b[0m", b"\n"])
def test_start_up_files_may_print_words_without_a_line_end(noise: bytes) -> None:
    said = {"protocol": 1, "folder": "/srv/pancode-api x"}
    assert read_line(noise + line_of(said)) == said
