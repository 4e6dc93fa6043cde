"""`pancode policy show` and `check`: which rules count in a folder, and what they say; nothing is started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pancode.config.folder_safety import NOTE, Deed, judged_here, rules_here
from pancode.interfaces.cli.main import run
from pancode.kernel.errors import ConfigError, UsageError

MINE = """\
zeroAccessPaths: [.env]
rules:
  - {pattern: 'drop\\s+table', type: bash, action: deny, reason: the data}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home, project = tmp_path / "home", tmp_path / "project"
    (project / ".git").mkdir(parents=True)
    (project / "sub").mkdir()
    home.mkdir()
    (home / "pansafety.yaml").write_text(MINE)
    (project / "pansafety.yaml").write_text("readOnlyPaths: [VERSION]\n")
    monkeypatch.setenv("PANCODE_HOME", str(home))
    monkeypatch.chdir(project / "sub")
    return project


def _home(project: Path) -> Path:
    return project.parent / "home"


def test_every_rule_has_its_origin(project: Path) -> None:
    told = rules_here(_home(project), project / "sub", {})
    asked = {r["pattern"] for r in told["rules"] if r["kind"] == "landing"}
    assert {"pancode.yaml", ".pancode/", ".github/", ".envrc"} <= asked, "landed after a user's approval"
    rules = [r for r in told["rules"] if r["kind"] != "landing"]
    assert [(r["kind"], r["pattern"], r["leaves"], r["origin"]) for r in rules] == [
        ("path", "./pansafety.yaml", "reading", "built-in"),
        ("path", "./safety-rules.yaml", "reading", "built-in"),
        ("path", ".env", "nothing", "your pansafety.yaml:1"),
        ("path", "VERSION", "reading", "project pansafety.yaml:1"),
        ("command", "drop\\s+table", "nothing", "your pansafety.yaml:3"),
    ]
    assert told["files"] == [f"{_home(project)}/pansafety.yaml", f"{project}/pansafety.yaml"]
    assert told["note"] == NOTE
    outside = rules_here(_home(project), project.parent, {})
    assert "VERSION" not in [rule["pattern"] for rule in outside["rules"]]


@pytest.mark.parametrize(
    ("deed", "allowed", "words"),
    [
        (Deed("ls", None, "write", None, False), True, ""),
        (Deed("ls", None, "write", "suggest", False), False, "shell is not allowed"),
        (Deed("psql -c 'drop  table x'", None, "write", None, False), False, "the data"),
        (Deed(None, "../VERSION", "write", None, False), False, "rule read: VERSION"),
        (Deed(None, "../VERSION", "read", None, False), True, ""),
        (Deed(None, ".env", "read", "full-auto", False), False, "read sub/.env: rule none"),
        (Deed(None, "a.py", "write", None, False), True, ""),
        (Deed(None, "a.py", "write", None, True), False, "file_write is not allowed"),
        (Deed(None, "~/.ssh/id", "read", None, False), True, ""),
    ],
)
def test_what_would_happen(project: Path, deed: Deed, allowed: bool, words: str) -> None:
    said = judged_here(_home(project), project / "sub", {}, deed)
    assert said["allowed"] is allowed
    assert words in " ".join(one["words"] for one in said["because"])


def test_a_level_that_is_none_names_the_nearest(project: Path) -> None:
    with pytest.raises(UsageError) as caught:
        judged_here(_home(project), project, {}, Deed("ls", None, "write", "sugest", False))
    assert "--safety suggest?" in caught.value.fix


def test_a_rule_that_does_not_fit_stops_both(project: Path) -> None:
    (project / "pansafety.yaml").write_text("readOnlyPath: [VERSION]\n")
    for ask in (
        lambda: rules_here(_home(project), project, {}),
        lambda: judged_here(_home(project), project, {}, Deed("ls", None, "write", None, False)),
    ):
        with pytest.raises(ConfigError, match="readOnlyPath"):
            ask()


def test_words_and_exit_codes(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "check", "git push"]) == 18
    assert capsys.readouterr().out == (
        "not allowed: git_push at auto-edit\ngit push: git_push is not allowed in this run\n"
    )
    assert run(["policy", "check", "--path", "a.py"]) == 0
    assert capsys.readouterr().out == "allowed: file_write at auto-edit\n"
    assert run(["policy", "check", "cat .env", "--json"]) == 18
    assert json.loads(capsys.readouterr().out)["because"][0]["ends_the_run"] is True
    assert run(["policy", "check"]) == 2
    assert run(["policy", "check", "ls", "--path", "a"]) == 2
    capsys.readouterr()
    assert run(["policy", "show"]) == 0
    assert "project pansafety.yaml:1" in capsys.readouterr().out
    (project / "pansafety.yaml").write_text("rules: [x]\n")
    assert run(["policy", "show"]) == 3
    assert "pansafety.yaml:1" in capsys.readouterr().err
