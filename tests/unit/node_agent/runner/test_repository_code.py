"""What a program would start of a repository by itself is found where that program looks for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from node_agent.runner.repository_code import MOST, brought_in
from node_agent.runtimes.opencode.runtime import BROUGHT


def found(tree: Path, folder: str, **files: str) -> str | None:
    for name, text in files.items():
        path = tree / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return brought_in(tree, folder, BROUGHT)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".opencode/plugin/a.js", ""),
        (".opencode/plugins/a.ts", ""),
        ("opencode.json", '{"plugins": ["./x.js"]}'),
        (".opencode/opencode.jsonc", '{"\\u0070lugins": ["./x.js"]}'),
        ("opencode.jsonc", " " * (MOST + 1)),
        ("sub/.opencode/plugin/a.js", ""),
    ],
)
def test_it_is_found_at_every_level_down_to_where_the_run_begins(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    assert found(tmp_path, "sub/deep") is None
    assert found(tmp_path, "sub/deep", **{name: text}) == name


def test_a_plugin_folder_that_is_a_link_is_one(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a.js").touch()
    (tmp_path / ".opencode").mkdir()
    (tmp_path / ".opencode" / "plugin").symlink_to("../there")
    assert found(tmp_path, "") == ".opencode/plugin/a.js"


def test_settings_that_are_no_plain_file_may_hold_anything_and_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "opencode.json")
    assert found(tmp_path, "") == "opencode.json"


def test_what_starts_nothing_is_none_of_it(tmp_path: Path) -> None:
    """Settings without a plugin, an agent's text, a folder in which the run does not begin."""
    files = {
        "opencode.json": '{"model": "m"}',
        ".opencode/agent/a.md": "plugin",
        "other/.opencode/plugin/a.js": "",
    }
    assert found(tmp_path, "", **files) is None
