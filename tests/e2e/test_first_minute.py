"""`pancode` alone in a real tmux, in an empty home: what it says, what it starts, and a first turn."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.clis.launched import NATIVE
from tests.crowd import crowded
from tests.e2e.kept import keep_bundles, lay_out_bundles
from tests.e2e.owner import Owner
from tests.e2e.pane import Pane
from tests.fakemodel import FakeModel

pytestmark = pytest.mark.slow
NAMES = ("OPENAI_BASE_URL", "OPENAI_API_KEY")


@pytest.fixture
def newcomer() -> Iterator[Owner]:
    """A user who has only installed PanCode. The node is this machine, and is taken out again."""
    root = Path(tempfile.mkdtemp(prefix="p1-"))
    owner = Owner(root, 0.2 * crowded())
    lay_out_bundles(owner.fleet_home / "bundles")
    yield owner
    keep_bundles(owner.fleet_home / "bundles")
    for node in owner.ask("node", "ls")["nodes"]:
        owner.run("node", "rm", node["name"], "--yes", timeout_s=120)
    owner.run("fleet", "down", "--now")
    with suppress(OSError):
        shutil.rmtree(root)


@pytest.fixture
def pane(newcomer: Owner) -> Iterator[Pane]:
    made = Pane(newcomer)
    yield made
    made.close()


def test_a_newcomer_learns_what_is_there_gets_a_model_and_talks(newcomer: Owner, pane: Pane) -> None:
    """It takes more than 30 s: a machine is brought up from nothing."""
    pane.types(" ".join(newcomer.argv()))
    pane.shows("describe the task")
    pane.press("-l", "hello")
    shown = pane.shows("no agent can answer yet: no agent program or model is ready on any node", 180)
    assert "nodes     " in shown and "budget    $10.00 of $10.00 left today" in shown
    assert "no agent program is ready: pancode agents runtimes" in shown and "ollama pull" in shown
    pane.shows("hello")  # what was typed meanwhile
    pane.press("Enter")
    pane.shows("not installed on vm; no model server", 60)
    pane.press("C-c")
    pane.press("C-d")
    pane.is_a_shell_again()
    assert pane.modes() == "0 1 0" and newcomer.ask("sessions")["sessions"] == []
    brief = newcomer.run().ok()
    assert "nothing ran" in brief.out and brief.err == "", "a pipe gets the brief"

    opens_a_terminal(newcomer, pane)
    (node,) = newcomer.ask("node", "ls")["nodes"]
    script = {"turns": [{"text": "I am Panos.", "usage": {"input": 100, "output": 5}}]}
    with FakeModel(script) as model:
        values = NATIVE.env(model.url)
        for name in NAMES:
            given = values[name]
            newcomer.run("node", "secret", node["name"], name, stdin=given, timeout_s=120).ok()
        ready = {"name": "native", "state": "ok"}
        assert ready.items() <= _native(newcomer).items(), "`secret set` waits until the node has seen it"
        top = newcomer.home / "shop"
        top.mkdir()
        subprocess.run(["git", "init", "-q"], cwd=top, env=newcomer.env, check=True)
        words = (
            "--runtime",
            "native",
            "--model",
            NATIVE.model,
            "--preset",
            "openai",
            "--safety",
            "full-auto",
        )
        pane.types(f"cd {top} && " + " ".join(newcomer.argv(*words)))
        shown = pane.shows("Panos listens, with fake-coder (native), build, full-auto, preset openai", 60)
        assert "project   shop" in shown
        pane.types("who are you?")
        pane.shows("I am Panos.", 120)
        pane.shows("your turn", 60)
        pane.types("/end")
        pane.shows("ended; your message starts it again", 60)
        pane.press("C-d")
        pane.is_a_shell_again()
    (session,) = newcomer.ask("sessions")["sessions"]
    assert (session["agent"], session["model"], session["state"]) == ("panos", NATIVE.model, "ended")
    assert not any(one["applied"] for one in newcomer.ask("presets")["presets"])


def opens_a_terminal(newcomer: Owner, pane: Pane) -> None:
    pane.types(" ".join(newcomer.argv("up", "night.shift")))
    pane.shows("[night_sh")  # tmux's own last line
    pane.shows("no agent can answer yet", 60)
    (terminal,) = newcomer.ask("sessions")["terminals"]
    assert (terminal["name"], terminal["attached"]) == ("night_shift", True)
    newcomer.run("down", "night.shift").ok()
    pane.is_a_shell_again()
    assert newcomer.run("fleet", "status").ok().out, "the fleet continues"


def _native(owner: Owner) -> dict[str, str]:
    (node,) = owner.ask("fleet", "status")["nodes"]
    return next(dict(one) for one in node["runtimes"] if one["name"] == "native")
