"""What fills a node's disk: the folders of its home, and those of attempts, as `du` tells them."""

from __future__ import annotations

from pathlib import Path

from node_agent.machine.discovery import DiskUse
from node_agent.wire.clock import SystemClock


def test_the_folders_come_first_and_then_the_largest_attempts(tmp_path: Path) -> None:
    for number in range(20):
        tree = tmp_path / f"work/r-aaa{number:03}.1.1/tree"
        tree.mkdir(parents=True)
        (tree / "file").write_bytes(b"x" * (10_000 + 20_000 * number))
    (tmp_path / "work/not an attempt").mkdir()
    (tmp_path / "mirrors/one.git").mkdir(parents=True)
    use = DiskUse(tmp_path, SystemClock())
    use.look()  # begins to measure, and waits for nothing
    use._measures.join(30)
    told = use.look()
    assert [one.what for one in told[:3]] == ["work", "mirrors", "work/r-aaa019.1.1"]
    assert len(told) == 16 and all(one.what.startswith("work/r-") for one in told[2:])
    assert told[2].bytes >= 390_000 and told[0].bytes > told[2].bytes
