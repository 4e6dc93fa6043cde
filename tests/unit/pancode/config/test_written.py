"""What `config show` prints can be written back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pancode.config.commands import show
from pancode.config.load import ConfigPlaces, Loaded, format_duration, format_size, load
from pancode.interfaces.cli.output import Face

OTHER = """
budget: {ceiling: 12.5, per_run: 0.1, estimate_time: 90s}
dispatch: {agent: builder, reasoning: "off", max_attempts: 3, safety: suggest}
limits: {wall: 1h30m, idle: 250ms, output: 500KB, memory: 4GiB, tokens: 12000, wrap_up: true}
models: {worker: "ollama/qwen3:30b", machines: ["10.0.0.5:1234", "gpu=10.0.0.6"], tiers: {"a*": small}}
setup: [pip install -e ., [sh, -c, "echo 'a: b' # c"]]
allow: {env: [A, B]}
"""


def loaded(home: Path, text: str) -> Loaded:
    home.mkdir()
    (home / "pancode.yaml").write_text(text)
    return load(ConfigPlaces(home, None, home / "none"), {})


def written_back(found: Loaded) -> str:
    whole: dict[str, Any] = {}
    for key, value, _ in found.rows():
        *above, name = key.split(".")
        part = whole
        for step in above:
            part = part.setdefault(step, {})
        part[name] = yaml.safe_load(value)
    return yaml.safe_dump(whole)


@pytest.mark.parametrize("text", ["{}", OTHER])
def test_every_value_that_is_shown_is_accepted_by_a_file(tmp_path: Path, text: str) -> None:
    before = loaded(tmp_path / "a", text)
    assert loaded(tmp_path / "b", written_back(before)).settings == before.settings


def test_slots_that_are_set_are_shown_with_a_note_that_machines_keep_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PANCODE_HOME", str(tmp_path))
    show(face=Face(as_json=False))
    assert "note" not in capsys.readouterr().err
    monkeypatch.setenv("PANCODE_NODE_CONCURRENCY", "3")
    show(word="slots", face=Face(as_json=False))
    told = capsys.readouterr()
    assert "pancode node set NAME --slots N" in told.err and "nodes.slots  3" in told.out


def test_values_look_as_users_write_them(tmp_path: Path) -> None:
    rows = {key: value for key, value, _ in loaded(tmp_path / "a", OTHER).rows()}
    assert (rows["limits.wall"], rows["limits.idle"], rows["limits.output"]) == ("1h30m", "250ms", "500KB")
    assert (rows["limits.memory"], rows["limits.processes"], rows["budget.ceiling"]) == (
        "4GiB",
        "null",
        "12.5",
    )
    assert (rows["limits.wrap_up"], rows["cache"], rows["dispatch.safety"]) == ("true", "[]", "suggest")
    assert rows["models.machines"] == "['10.0.0.5:1234', gpu=10.0.0.6]"


def test_units_are_exact() -> None:
    assert [format_duration(ms) for ms in (1, 3_600_000, 90_061_001, 0)] == [
        "1ms",
        "1h",
        "1d1h1m1s1ms",
        "0ms",
    ]
    assert [format_size(count) for count in (64 << 20, 1000, 1023, 2**41)] == [
        "64MiB",
        "1KB",
        "1023B",
        "2048GiB",
    ]
