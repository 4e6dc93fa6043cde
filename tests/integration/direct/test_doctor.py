"""What `pancode doctor` says of the address for direct links, while no coordinator runs."""

from __future__ import annotations

import socket
from pathlib import Path

from pancode.offline.check import Check
from pancode.offline.doctor_openings import DIRECT, opening


def told(home: Path, listen: str | None) -> Check:
    return opening(DIRECT, home, {} if listen is None else {"PANCODE_DIRECT_LISTEN": listen})


def test_each_thing_that_may_be_wrong(tmp_path: Path) -> None:
    assert "nothing listens" in told(tmp_path, None)["detail"]
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
