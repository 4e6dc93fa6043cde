"""The file of mappings that the seeds have; and the draft of a PRD, which a user keeps."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click import Command
from typer import Context

from pancode.interfaces.cli import main
from pancode.interfaces.cli.output import Face
from pancode.kernel.errors import ExitCode, UsageError
from pancode.workspaces.commands import projects as project
from pancode.workspaces.commands.projects import add, prd, read_mappings
from tests.fakes.api import FakeApi


def test_a_file_of_mappings_is_read_row_by_row(tmp_path: Path) -> None:
    file = tmp_path / "project-mappings.json"
    row = {"linearProjectId": "abc123", "linearProjectName": "Mind Your Now", "linearPrefix": "MIN"}
    file.write_text(json.dumps([{**row, "localPath": "/src/myn"}, {"localPath": "/src/househunt"}]))
    facts = {"linear_id": "abc123", "linear_name": "Mind Your Now", "prefix": "MIN"}
    assert read_mappings(str(file)) == [{"path": "/src/myn", **facts}, {"path": "/src/househunt"}]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"linearPrefix": "MIN"}]', '["a"]', "7"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "other.json"
    file.write_text(text)
    with pytest.raises(UsageError, check=lambda error: error.code == "bad_mapping"):
        read_mappings(str(file))


class Ground:
    def __init__(self, patch: pytest.MonkeyPatch, shop: Path) -> None:
        self.patch, self.shop, self.commands = patch, shop, list[list[str]]()
        shop.mkdir()
        self.posted: dict[str, Any] = {}
        self.knows("")
        patch.setattr(main, "run", self.run)

    def run(self, args: list[str]) -> int:
        self.commands.append(args)
        return ExitCode.DONE

    def knows(self, found: str) -> None:
        """The coordinator has one project, in this folder."""
        self.about: dict[str, Any] = {"path": str(self.shop), "remote": "", "prd": found}
        facts: dict[str, Any] = {"name": "shop", "agent": None, "require": {}, "budget": None}
        facts |= {"verify": None, "prefix": "", "tracker": "", "labels": {}, "notes": [], "there": True}
        facts |= {"linear_id": "", "linear_name": "", "gpus": None, "gpu_memory": None}

        def draft(path: str, query: dict[str, Any]) -> dict[str, Any]:
            assert query in ({}, {"run": "r-1"})
            text = "# Shop\n" if query else None
            return {**self.about, "project": "shop", "task": "Draft it", "text": text}

        def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
            self.posted = body
            return {**facts, **self.about}

        answers = {"POST /v1/projects": post}
        FakeApi({"GET /v1/projects/shop/prd": draft, **answers}).serves(self.patch)

    def sits(self, yes: bool) -> list[str]:
        asked: list[str] = []
        self.patch.setattr(Face, "can_ask", lambda self: True)

        def agreed(face: Face, words: str, otherwise: str) -> bool:
            asked.append(words)
            return yes

        self.patch.setattr(Face, "confirm", agreed)
        return asked


@pytest.fixture
def ground(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ground:
    return Ground(monkeypatch, tmp_path / "shop")


def added(ground: Ground, **more: Any) -> int:
    context = Context(Command("add"))
    context.params = more
    return add(str(ground.shop), face=Face(as_json=False), ctx=context)


def test_named_people_can_be_replaced_and_removed(ground: Ground) -> None:
    for given, sent in (([], None), (["ana", "bea"], ["ana", "bea"]), (["none"], [])):
        added(ground, pull_person=given)
        assert ground.posted.get("pull_people") == sent


def test_a_draft_is_a_read_only_run_and_writes_nothing(ground: Ground, capsys: Any) -> None:
    assert prd("shop", face=Face(as_json=False)) == ExitCode.DONE
    (command,) = ground.commands
    assert command == [
        *("dispatch", "--agent", "planner", "--mode", "review", "--project", "shop", "--", "Draft it")
    ]
    assert "pancode project prd shop --keep last" in capsys.readouterr().err
    assert list(ground.shop.iterdir()) == []
    ground.knows("docs/prd.md")
    with pytest.raises(UsageError, match="docs/prd.md"):
        prd("shop", face=Face(as_json=False))


def test_what_is_kept_is_written_once_and_over_nothing(ground: Ground, tmp_path: Path) -> None:
    face = Face(as_json=False)
    ground.knows("README.md")
    assert prd("shop", keep="r-1", face=face) == ExitCode.DONE
    file = ground.shop / "docs/PRD.md"
    assert file.read_text() == "# Shop\n" and not ground.commands
    file.write_text("mine\n")
    with pytest.raises(UsageError, match="already exists"):
        prd("shop", keep="r-1", face=face)
    assert file.read_text() == "mine\n"
    ground.knows("PRD.md")
    file.unlink()
    with pytest.raises(UsageError, match=r"PRD\.md"):
        prd("shop", keep="r-1", face=face)
    ground.knows("")
    file.parent.rmdir()
    file.parent.symlink_to(tmp_path)
    with pytest.raises(UsageError, match="is a link to another place"):
        prd("shop", keep="r-1", face=face)
    assert not (tmp_path / "PRD.md").exists()


def test_a_draft_of_a_coordinator_elsewhere_is_kept_in_ones_own_checkout(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    subprocess.run(["git", "init", "-q", str(mine)], check=True)
    (mine / "web").mkdir()
    monkeypatch.setattr(project, "remote_of", lambda environ: "gpubox")
    monkeypatch.setattr(project, "folder_here", lambda: str(mine / "web"))
    ground.about["remote"] = "github.com/me/shop"
    with pytest.raises(UsageError, match="of shop"):
        prd("shop", keep="r-1", face=Face(as_json=False))
    subprocess.run(["git", "-C", mine, "remote", "add", "origin", "git@github.com:me/shop.git"], check=True)
    assert prd("shop", keep="r-1", face=Face(as_json=False)) == ExitCode.DONE
    assert (mine / "docs/PRD.md").read_text() == "# Shop\n" and list(ground.shop.iterdir()) == []


def test_a_user_who_adds_a_project_without_a_prd_is_offered_a_draft(ground: Ground, capsys: Any) -> None:
    assert added(ground) == ExitCode.DONE and not ground.commands, "nobody sits there"
    assert "prd       none; pancode project prd shop" in capsys.readouterr().out
    asked = ground.sits(yes=False)
    ground.knows("README.md")
    assert added(ground) == ExitCode.DONE and not ground.commands
    assert asked[0].startswith("There is no docs/PRD.md; README.md is not a PRD.")
    ground.sits(yes=True)
    assert added(ground) == ExitCode.DONE
    assert ground.commands[0][:2] == ["dispatch", "--agent"]
    asked = ground.sits(yes=True)
    ground.knows("PRD.md")
    added(ground)
    ground.knows("README.md")
    added(ground, prd="README.md")
    assert asked == [], "it has one"
