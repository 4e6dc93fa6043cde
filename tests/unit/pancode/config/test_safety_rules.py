"""Rules of the user and of a repository: all of them hold, each with its origin, none is skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.wire.policy import PathAccess
from pancode.config.user_environment import OWN_RULES, FileSurroundings, load_rules
from pancode.kernel.errors import ConfigError


def told(home: Path, project: Path | None = None) -> list[tuple[str, str, str]]:
    loaded = load_rules(home, project)
    return [(r.pattern, r.access.value, r.origin) for r in loaded.rules.paths[len(OWN_RULES.paths) :]]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    home, project = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    project.mkdir()
    return home, project


def test_all_files_hold_at_once(folders: tuple[Path, Path]) -> None:
    home, project = folders
    (home / "pansafety.yaml").write_text("zeroAccessPaths: [.env]\n")
    (project / "safety-rules.yaml").write_text("# ours\nnoDeletePaths:\n  - .env\n  - README.md\n")
    assert told(home) == [(".env", "none", "your pansafety.yaml:1")]
    assert told(home, project) == [
        (".env", "none", "your pansafety.yaml:1"),
        (".env", "no-delete", "project safety-rules.yaml:3"),
        ("README.md", "no-delete", "project safety-rules.yaml:4"),
    ]


def test_nobody_may_change_the_rules_themselves(folders: tuple[Path, Path]) -> None:
    rules = load_rules(*folders).rules
    assert {rule.pattern: rule.access for rule in rules.paths} == {
        "./pansafety.yaml": PathAccess.READ,
        "./safety-rules.yaml": PathAccess.READ,
    }


def test_of_two_names_the_first_counts_and_says_so(folders: tuple[Path, Path]) -> None:
    home, _ = folders
    (home / "pansafety.yaml").write_text("readOnlyPaths: [a]\n")
    (home / "safety-rules.yaml").write_text("readOnlyPaths: [b]\n")
    loaded = load_rules(home, None)
    assert told(home) == [("a", "read", "your pansafety.yaml:1")]
    assert loaded.warnings == (
        f"{home}/safety-rules.yaml is not read: pansafety.yaml in the same folder takes precedence",
    )
    assert loaded.files == (f"{home}/pansafety.yaml",)


def test_an_error_names_file_line_rule_and_fix(folders: tuple[Path, Path]) -> None:
    home, project = folders
    (project / "pansafety.yaml").write_text(
        "rules:\n  - pattern: a\n    type: path\n    action: no-acces\n    reason: x\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_rules(home, project)
    assert str(caught.value).startswith(f"{project}/pansafety.yaml:4: rules.0.action:")
    assert "no-access?" in caught.value.fix
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("name", ["pansafety.yaml", "safety-rules.yaml"])
def test_what_cannot_be_read_is_no_empty_set_of_rules(folders: tuple[Path, Path], name: str) -> None:
    home, project = folders
    (project / name).symlink_to(project / "gone")
    with pytest.raises(ConfigError, match="cannot read|is a link to a missing file"):
        load_rules(home, project)
    (project / name).unlink()
    (project / name).mkdir()
    with pytest.raises(ConfigError, match="cannot read|is a link to a missing file"):
        load_rules(home, project)


def test_too_many_rules_in_all_files_together(folders: tuple[Path, Path]) -> None:
    home, project = folders
    for folder in folders:
        names = "".join(f"  - {folder.name}{n}\n" for n in range(150))
        (folder / "pansafety.yaml").write_text(f"readOnlyPaths:\n{names}")
    with pytest.raises(ConfigError, match="too many rules"):
        load_rules(home, project)


def test_the_surroundings_see_a_file_from_the_moment_it_is_written(folders: tuple[Path, Path]) -> None:
    home, project = folders
    around = FileSurroundings(home, {"HOME": str(home)}, machine=home / "none")
    own = len(OWN_RULES.paths)
    assert len(around.rules(str(project)).paths) == own
    assert around.loaded_rules(str(project)) is around.loaded_rules(str(project))
    (project / "safety-rules.yaml").write_text("readOnlyPaths: [a]\n")
    assert len(around.rules(str(project)).paths) == own + 1
    (project / "pansafety.yaml").write_text("readOnlyPaths: [b, c]\n")
    assert [rule.pattern for rule in around.rules(str(project)).paths[own:]] == ["b", "c"]
    assert len(around.rules(None).paths) == own
