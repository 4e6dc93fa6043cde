"""From an empty home to a change of another host in one's own files, in five commands."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pancode.kernel.errors import ExitCode
from tests.e2e.fleets import own_fleet
from tests.e2e.owner import Owner
from tests.e2e.programs import on_host
from tests.e2e.registry import serving
from tests.e2e.test_installs import lay_wheel
from tests.lab import Lab
from tests.lab.state import dns_name
from tests.terminal import Terminal

pytestmark = pytest.mark.slow
K, GATE, WAIT_S = 2, "grep -rq json .", 120
PROGRAM = """#!/bin/sh
case "$1" in
--version) echo "2.1.328 (Claude Code)"; exit 0;;
auth) test -n "$CLAUDE_CODE_OAUTH_TOKEN"; exit;;
setup-token) printf 'open https://vendor.example/device and type the code: '; read -r code
  echo "token sk-ant-oat01-$code"; exit 0;;
esac
cat > /dev/null
echo "--json" >> export.txt
echo '{"type": "result", "subtype": "success", "is_error": false, "result": "The flag is there.",
"session_id": "s", "num_turns": 1, "usage": {"input_tokens": 9, "output_tokens": 4}}' | tr -d '\\n'
"""
"""Of a vendor: it logs in by a code, and does its task without a model."""


@pytest.fixture
def newcomer(healed: Lab) -> Iterator[Owner]:
    """A user who knows the host's key from earlier logins; nothing of PanCode is on the host."""
    with own_fleet(healed, (), named=(K,)) as owner:
        (owner.home / ".ssh/known_hosts").write_text(f"{dns_name(K)} {healed.hosts[K]['host_key']}\n")
        yield owner


@pytest.fixture
def project(newcomer: Owner) -> Path:
    top = newcomer.home / "export"
    top.mkdir()
    (top / "export.txt").write_text("--csv\n")
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-qm", "first")):
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
        subprocess.run(["git", *who, *words], cwd=top, env=newcomer.env, check=True)
    return top


def _package(folder: Path, name: str, version: str, program: str) -> Path:
    folder.mkdir()
    (folder / "package.json").write_text(
        json.dumps({"name": name, "version": version, "bin": {program: "cli"}})
    )
    (folder / "cli").write_text(PROGRAM)
    (folder / "cli").chmod(0o755)
    return folder


@pytest.fixture
def registry(healed: Lab, tmp_path: Path) -> Iterator[None]:
    """The host's npm finds the program of the vendor in a registry of our own."""
    packages = (
        _package(tmp_path / "claude", "@anthropic-ai/claude-code", "2.1.328", "claude"),
        _package(
            tmp_path / "adapter", "@agentclientprotocol/claude-agent-acp", "0.101.0", "claude-agent-acp"
        ),
    )
    host = healed.state["coordinator"]
    with serving(tmp_path / "registry", host, *packages) as url:
        lay_wheel(tmp_path / "registry")  # of Node.js, as the program asks for a newer one than the host has
        pip = f"[global]\nno-index = true\nfind-links = {url}\ntrusted-host = {host}\n"
        on_host(healed, K, f"printf 'registry={url}\\n' > ~/.npmrc; mkdir -p ~/.config/pip")
        on_host(healed, K, "cat > ~/.config/pip/pip.conf", stdin=pip)
        yield
        brought = "~/.local/bin/claude ~/.local/lib/node_modules ~/.local/share/pancode"
        on_host(healed, K, f"rm -rf ~/.npmrc ~/.npm ~/.config/pip {brought}")


@contextmanager
def at_terminal(owner: Owner, folder: Path, *words: str) -> Iterator[Terminal]:
    terminal = Terminal(owner.argv(*words), owner.env, folder, (24, 100))
    try:
        yield terminal
    finally:
        terminal.close()


def test_five_commands_from_an_empty_home_to_a_landed_change(
    newcomer: Owner, project: Path, registry: None
) -> None:
    with at_terminal(newcomer, project, "node", "add", f"node{K}") as terminal:
        shown = terminal.shows(f'next, in your project: pancode dispatch --node node{K} "..."', WAIT_S)
        assert "?" not in shown and terminal.ends() == ExitCode.DONE, "the host's key is known"
    words = ("dispatch", "-N", f"node{K}", "--verify", GATE, "add a --json flag")
    with at_terminal(newcomer, project, *words) as terminal:
        terminal.shows(f"started node{K} in ", WAIT_S)
        terminal.shows(f"node{K} has no claude. Install it there? [y/N]: ", WAIT_S)
        terminal.types("y\r")
        terminal.shows("type the code: ", WAIT_S)
        terminal.types("1234\r")
        terminal.shows("Enter for none): ", WAIT_S)
        terminal.types("sk-ant-oat01-1234\r")
        terminal.shows(f"gates passed on node{K} (r-", WAIT_S)
        shown = terminal.shows("take it: pancode land r-", WAIT_S)
        assert "review: pancode diff r-" in shown and terminal.ends() == ExitCode.DONE
        assert "warning" not in terminal.told and "placed on" not in terminal.told
    assert "+--json" in newcomer.run("diff", cwd=project).ok().out
    landed = newcomer.run("land", "last", cwd=project).ok().out
    assert "landed: 1 file in" in landed and "--json" in (project / "export.txt").read_text()
    assert "landed" in newcomer.run("runs", cwd=project).ok().out


def test_each_mistake_on_the_way_ends_in_a_message_that_helps(newcomer: Owner, project: Path) -> None:
    """Of the ten that are likeliest; the others have tests of their own."""

    def said(code: int, *words: str) -> str:
        done = newcomer.run(*words, cwd=project)
        assert done.code == code, done
        return done.err

    assert "the fleet has no nodes" in said(ExitCode.REFUSED, "dispatch", "hello")
    assert "pancode node add NAME" in said(ExitCode.REFUSED, "dispatch", "hello")
    unknown = said(ExitCode.UNAVAILABLE, "node", "add", "gpubx")
    assert "gpubx:22: " in unknown and "HostName in ~/.ssh/config" in unknown
    said(ExitCode.DONE, "node", "add", f"node{K}")
    wrong = said(ExitCode.NOT_FOUND, "dispatch", "--node", f"nod{K}", "hello")
    assert f"did you mean node{K}?" in wrong and f"fix: pancode dispatch --node node{K} hello" in wrong
    lacks = said(ExitCode.REFUSED, "dispatch", "--node", f"node{K}", "hello")
    assert (
        f"started node{K} in" in lacks
        and f"fix: add --install; or run first: pancode node install node{K}" in lacks
    )
    outside = newcomer.run("dispatch", "--node", f"node{K}", "--runtime", "shell", "true")
    assert outside.code == ExitCode.USAGE and "--workspace none" in outside.err
    assert "pancode fleet down" in newcomer.run("down").err
