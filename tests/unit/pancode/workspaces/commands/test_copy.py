"""`pancode project copy`: shows the ignored files that runs get, and agrees to the list once."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from pancode.config.copied_files import is_agreed
from pancode.interfaces.cli.main import run
from pancode.kernel.errors import ExitCode


def test_the_files_are_shown_and_the_list_is_agreed_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home, top = tmp_path / "home", tmp_path / "shop"
    monkeypatch.setenv("PANCODE_HOME", str(home))
    subprocess.run(["git", "init", "-q", str(top)], check=True)
    assert run(["project", "copy", str(top)]) == ExitCode.USAGE, "it requests nothing"
    (top / ".gitignore").write_text(".env*\n")
    (top / ".env.local").write_text("A=1\n")
    (top / "pancode.yaml").write_text("copy: [.env.local]\n")
    assert run(["project", "copy", str(top)]) == ExitCode.USAGE, "nobody can answer"
    assert not is_agreed(home, top, (".env.local",))
    assert run(["project", "copy", str(top), "--yes", "--json"]) == ExitCode.DONE
    assert is_agreed(home, top, (".env.local",))
    capsys.readouterr()
    assert run(["project", "copy", str(top), "--json"]) == ExitCode.DONE, "it is agreed to already"
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == [{"file": ".env.local", "bytes": 4}]
    (top / ".env.local").unlink()
    assert run(["project", "copy", str(top)]) == ExitCode.CONFIG
