"""AGENTS.md as a repository may have left it, hostile ways included."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from node_agent.workspace.folders import MOST_GUIDE, read_guide


def test_none_and_plain(tmp_path: Path) -> None:
    assert read_guide(tmp_path) is None
    (tmp_path / "AGENTS.md").write_bytes("Büro\xff".encode("latin-1"))
    found = read_guide(tmp_path)
    assert found is not None and found.findings == () and found.text.startswith("B")


@pytest.mark.parametrize("what", ["link", "dangling", "folder", "pipe"])
def test_what_is_no_plain_file_is_named_and_not_read(tmp_path: Path, what: str) -> None:
    path, secret = tmp_path / "AGENTS.md", tmp_path / "secret"
    secret.write_text("key")
    match what:
        case "link":
            path.symlink_to(secret)
        case "dangling":
            path.symlink_to(tmp_path / "nowhere")
        case "folder":
            path.mkdir()
        case _:
            os.mkfifo(path)
    found = read_guide(tmp_path)
    assert found is not None and found.text == "" and len(found.findings) == 1


@pytest.mark.parametrize(("size", "clipped"), [(MOST_GUIDE, False), (MOST_GUIDE + 1, True)])
def test_a_large_one_is_clipped_and_said(tmp_path: Path, size: int, clipped: bool) -> None:
    (tmp_path / "AGENTS.md").write_bytes(b"x" * size)
    found = read_guide(tmp_path)
    assert found is not None and len(found.text) == MOST_GUIDE and bool(found.findings) is clipped
