"""Entering the MCP server into other programs' files: shown, made, taken back; the rest stays as it was."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pancode.interfaces.mcp.install import PROGRAMS, ConfigChange, change_of
from pancode.kernel.errors import ConfigError, UsageError

OURS = ("/opt/p/pancode", "mcp")
CODEX = '# mine\nmodel = "gpt-5"\n\n[mcp_servers.other]\ncommand = "x"\n\n[tui]\nnotifications = true\n'


def changed(program: str, home: Path, argv: tuple[str, ...] = OURS) -> ConfigChange:
    change = change_of(program, argv, home, {})
    change.write()
    return change


def servers(program: str, home: Path) -> dict[str, Any]:
    text = PROGRAMS[program].place(home, {}).read_text()
    if program == "codex":
        return dict(tomllib.loads(text).get("mcp_servers", {}))
    return dict(json.loads(text)[PROGRAMS[program].key])


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_is_entered_once_and_taken_out_again(tmp_path: Path, program: str) -> None:
    change = changed(program, tmp_path)
    assert change.needed and "+" in change.diff() and str(change.file) in change.diff()
    entry = servers(program, tmp_path)["pancode"]
    words = entry["command"] if program == "opencode" else [entry["command"], *entry["args"]]
    assert words == ["/opt/p/pancode", "mcp"]
    assert not change_of(program, OURS, tmp_path, {}).needed, "twice is once"
    moved = changed(program, tmp_path, ("/elsewhere/pancode", "mcp"))
    assert moved.needed and "/elsewhere/pancode" in moved.text and "/opt/p" not in moved.text
    changed(program, tmp_path, ())
    assert not change.file.exists(), "there was no file before"
    assert not change_of(program, (), tmp_path, {}).needed


@pytest.mark.parametrize("program", sorted(set(PROGRAMS) - {"codex"}))
def test_what_else_a_json_file_says_stays(tmp_path: Path, program: str) -> None:
    known = PROGRAMS[program]
    place = known.place(tmp_path, {})
    place.parent.mkdir(parents=True, exist_ok=True)
    before = {"theme": "späť", known.key: {"other": {"command": "x"}}, "n": [1, 2]}
    place.write_text(json.dumps(before))
    place.chmod(0o640)
    changed(program, tmp_path)
    changed(program, tmp_path, ())
    assert json.loads(place.read_text()) == before
    assert place.stat().st_mode & 0o777 == 0o640


def test_comments_and_tables_of_a_toml_file_stay(tmp_path: Path) -> None:
    place = PROGRAMS["codex"].place(tmp_path, {})
    place.parent.mkdir(parents=True)
    place.write_text(CODEX)
    entered = changed("codex", tmp_path).text
    assert entered.startswith(CODEX) and set(servers("codex", tmp_path)) == {"other", "pancode"}
    place.write_text(entered.replace("[tui]", '[mcp_servers.pancode.env]\nA = "1"\n\n[tui]'))
    changed("codex", tmp_path, ())
    assert tomllib.loads(place.read_text()) == tomllib.loads(CODEX)
    assert place.read_text().startswith("# mine\n")


def test_tables_after_ours_stay_however_they_are_written(tmp_path: Path) -> None:
    place = PROGRAMS["codex"].place(tmp_path, {})
    place.parent.mkdir(parents=True)
    after = '# of other\n  [mcp_servers.other]\n  command = "x"\n\n  [projects."/a b"]\n  trust = 1\n# end\n'
    place.write_text('[mcp_servers.pancode]\ncommand = "old"\nargs = [\n  "mcp",\n]\n\n' + after)
    changed("codex", tmp_path, ())
    assert place.read_text() == after


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "{}",
        "{ }\n",
        '{"a":1}',
        '{"a":1,"KEY":{}}\n',
        '{"a": {"b": [1, 2]}, "KEY": {"other": {"command": "x"}}, "z": 1}',
        '{\n  "KEY": {\n  },\n  "z": "KEY"\n}\n',
        '{\n\t"a": "sp\u00e4t \\u00e4",\n\t"KEY": {\n\t\t"other": {"command": "x"}\n\t}\n}',
        '{\r\n    "a": 1.50,\r\n    "n": null\r\n}\r\n',
    ],
)
@pytest.mark.parametrize("program", ["claude", "opencode"])
def test_what_is_taken_out_leaves_a_json_file_byte_for_byte(tmp_path: Path, program: str, text: str) -> None:
    known = PROGRAMS[program]
    place = known.place(tmp_path, {})
    place.parent.mkdir(parents=True, exist_ok=True)
    before = text.replace("KEY", known.key).encode()
    place.write_bytes(before)
    changed(program, tmp_path)
    told = json.loads(place.read_bytes())
    assert "pancode" in told.pop(known.key)
    changed(program, tmp_path, ("/elsewhere/pancode", "mcp", "--tools", "all"))
    changed(program, tmp_path, ())
    assert place.read_bytes() == before


@pytest.mark.parametrize(
    "text", ["", "a = 1", "a = 1\n", "a = 1\n\n", "[t]\na = 1\n\n\n", CODEX, "\n", "a = 1\r\n"]
)
def test_what_is_taken_out_leaves_a_toml_file_byte_for_byte(tmp_path: Path, text: str) -> None:
    place = PROGRAMS["codex"].place(tmp_path, {})
    place.parent.mkdir(parents=True)
    place.write_bytes(text.encode())
    changed("codex", tmp_path)
    assert "pancode" in servers("codex", tmp_path)
    changed("codex", tmp_path, ("/elsewhere/pancode", "mcp"))
    changed("codex", tmp_path, ())
    assert place.read_bytes() == text.encode()


def test_a_file_that_its_program_writes_meanwhile_is_left_alone(tmp_path: Path) -> None:
    change = change_of("claude", OURS, tmp_path, {})
    (tmp_path / ".claude.json").write_text('{"login": "fresh"}')
    with pytest.raises(ConfigError, match="has changed meanwhile"):
        change.write()
    assert (tmp_path / ".claude.json").read_text() == '{"login": "fresh"}'


def test_a_variable_of_the_program_moves_its_file(tmp_path: Path) -> None:
    place = change_of("codex", OURS, tmp_path, {"CODEX_HOME": str(tmp_path / "c")}).file
    assert place == tmp_path / "c" / "config.toml"


@pytest.mark.parametrize(
    ("program", "text"), [("claude", "{"), ("claude", "[]"), ("codex", "= 1"), ("qwen", '{"mcpServers": 1}')]
)
def test_a_file_that_is_not_as_its_program_writes_it_is_left_alone(
    tmp_path: Path, program: str, text: str
) -> None:
    place = PROGRAMS[program].place(tmp_path, {})
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    with pytest.raises(ConfigError) as refused:
        change_of(program, OURS, tmp_path, {})
    assert "nothing was changed" in str(refused.value) and str(place) in refused.value.fix


def test_an_unknown_program_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        change_of("emacs", OURS, tmp_path, {})
    assert "claude, codex" in refused.value.fix


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.json"
    real.write_text("{}")
    (tmp_path / ".claude.json").symlink_to(real)
    changed("claude", tmp_path)
    assert (tmp_path / ".claude.json").is_symlink() and "pancode" in real.read_text()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_home_of_its_own_is_told_to_the_server(tmp_path: Path, program: str) -> None:
    """Codex hands none of its variables on."""
    change_of(program, OURS, tmp_path, {"PANCODE_HOME": '/srv/a "fleet"'}).write()
    entry = servers(program, tmp_path)["pancode"]
    assert entry["environment" if program == "opencode" else "env"] == {"PANCODE_HOME": '/srv/a "fleet"'}
