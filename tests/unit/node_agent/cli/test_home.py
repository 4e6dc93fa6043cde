"""A secret that is set from afar: the right file and mode, the other values untouched, nothing broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node_agent.cli.home import set_secret
from node_agent.vault.vault import NoValue


def test_it_is_set_replaced_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    assert set_secret(file, "A_KEY", b"sk-1\n").startswith(f"A_KEY is set in {file} (4 characters)")
    file.chmod(0o644)
    assert "B is set" in set_secret(file, "B", "ä b".encode())
    assert "A_KEY is replaced" in set_secret(file, "A_KEY", b"sk-2\r\n")
    assert "A_KEY is unchanged" in set_secret(file, "A_KEY", b"sk-2")
    assert json.loads(file.read_text()) == {"A_KEY": "sk-2", "B": "ä b"}
    assert file.stat().st_mode & 0o777 == 0o600


def test_sources_of_other_values_stay_and_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('{"C": {"command": ["pass", "show", "c"]}}')
    (tmp_path / "secrets.json").symlink_to(tmp_path / "mine.json")
    set_secret(tmp_path / "secrets.json", "D", b"d")
    assert (tmp_path / "secrets.json").is_symlink()
    assert json.loads((tmp_path / "mine.json").read_text()) == {
        "C": {"command": ["pass", "show", "c"]},
        "D": "d",
    }


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("A KEY", b"x", "not a valid name: use"),
        ("", b"x", "not a valid name: use"),
        ("1A", b"x", "not a valid name: use"),
        ("A", b" \n", "empty"),
        ("A", b"x\0y", "NUL"),
        ("A", b"\xff", "UTF-8"),
        ("A", b"x" * (1 << 20) + b"y", "longer"),
    ],
)
def test_what_can_be_no_secret_is_refused(tmp_path: Path, name: str, value: bytes, why: str) -> None:
    with pytest.raises(NoValue, match=why):
        set_secret(tmp_path / "secrets.json", name, value)
    assert not (tmp_path / "secrets.json").exists()


def test_a_broken_file_is_not_written_over_and_its_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    file.write_text('{\n  "A": "sk-hidden",\n}\n')
    with pytest.raises(NoValue, match=r"secrets\.json .*line 3") as told:
        set_secret(file, "B", b"x")
    assert "sk-hidden" not in str(told.value) and file.read_text().count("sk-hidden") == 1
