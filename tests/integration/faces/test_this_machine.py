"""All of it through the command line, on this machine alone: up, work, proof, landing, stop, removal."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pancode.kernel.host.single_instance import holder_of
from tests.crowd import crowded
from tests.e2e.kept import keep_bundles, lay_out_bundles
from tests.integration.faces.conftest import PATIENCE_S, Shell, take_away, until

LONG_S = 120.0


@pytest.fixture
def fleet(pancode: Shell, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """This machine as the only node, its waits scaled down; taken out again."""
    monkeypatch.setenv("PANCODE_TIME_FACTOR", f"{0.2 * crowded():.2f}")
    lay_out_bundles(pancode.home / "bundles")
    up = pancode("fleet", "up", "--json", timeout_s=LONG_S)
    assert up.status == 0, up.err + up.out
    keep_bundles(pancode.home / "bundles")
    (node,) = up.data["nodes"]
    assert node["state"] == "online" and {"shell", "native"} <= {r["name"] for r in node["runtimes"]}
    yield pancode
    removed = pancode("node", "rm", node["name"], "--yes", timeout_s=LONG_S)
    down = pancode("fleet", "down", "--now")
    assert (removed.status, down.status) == (0, 0), removed.err + removed.out
    assert "nothing of PanCode is left on it" in removed.out
    assert not (Path(os.environ["HOME"]) / ".pancode-node").exists()
    assert holder_of(pancode.home) is None


def _git(folder: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=folder, capture_output=True, check=True, text=True)
    return done.stdout


def _repository(folder: Path) -> None:
    _git(folder, "init", "-q")
    (folder / "a.txt").write_text("one\n")
    _git(folder, "add", "a.txt")
    _git(folder, "-c", "user.name=n", "-c", "user.email=n@example.org", "commit", "-qm", "one")
    (folder / "draft.txt").write_text("not committed\n")


@pytest.mark.slow
def test_first_ten_minutes_on_one_machine(fleet: Shell) -> None:
    """Over 30 s on a loaded machine: it makes the node bundle, and runs four times through every part."""
    _repository(fleet.cwd)
    said = fleet(
        "dispatch", "--runtime", "shell", "--verify", "grep -q two a.txt", "--json",
        "echo two >> a.txt; cat draft.txt; echo oops >&2", timeout_s=LONG_S,
    )  # fmt: skip
    assert said.status == 0, said.err
    assert (said.data["outcome"], said.data["files_changed"], said.data["notes"]) == (
        "done",
        ["a.txt"],
        ["gates passed"],
    )
    assert [g["exit_code"] for g in said.data["gates"]] == [0]
    logs = fleet("runs", "logs", "last")
    assert (logs.out, logs.err) == ("not committed\n", "oops\n")
    assert "+two" in fleet("runs", "diff", "last").out
    assert (fleet.cwd / "a.txt").read_text() == "one\n"
    assert fleet("runs", "land", "last").status == 0
    assert (fleet.cwd / "a.txt").read_text() == "one\ntwo\n"
    verdict = fleet("receipt", "verify", "last", "--json").data
    assert verdict["verdict"] == "PASS" and any("commit" in c["what"] for c in verdict["checks"])
    assert fleet("runs", "show", "last", "--json").data["landed"] == said.data["commit"]

    odd = "--agent x -rf 'quoted' $(id) says so: repair it"  # as it stands, to an agent's program
    dashes = fleet("dispatch", "--runtime", "scripted", "--json", "--", odd, timeout_s=LONG_S)
    assert (dashes.status, dashes.data["task"], dashes.data["argv"]) == (0, odd, None), dashes.err
    assert odd in fleet("runs", "diff", "last").out

    failed = fleet("dispatch", "--runtime", "shell", "--verify", "false", "true", timeout_s=LONG_S)
    assert failed.status == 11
    again = fleet("runs", "retry", "last", "--json", timeout_s=LONG_S)
    assert again.status == 11 and again.data["retry_of"] is not None

    waiting = fleet.begin(
        "dispatch", "--runtime", "shell", "--workspace", "none", "--json", "--", "sleep", "600"
    )
    until(lambda: fleet("runs", "1", "--json").data["runs"][0]["state"] == "running", "it runs")
    assert fleet("runs", "stop", "--reason", "enough").status == 0
    out, err = waiting.communicate(timeout=2 * PATIENCE_S * crowded())
    assert (waiting.returncode, json.loads(out)["outcome"]) == (19, "interrupted"), err
    books = fleet("budget", "--json").data
    assert all(scope["held_usd"] == "0" or float(scope["held_usd"]) == 0 for scope in books["scopes"])
    assert fleet("fleet", "up", "--json", timeout_s=LONG_S).status == 0


@pytest.mark.slow
def test_a_node_home_of_the_owners_choice_is_mended_like_any_other(fleet: Shell, tmp_path: Path) -> None:
    chosen = tmp_path / "chosen"
    assert fleet("node", "add", "desk", "--local", "--node-home", str(chosen)).status == 0
    up = fleet("fleet", "up", "desk", "--json", timeout_s=LONG_S)
    assert up.status == 0, up.err + up.out
    (chosen / "key/node.key").chmod(0o644)
    left = chosen / "work/r-left.1.1"
    left.mkdir(mode=0o700)
    said = fleet("doctor", "--fix", "--yes")
    assert f"done: chmod 600 {chosen}/key/node.key" in said.err and f"done: rm -r {left}" in said.err, said
    assert not left.exists()
    removed = fleet("node", "rm", "desk", "--yes", timeout_s=LONG_S)
    assert "nothing of PanCode is left on it" in removed.out, removed.err
    assert not chosen.exists()


def _agents() -> list[int]:
    """Node agents of this test's own home."""
    home, found = f"{os.environ['HOME']}/.pancode-node/", []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if "run" in words and any(word.startswith(home) for word in words):
                    found.append(int(entry.name))
    return found


@pytest.mark.slow
def test_what_somebody_removed_on_the_node_is_put_back(fleet: Shell) -> None:
    """Over 30 s on a loaded machine: it makes the node bundle, and brings the node up three times."""
    node = fleet("node", "ls", "--json").data["nodes"][0]["name"]
    assert fleet("node", "add", "twin", "--local").status == 0
    removed = fleet("node", "rm", "twin", "--yes", timeout_s=LONG_S)
    assert removed.status == 0 and "under another name, and is unchanged" in removed.out, removed.err
    assert (
        fleet("dispatch", "--runtime", "shell", "--workspace", "none", "true", timeout_s=LONG_S).status == 0
    )
    trusted = fleet("node", "trust", node)
    assert trusted.status == 2 and node in trusted.err
    (nodes,) = (Path(os.environ["HOME"]) / ".pancode-node").iterdir()
    take_away(nodes / "s")
    work = ("dispatch", "--runtime", "shell", "--workspace", "none", "--json", "true")
    assert fleet(*work, timeout_s=LONG_S).data["outcome"] == "done", "the link heals by itself"

    assert fleet("fleet", "down", node).status == 0
    (halted,) = fleet("fleet", "status", "--json").data["nodes"]
    assert (halted["state"], halted["problems"]) == ("halted", [])
    take_away(nodes)
    up = fleet("fleet", "up", "--json", timeout_s=LONG_S)
    assert (up.status, up.data["nodes"][0]["state"]) == (0, "online"), up.out
    assert fleet(*work, timeout_s=LONG_S).data["outcome"] == "done"

    take_away(nodes)
    up = fleet("fleet", "up", "--json", timeout_s=LONG_S)
    assert (up.status, up.data["nodes"][0]["state"]) == (0, "online"), up.out
    assert fleet(*work, timeout_s=LONG_S).data["outcome"] == "done"
    until(lambda: len(_agents()) == 1, "the one whose home was removed has ended")
