"""`pancode config check` checks each kind of file that users write, by its name or by --kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from pancode.app.commands.setup import kind_of
from pancode.interfaces.cli.main import run
from pancode.kernel.errors import ExitCode

CHAIN = "steps:\n  - {name: one, task: mend it}\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PANCODE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_a_file_is_known_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "panagents.yaml").write_text("")
    (tmp_path / "deploy").mkdir()
    kinds = {
        "agents": "agents",
        "deploy": "skills",
        "x/panagents.yaml": "agents",
        "deploy/SKILL.md": "skills",
    }
    kinds |= {"pancode.yaml": "settings", "home/panpresets.yaml": "settings"}
    kinds |= {"pansafety.yaml": "rules", "release.yaml": "workflow", "review-loop": "workflow"}
    assert {name: kind_of(name) for name in kinds} == kinds


def test_a_workflow_with_an_error_is_named_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.yaml").write_text(CHAIN)
    (tmp_path / "bad.yaml").write_text(CHAIN.replace("task", "tusk"))
    assert run(["config", "check", "./good.yaml"]) == ExitCode.DONE
    assert run(["config", "check", "--kind", "workflow", "./bad.yaml"]) == ExitCode.CONFIG
    assert "tusk" in capsys.readouterr().out


def test_rules_are_checked_where_they_count(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = home / "pansafety.yaml"
    rules.write_text("zeroAccessPaths: [.env]\n")
    assert run(["config", "check", "--kind", "rules"]) == ExitCode.DONE
    assert run(["config", "check", str(rules)]) == ExitCode.DONE
    assert "no errors" in capsys.readouterr().out
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "pansafety.yaml").write_text("")
    assert run(["config", "check", "elsewhere/pansafety.yaml"]) == ExitCode.USAGE
    rules.write_text("nothing: [x]\n")
    assert run(["config", "check", str(rules)]) == ExitCode.CONFIG


def test_settings_are_checked_where_they_count(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = tmp_path / "shop"
    (shop / ".git").mkdir(parents=True)
    (shop / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    mine, theirs = home / "pancode.yaml", shop / "pancode.yaml"
    mine.write_text("budget: {ceiling: 10}\n")
    theirs.write_text("copy: [.env.dev]\n")
    assert run(["config", "check", str(mine)]) == run(["config", "check", str(theirs)]) == ExitCode.DONE
    assert run(["config", "check", "--kind", "settings"]) == ExitCode.DONE
    capsys.readouterr()
    theirs.write_text("copy: [.env.dev]\ndispatch: {safety: full-auto}\n")
    assert run(["config", "check", str(theirs)]) == ExitCode.CONFIG
    assert "shop/pancode.yaml:2: a repository may not set dispatch.safety" in capsys.readouterr().err
    (home / "panpresets.yaml").write_text("mine: {nothing: x}\n")
    assert run(["config", "check", str(home / "panpresets.yaml")]) == ExitCode.CONFIG
    (shop / "src").mkdir()
    (shop / "src" / "pancode.yaml").write_text("")
    assert run(["config", "check", "shop/src/pancode.yaml"]) == ExitCode.USAGE
    assert run(["config", "check", "gone/pancode.yaml"]) == ExitCode.USAGE


def test_agents_and_skills_need_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run(["config", "check", "--kind", "agents"])
        == run(["config", "check", "--kind", "skills"])
        == ExitCode.DONE
    )
    told = capsys.readouterr().out
    assert "the shipped agents apply" in told and "skills checked, 0 with errors" in told


def test_without_a_kind_a_file_is_needed() -> None:
    assert run(["config", "check"]) == run(["config", "check", "--kind", "workflow"]) == ExitCode.USAGE
