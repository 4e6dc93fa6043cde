"""What `pancode doctor` says of the address for direct links, while no coordinator runs."""

from __future__ import annotations

import socket
from pathlib import Path

from pancode.app.doctor import DIRECT, check_listener
from pancode.fleet.answers import HomeCheck


def told(home: Path, listen: str | None) -> HomeCheck:
    return check_listener(DIRECT, home, {} if listen is None else {"PANCODE_DIRECT_LISTEN": listen})


def test_each_thing_that_may_be_wrong(tmp_path: Path) -> None:
    assert "no listener is configured" in told(tmp_path, None)["detail"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        said = told(tmp_path, place)
        assert not said["ok"] and "in use" in said["detail"] and "ss -ltn" in said["fix"]
    said = told(tmp_path, place)
    assert said["ok"] and "is free" in said["detail"] and "PANCODE_DIRECT_LISTEN" in said["detail"]
    said = told(tmp_path, "192.0.2.1:7843")
    assert not said["ok"] and "192.0.2.1:7843" in said["detail"] and "ip -brief addr" in said["fix"]
    pem = tmp_path / "key" / "direct" / "server.pem"
    pem.parent.mkdir(parents=True)
    pem.write_text("nonsense")
    said = told(tmp_path, place)
    assert not said["ok"] and str(pem) in said["detail"] and f"rm {pem}" in said["fix"]
    pem.unlink()
    for text in ("0.0.0.0:7843", "desk:0"):
        said = told(tmp_path, text)
        assert said["level"] == "error" and "PANCODE_DIRECT_LISTEN" in said["detail"], said
    said = told(tmp_path, "nonsense")  # which the look at the settings names
    assert said["level"] == "warning" and "settings" in said["detail"]


def test_where_nodes_are_sent_instead_is_told_and_what_leads_nowhere_is_refused(tmp_path: Path) -> None:
    """A router in front of it sends them on: from here nobody can try that way."""

    def said(**named: str) -> HomeCheck:
        return check_listener(
            DIRECT, tmp_path, {f"PANCODE_DIRECT_{name}": value for name, value in named.items()}
        )

    with socket.create_server(("127.0.0.1", 0)) as free:
        place = f"127.0.0.1:{free.getsockname()[1]}"
    fine = said(LISTEN=place, ADVERTISE="fleet.example.org:443")
    assert (
        fine["ok"] and "nodes connect to fleet.example.org:443 (PANCODE_DIRECT_ADVERTISE)" in fine["detail"]
    ), fine
    alone = said(ADVERTISE="fleet.example.org:443")
    assert not alone["ok"] and "direct.listen is not set" in alone["detail"], alone
    every = said(LISTEN=place, ADVERTISE="0.0.0.0:443")
    assert not every["ok"] and "PANCODE_DIRECT_ADVERTISE" in every["detail"], every
