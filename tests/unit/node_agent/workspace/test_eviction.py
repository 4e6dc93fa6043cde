"""Which kept folders go: the old ones, then those used longest ago, until the rest fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.wire.keep import KeepBound
from node_agent.workspace.eviction import KeptFolder, measure_folder, select_evicted, used_ms

KEPT = [
    KeptFolder("newest", 90, 30),
    KeptFolder("old", 10, 30),
    KeptFolder("used", 20, 30, stays=True),
    KeptFolder("middle", 50, 30),
]


@pytest.mark.parametrize(
    ("age_ms", "size", "gone"),
    [
        (1_000, None, set()),
        (60, None, {"old"}),
        (90, None, set()),  # as old as the bound is not beyond it
        (1_000, 120, set()),
        (1_000, 119, {"old"}),
        (60, 90, {"old"}),  # what age has taken counts no more
        (1_000, 60, {"old", "middle"}),
        (1_000, 0, {"old", "middle", "newest"}),
        (0, None, {"old", "middle", "newest"}),
    ],
)
def test_what_is_old_goes_then_what_was_used_longest_ago(
    age_ms: int, size: int | None, gone: set[str]
) -> None:
    found = select_evicted(KEPT, KeepBound(age_ms=age_ms, size=size), 100)
    assert set(found) == gone
    assert all(found[one.name] == one.used_ms for one in KEPT if one.name in found)


def test_a_folder_is_measured_only_where_a_bound_asks(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/file").write_bytes(b"x" * 100_000)
    (tmp_path / "link").symlink_to("/")
    assert 100_000 <= measure_folder(tmp_path, KeepBound(age_ms=1, size=1)) < 200_000
    assert measure_folder(tmp_path, KeepBound(age_ms=1)) == 0
    assert used_ms(tmp_path) > 0 and used_ms(tmp_path / "gone") == 0
