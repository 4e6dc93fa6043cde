"""The file of mappings that the seeds have: which repository the issues of a Linear project are of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pancode.cli.project import mapped
from pancode.errors import UsageError


def test_a_file_of_mappings_is_read_row_by_row(tmp_path: Path) -> None:
    file = tmp_path / "project-mappings.json"
    row = {"linearProjectId": "abc123", "linearProjectName": "Mind Your Now", "linearPrefix": "MIN"}
    file.write_text(json.dumps([{**row, "localPath": "/src/myn"}, {"localPath": "/src/househunt"}]))
    facts = {"linear_id": "abc123", "linear_name": "Mind Your Now", "prefix": "MIN"}
    assert mapped(str(file)) == [{"path": "/src/myn", **facts}, {"path": "/src/househunt"}]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"linearPrefix": "MIN"}]', '["a"]', "7"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "other.json"
    file.write_text(text)
    if text == "{}":
        assert mapped(str(file)) == []
        return
    with pytest.raises(UsageError, match="no file of project mappings"):
        mapped(str(file))
