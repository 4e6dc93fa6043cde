"""The demo's own parts: how it counts, what it would call abandoned, and that its forgery is one."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pancode.app.demo import HONEST, LIAR, LONG, DemoReport, forge_outcome, what_tested
from pancode.app.demo_stage import Stage, list_unused
from pancode.kernel.processes import ProcessId
from tests.fakes.node.clock import MemoryClock


def test_a_story_counts_what_held_and_shows_why_not() -> None:
    said: list[str] = []
    story = DemoReport(said.append, MemoryClock())
    assert story.good
    assert story.check("the sky is up", True, "not shown") and story.good
    assert not story.check("pigs fly", False, {"pigs": 2})
    assert not story.good and [c.ok for c in story.checks] == [True, False]
    assert "".join(said) == "   ok   the sky is up\n   NO   pigs fly: {'pigs': 2}\n"


def test_a_forgery_changes_the_content_and_keeps_the_signatures() -> None:
    content = json.dumps({"outcome": "verify_failed"}).encode()
    payload = base64.b64encode(content).decode()
    envelope = {"payload": payload, "signatures": [{"sig": "x"}]}
    forged = forge_outcome({"format": "f", "receipt": envelope, "keys": []})
    assert json.loads(base64.b64decode(forged["receipt"]["payload"])) == {"outcome": "done"}
    assert forged["receipt"]["signatures"] == envelope["signatures"] and forged["format"] == "f"
    assert base64.b64decode(payload) == content


def test_the_demo_says_that_a_gate_ran_again_only_where_one_did() -> None:
    assert (
        what_tested({"ok": True, "run": "r-gates1"}) == "its gate ran again, on the merged files, as r-gates1"
    )
    assert what_tested({"ok": True, "run": None}).startswith("the gate was not repeated")


@pytest.fixture
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def left(temp: Path, name: str, holder: ProcessId, keep: bool) -> Path:
    root = temp / f"pancode-demo-{name}"
    root.mkdir()
    (root / "demo.json").write_text(json.dumps({**asdict(holder), "keep": keep}))
    return root


def test_only_what_nobody_plays_is_taken_away(temp: Path) -> None:
    me = ProcessId.me()
    dead = replace(me, started="1")
    left(temp, "mine", me, False)
    gone, kept = left(temp, "gone", dead, False), left(temp, "kept", dead, True)
    (temp / "pancode-demo-foreign").mkdir()
    (temp / "pancode-demo-link").symlink_to(gone)

    def found(kept: bool) -> list[Path]:
        return [s.root for s in list_unused({}, MemoryClock(), kept=kept) if s.root.parent == temp]

    assert found(False) == [gone]
    assert found(True) == [gone, kept]


def test_the_fleet_of_a_demo_knows_nothing_of_its_owners(tmp_path: Path) -> None:
    environ = {
        "HOME": "/home/u",
        "PATH": "/bin",
        "PANCODE_HOME": "/home/u/.pancode",
        "PANCODE_REDIS_URL": "redis://elsewhere",
        "SSH_AUTH_SOCK": "/agent",
        "XDG_RUNTIME_DIR": "/run/user/1",
        "GIT_DIR": "/x",
    }
    seen = Stage(tmp_path / "d", environ, MemoryClock()).environ
    assert set(seen) == {"HOME", "PATH", "PANCODE_HOME", "GIT_CONFIG_NOSYSTEM", "NO_COLOR"}
    assert seen["HOME"].startswith(f"{tmp_path}/d/") and seen["PANCODE_HOME"].startswith(f"{tmp_path}/d/")


@pytest.mark.parametrize("task", [HONEST, LIAR, LONG])
def test_the_tasks_are_scripts_of_the_double_with_a_known_cost(task: str) -> None:
    lines = task.splitlines()
    assert lines[0] == "#!scripted" and lines[1].startswith("# ")
    assert [line.split()[0] for line in lines if line.startswith(("usage", "answer"))] == ["usage", "answer"]
