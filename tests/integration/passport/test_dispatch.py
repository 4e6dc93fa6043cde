"""A real coordinator, this machine as its node, real model servers: a test, a refusal, a run."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.passport.queue import FILE
from pancode.kernel.errors import ExitCode
from tests.crowd import crowded
from tests.e2e.kept import keep_bundles, lay_out_bundles
from tests.integration.faces.conftest import Said, Shell
from tests.integration.node import fake_claude
from tests.tinyllama import Tiny, passport, tiny_server

LONG_S = 120.0
TASK = json.dumps([["ask", "tiny-random"]])


@pytest.fixture
def fleet(pancode: Shell, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """This machine as the only node, with a program that asks its model as Claude Code does."""
    monkeypatch.setenv("PANCODE_TIME_FACTOR", f"{0.2 * crowded():.2f}")
    program = Path(os.environ["HOME"]) / ".local" / "bin" / "claude"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!{sys.executable}\n{Path(fake_claude.__file__).read_text()}")
    program.chmod(0o755)
    lay_out_bundles(pancode.home / "bundles")
    up = pancode("fleet", "up", "--json", timeout_s=LONG_S)
    assert up.status == 0, up.err + up.out
    keep_bundles(pancode.home / "bundles")
    yield pancode
    removed = pancode("node", "rm", up.data["nodes"][0]["name"], "--yes", timeout_s=LONG_S)
    down = pancode("fleet", "down", "--now")
    program.unlink()
    assert (removed.status, down.status) == (0, 0), removed.err + removed.out


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[Tiny, Tiny]]:
    """A model that writes its calls as prose, and one as it should be."""
    scenarios = passport.write(tmp_path / "prose.json", passport.PROSE)
    with (
        tiny_server(slots=1, ctx=32_768, scenarios=scenarios) as prose,
        tiny_server(slots=1, ctx=32_768) as good,
    ):
        yield prose, good


def node_home() -> Path:
    (home,) = (Path(os.environ["HOME"]) / ".pancode-node").iterdir()
    return home


def listed(prose: Tiny, good: Tiny) -> None:
    """In the owner's file; the usual ports are those of other users here."""
    endpoints = [{"name": "prose", "url": prose.url}, {"name": "good", "url": good.url}]
    (node_home() / "endpoints.json").write_text(json.dumps({"ports": [], "endpoints": endpoints}))


def dispatch(fleet: Shell, model: str, *more: str) -> Said:
    words = ("dispatch", "--runtime", "claude", "--workspace", "none", "--json", "--model", model)
    return fleet(*words, *more, TASK, timeout_s=LONG_S)


def until_found(fleet: Shell, model: str) -> Said:
    end = time.monotonic() + 60 * crowded()
    while (said := dispatch(fleet, model, "--dry-run")).status != 0:
        assert time.monotonic() < end, said
        time.sleep(0.2)
    return said


@pytest.mark.slow
def test_the_first_dispatch_to_a_model_tests_it(fleet: Shell, servers: tuple[Tiny, Tiny]) -> None:
    """Over 30 s on a loaded machine: it makes the node bundle, and brings up a fleet with two servers."""
    listed(*servers)
    dry = until_found(fleet, "prose/tiny-random")
    assert dry.status == 0, dry.out
    assert dry.data["untested"] == [f"{dry.data['nodes'][0]['node']}/prose/tiny-random"]
    assert not (node_home() / FILE).exists()

    refused = dispatch(fleet, "prose/tiny-random")
    assert refused.status == ExitCode.REFUSED and refused.error["code"] == "refused_routing"
    words, fix = refused.error["message"], refused.error["fix"]
    assert (
        "did not pass its test: tools: it wrote the call as plain text, which programs do not recognize"
        in words
    )
    assert "start llama-server with --jinja" in words + refused.error["why"] and "models test" in fix
    assert fleet("runs", "--json").data["runs"] == []

    said = fleet(
        "dispatch", "--runtime", "claude", "--workspace", "none", "--model", "good/tiny-random", TASK
    )
    assert said.status == 0, said.err
    assert "testing tiny-random on" in said.err
    again = dispatch(fleet, "good/tiny-random")
    assert again.status == 0 and again.err == ""
    assert again.data["usage"]["cost_source"] == "local"

    unsafe = dispatch(fleet, "prose/tiny-random", "--untested")
    assert unsafe.status == 0, unsafe.err
    assert any("--untested" in finding for finding in unsafe.data["findings"])

    told = fleet("models", "test", "good/tiny-random", "--json")
    (test,) = told.data["tests"]
    assert told.status == 0 and test["words"] == "already tested; its passport is valid" and test["passed"]
    both = fleet("models", "test", "tiny-random", "--again", timeout_s=LONG_S)
    assert both.status == ExitCode.REFUSED and both.out.count("/tiny-random: ") == 2, both.out
    assert "FAILED" in both.out and "says: start llama-server with --jinja" in both.out
    shutil.rmtree(node_home() / "endpoints.json", ignore_errors=True)
