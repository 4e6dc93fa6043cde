"""The node's home: keys, settings, secrets, and where the tunnel ends now."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node_agent.machine.home import LinkEnds, LinkFile, NodeHome, SettingsError, current_link
from node_agent.wire.clock import SystemIds
from node_agent.wire.signing import SigningKey


@pytest.mark.parametrize(
    ("text", "redis", "depot"),
    [
        ("g7", "/s/g7/redis.sock", "/s/g7/depot.sock"),
        ('{"generation":"g","redis":"unix:/a/r","depot":"unix:/a/d"}', "/a/r", "/a/d"),
        (
            '{"redis":"tcp:127.0.0.1:4001","depot":"tcp:127.0.0.1:4002"}',
            ("127.0.0.1", 4001),
            ("127.0.0.1", 4002),
        ),
    ],
)
def test_links(tmp_path: Path, text: str, redis: object, depot: object) -> None:
    (tmp_path / "current").write_text(text + "\n")
    found = current_link(tmp_path)
    assert found is not None
    expected = [
        str(tmp_path) + one[2:] if isinstance(one, str) and one[:2] == "/s" else one for one in (redis, depot)
    ]
    assert [found.redis, found.depot] == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{}",
        '{"redis":1,"depot":2}',
        '{"redis":"unix:rel","depot":"unix:/d"}',
        '{"redis":"tcp:1","depot":""}',
    ],
)
def test_no_link(tmp_path: Path, text: str) -> None:
    (tmp_path / "current").write_text(text)
    assert current_link(tmp_path) is None
    assert current_link(tmp_path / "nowhere") is None


def test_a_link_s_name_stays_inside(tmp_path: Path) -> None:
    (tmp_path / "current").write_text("../../etc")
    assert current_link(tmp_path) == LinkEnds(
        str(tmp_path / "etc/redis.sock"), str(tmp_path / "etc/depot.sock")
    )


def test_a_key_is_made_once(tmp_path: Path) -> None:
    home = NodeHome(tmp_path)
    public = home.make_key(SystemIds())
    assert home.make_key(SystemIds()) == public == home.read_key().public
    assert home.key.stat().st_mode & 0o777 == 0o600


def test_what_is_not_a_key_is_never_replaced(tmp_path: Path) -> None:
    home = NodeHome(tmp_path)
    home.key.parent.mkdir()
    home.key.write_text("precious")
    home.key.chmod(0o600)
    with pytest.raises(SettingsError, match="not a PanCode key"):
        home.make_key(SystemIds())
    assert home.key.read_text() == "precious"


def test_prices(tmp_path: Path) -> None:
    home = NodeHome(tmp_path)
    assert home.read_prices() == {}
    for bad in ("[]", '{"m": 1}', "{"):
        home.prices.write_text(bad)
        with pytest.raises(SettingsError, match=r"prices\.json"):
            home.read_prices()
    home.prices.write_text(json.dumps({"m": "1 2 3 4"}))
    assert home.read_prices() == {"m": "1 2 3 4"}


def test_a_link_file_that_is_replaced_is_read_again(tmp_path: Path) -> None:
    link = LinkFile(tmp_path)
    assert link.ends() is None
    for generation in ("g1", "g2"):
        (tmp_path / "new").write_text(generation)
        (tmp_path / "new").replace(tmp_path / "current")
        expected = LinkEnds(
            str(tmp_path / generation / "redis.sock"), str(tmp_path / generation / "depot.sock")
        )
        assert link.ends() == link.ends() == expected
    (tmp_path / "current").unlink()
    assert link.ends() is None


def test_the_coordinator_s_keys_are_a_line_each(tmp_path: Path) -> None:
    old, fresh = SigningKey(b"o" * 32).public, SigningKey(b"f" * 32).public
    home = NodeHome(tmp_path)
    home.coordinator.parent.mkdir()
    home.coordinator.write_text(f"{fresh.text()}\n{old.text()}\n")
    assert list(home.read_coordinators()) == [fresh.keyid, old.keyid]
    for bad in ("", f"{fresh.text()}\nrubbish\n"):
        home.coordinator.write_text(bad)
        with pytest.raises(SettingsError, match="enroll this node again"):
            home.read_coordinators()
