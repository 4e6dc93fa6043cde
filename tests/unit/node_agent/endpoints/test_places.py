"""Where is looked: this machine's usual ports, the owner's list, the seeds' two forms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node_agent.endpoints.places import (
    LOOPBACK,
    PORTS,
    EndpointAddress,
    EndpointAddresses,
    Owners,
    machine_places,
    place_of,
    read_owners,
)
from node_agent.machine.home import SettingsError


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://10.0.0.5:8000", "http://10.0.0.5:8000"),
        ("http://10.0.0.5:8000/v1/", "http://10.0.0.5:8000"),
        ("https://models.lan/box/v1", "https://models.lan:443/box"),
        ("http://localhost:11434", "http://127.0.0.1:11434"),
        ("http://[fd00::1]:8080", "http://[fd00::1]:8080"),
    ],
)
def test_an_address_is_kept_without_the_wires_part(url: str, told: str) -> None:
    assert place_of(url).url == told


@pytest.mark.parametrize(
    "url", ["10.0.0.5:8000", "ftp://x", "http://", "http://u:p@h:1", "http://h:1/?key=x"]
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError):
        place_of(url)


def test_the_forms_of_the_seeds() -> None:
    assert [p.at for p in machine_places("192.168.1.5:1234")] == ["192.168.1.5:1234"]
    named = machine_places("gpu=192.168.1.5")
    assert [p.port for p in named] == list(PORTS)
    assert {p.prefix for p in named} == {"gpu"}
    assert [(p.at, p.prefix) for p in machine_places(" gpu=box.lan:9000 ")] == [("box.lan:9000", "gpu")]


@pytest.mark.parametrize(
    "text", ["", "192.168.1.5", "=1.2.3.4", "gpu=", "1.2.3.4:x", "1.2.3.4:0", "a b:1", "h:"]
)
def test_other_forms_are_errors_that_show_the_right_one(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        machine_places(text)


@pytest.mark.parametrize(
    ("host", "free"),
    [
        ("127.0.0.1", True),
        ("192.168.1.5", True),
        ("8.8.8.8", False),
        ("gpubox", True),
        ("gpu.lan", True),
        ("api.groq.com", False),
    ],
)
def test_what_costs_nothing(host: str, free: bool) -> None:
    assert EndpointAddress(host, 80).costs_nothing is free
    assert EndpointAddress(host, 80, free=not free).costs_nothing is not free


def test_what_is_listed_takes_the_place_of_what_is_found(tmp_path: Path) -> None:
    listed = [
        {"name": "mine", "url": "http://localhost:11434", "slots": 3},
        {"name": "off", "url": "http://127.0.0.1:8080", "enabled": False},
    ]
    (tmp_path / "endpoints.json").write_text(json.dumps({"endpoints": listed}))
    owners = read_owners(tmp_path)
    places = EndpointAddresses.of(owners.places(), owners.ports_left()).every
    assert [p.port for p in places] == [11434, 1234, 9931, 8000, 30000]
    assert (places[0].name, places[0].slots, places[0].host) == ("mine", 3, LOOPBACK)
    assert read_owners(tmp_path / "none") == Owners()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "the file: "),
        ('{"endpoint": []}', "endpoint: "),
        ('{"endpoints": [{"name": "a", "url": "10.0.0.1:1"}]}', "endpoints.0.url: .*http://HOST:PORT"),
        ('{"endpoints": [{"name": "openai", "url": "http://h:1"}]}', "vendor's name"),
        ('{"endpoints": [{"name": "A/b", "url": "http://h:1"}]}', "endpoints.0.name"),
        ('{"endpoints": [{"name": "a", "url": "http://h:1", "wires": ["telepathy"]}]}', "endpoints.0.wires"),
        (
            '{"endpoints": [{"name": "a", "url": "http://h:1"}, {"name": "a", "url": "http://h:2"}]}',
            "two endpoints have the name 'a'",
        ),
    ],
)
def test_a_file_that_cannot_be_meant_names_file_and_key(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "endpoints.json").write_text(text)
    with pytest.raises(SettingsError, match=f"endpoints.json: .*{words}|endpoints.json: {words}"):
        read_owners(tmp_path)
