"""What `pancode init` proposes for a repository, by what lies at its top."""

from __future__ import annotations

from pathlib import Path

import pytest

from pancode.app.repository_proposal import LOOKED_AT, propose_settings
from pancode.config.load import ConfigPlaces, load
from pancode.interfaces.cli import main as entry

PYPROJECT = '[project]\nname = "x"\n[project.optional-dependencies]\ntest = ["pytest"]\n'
PACKAGE = '{"scripts": {"test": "vitest run", "lint": "eslint ."}}'
NO_TEST = '{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'
Files = dict[str, str]

TABLE: list[tuple[Files, tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = [
    ({}, (), (), ()),
    (
        {"pyproject.toml": PYPROJECT},
        ("python3 -m venv .venv", ".venv/bin/pip install -e .[test]"),
        (".venv",),
        (".venv/bin/python -m pytest -q",),
    ),
    (
        {"pyproject.toml": '[project]\nname = "x"\n'},
        ("python3 -m venv .venv", ".venv/bin/pip install -e ."),
        (".venv",),
        (),
    ),
    ({"pyproject.toml": PYPROJECT, "uv.lock": ""}, ("uv sync --frozen",), (".venv",), ("uv run pytest -q",)),
    ({"pyproject.toml": "[tool.black]\n", "package.json": "3"}, ("npm install",), ("node_modules",), ()),
    ({"pyproject.toml": "broken ["}, (), (), ()),
    (
        {"requirements.txt": "pytest\n"},
        ("python3 -m venv .venv", ".venv/bin/pip install -r requirements.txt"),
        (".venv",),
        (".venv/bin/python -m pytest -q",),
    ),
    (
        {"package.json": PACKAGE, "package-lock.json": ""},
        ("npm ci",),
        ("node_modules",),
        ("npm run lint", "npm run test"),
    ),
    (
        {"package.json": PACKAGE, "pnpm-lock.yaml": ""},
        ("pnpm install --frozen-lockfile",),
        ("node_modules",),
        ("pnpm run lint", "pnpm run test"),
    ),
    ({"package.json": NO_TEST}, ("npm install",), ("node_modules",), ()),
    ({"package.json": "{broken"}, (), (), ()),
    ({"Cargo.toml": ""}, ("cargo fetch",), ("target",), ("cargo test",)),
    ({"go.mod": ""}, ("go mod download",), (), ("go test ./...",)),
    ({"Makefile": "all:\n\ncheck:\n\ttrue\ntest: all\n"}, (), (), ("make test",)),
    ({"Makefile": "all:\n", "conftest.py": ""}, (), (), ()),
    (
        {"go.mod": "", "package.json": NO_TEST, "Makefile": "test:\n"},
        ("npm install", "go mod download"),
        ("node_modules",),
        ("go test ./...",),
    ),
]


@pytest.mark.parametrize(("files", "setup", "cache", "verify"), TABLE)
def test_by_the_files_at_its_top(
    files: Files, setup: tuple[str, ...], cache: tuple[str, ...], verify: tuple[str, ...], tmp_path: Path
) -> None:
    found = propose_settings(files)
    assert (found.setup, found.cache, found.verify) == (setup, cache, verify)
    assert bool(found) is bool(setup or cache or verify)
    (tmp_path / "pancode.yaml").write_text(found.text())
    (tmp_path / "home").mkdir()
    settings = load(ConfigPlaces(tmp_path / "home", tmp_path, tmp_path / "none"), {}).settings
    assert [" ".join(argv) for argv in (*settings.setup, *settings.project().verify)] == [*setup, *verify]
    assert settings.cache == cache


def test_only_what_is_looked_at_counts() -> None:
    assert {name for files, *_ in TABLE for name in files} <= set(LOOKED_AT)


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PANCODE_HOME", str(tmp_path / "home"))
    repo = tmp_path / "repo"
    (repo / ".git").mkdir(parents=True)
    (repo / "go.mod").write_text("module x\n")
    (repo / "sub").mkdir()
    monkeypatch.chdir(repo / "sub")
    return repo


def test_nothing_is_written_without_a_yes(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["init"]) == 0
    told = capsys.readouterr().out
    assert not (repo / "pancode.yaml").exists() and "go test ./..." in told and "--write" in told


def test_with_a_yes_it_is_written_once(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["init", "--write"]) == 0
    assert "go test ./..." in (repo / "pancode.yaml").read_text()
    (repo / "pancode.yaml").write_text("verify: []\n")
    assert entry.run(["init", "--write"]) == 0
    assert (repo / "pancode.yaml").read_text() == "verify: []\n"
    assert f"{repo}/pancode.yaml  exists, unchanged" in capsys.readouterr().out
