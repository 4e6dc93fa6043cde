"""The address for direct links: what is one, and what is said of what is none."""

from __future__ import annotations

import pytest

from pancode.fleet.place import ListenAddress, NodeListener, make_node_listener, place_of
from pancode.kernel.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.0.0.5:7843", "10.0.0.5", 7843),
        ("desk.example:1", "desk.example", 1),
        ("[fd00::5]:7843", "fd00::5", 7843),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    place = place_of(text, "pancode.yaml:2")
    assert place == ListenAddress(host, port, "pancode.yaml:2") and str(place) == text


@pytest.mark.parametrize(
    "text", ["desk", ":7843", "desk:", "desk:0", "desk:65536", "fd00::5:7843", "desk:x", "büro:1"]
)
def test_no_address(text: str) -> None:
    with pytest.raises(ConfigError, match=r"pancode.yaml:2.*direct|pancode.yaml:2") as caught:
        place_of(text, "pancode.yaml:2")
    assert "direct.listen: 10.0.0.5:7843" in caught.value.fix


@pytest.mark.parametrize("text", ["0.0.0.0:7843", "[::]:7843"])
def test_every_address_is_none_that_a_node_could_go_to(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        place_of(text, "here")
    assert "wildcard address" in caught.value.why


def test_where_nodes_go_is_where_we_listen_unless_it_is_said() -> None:
    ours, theirs = ListenAddress("10.0.0.5", 7843, "a"), ListenAddress("fleet.example", 443, "b")
    assert make_node_listener(ours, None) == NodeListener(ours, ours)
    assert make_node_listener(ours, theirs) == NodeListener(ours, theirs)
    assert make_node_listener(None, None) is None
    with pytest.raises(ConfigError, match="fleet.example:443") as caught:
        make_node_listener(None, theirs)
    assert "direct.listen: 10.0.0.5:7843" in caught.value.fix
