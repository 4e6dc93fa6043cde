"""Runs the commands of the documents as a user would, each page in its own home; compares the output."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from docs.pictures.record import record
from docs.runner.blocks import Block, Command, blocks
from docs.runner.shell import Terminal
from tests.architecture.sources import ROOT
from tests.e2e.kept import keep_bundles, lay_out_bundles
from tests.e2e.page_model import SCRIPT
from tests.e2e.programs import installed, model_on, tiny_on
from tests.e2e.tidy import fingerprint
from tests.lab import Lab

GUIDES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs/tutorial").glob("*.md")),
    *sorted((ROOT / "docs/howto").glob("*.md")),
    ROOT / "docs/reference/api.md",
]
PATH = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HELLO = {
    "greet.py": 'def greet(name):\n    return "hello " + name\n',
    "check.py": 'from greet import greet\nassert greet("Ada") == "hello Ada"\n',
    ".gitignore": "__pycache__/\n",
}
"""The project that the page of the first ten minutes leaves."""
BEFORE = {
    "chat": (Command("pancode chat --once --model ollama/qwen3:8b 'why is the build slow?'", (), 0),),
    "codex-and-opencode": (
        Command("echo http://127.0.0.1:11434/v1 | pancode node secret gpubox OPENAI_BASE_URL", (), 0),
        Command("echo not-needed | pancode node secret gpubox OPENAI_API_KEY", (), 0),
        Command(
            "for n in $(seq 99); do pancode agents runtimes | grep -q 'own servers' || break; sleep 1; done",
            (),
            0,
        ),
    ),
    "projects": (Command("pancode project add . --name shop", (), 0),),
}
"""What the reader of a page has already done with the model."""
USER = "[user]\n\tname = Ada\n\temail = ada@example.org\n"


def _of(world: str) -> list[Path]:
    return [page for page in GUIDES if any(block.world == world for block in blocks(page))]


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """A user's shell in an empty home; afterwards nothing of it is left."""
    root = Path(tempfile.mkdtemp(prefix="pg-"))
    home = root / "home"
    (home / ".pancode").mkdir(mode=0o700, parents=True)
    lay_out_bundles(home / ".pancode/bundles")
    (home / ".gitconfig").write_text(USER)
    environ = {"HOME": str(home), "PATH": PATH, "LANG": "C.UTF-8", "USER": "ada", "SHELL": "/bin/bash"}
    terminal = Terminal(root, environ, socket.gethostname().lower())
    try:
        yield terminal
    finally:
        terminal.clean()
        keep_bundles(home / ".pancode/bundles")
        shutil.rmtree(root, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.parametrize("page", _of("local"), ids=lambda page: page.stem)
def test_a_page_for_one_machine(page: Path, terminal: Terminal, request: pytest.FixtureRequest) -> None:
    """A page brings a fleet up, some twice, and waits for runs that sleep: over 30 s on a busy node."""
    if page.stem == "README":
        lay_out_project(terminal.home / "your/project")
    if page.stem == "postgresql":  # a user who reads it has a server
        server = request.getfixturevalue("postgres")
        terminal = replace(terminal, environ={**terminal.environ, **server.environ})
    assert terminal.run_page(page.name, blocks(page), "local") > 0


@pytest.mark.slow
@pytest.mark.parametrize("page", _of("hosts"), ids=lambda page: page.stem)
def test_a_page_for_two_machines(page: Path, terminal: Terminal, healed: Lab) -> None:
    know_gpubox(terminal, healed, trusts="[y/N]" not in page.read_text())
    assert terminal.run_page(page.name, blocks(page), "hosts") > 0


@pytest.mark.slow
@pytest.mark.parametrize("page", _of("model"), ids=lambda page: page.stem)
def test_a_page_with_a_model_server(page: Path, terminal: Terminal, healed: Lab) -> None:
    """llama.cpp on gpubox's loopback, and gpubox in the fleet, as who reads the page has it. Over 30 s:
    a bring-up, and the test of a model."""
    know_gpubox(terminal, healed)
    with tiny_on(healed, 1, 8080, "qwen3-coder", 32_768):
        ready = Block("model", (*_bring_gpubox(healed), _await_server("llamacpp")), 0)
        assert terminal.run_page(page.name, [ready, *blocks(page)], "model") > 1


@pytest.mark.slow
@pytest.mark.parametrize("page", _of("scripted"), ids=lambda page: page.stem)
def test_a_page_with_a_scripted_model(page: Path, terminal: Terminal, healed: Lab) -> None:
    """A server that looks like Ollama on gpubox's loopback, whose model does the tasks of the pages. Over
    30 s: a bring-up, the test of a model, and runs."""
    know_gpubox(terminal, healed)
    lay_out(terminal.home / "hello", HELLO)
    found = blocks(page)
    typed = "\n".join(one.text for block in found if block.world == "scripted" for one in block.commands)
    before = () if "cd hello" in typed else (Command("cd hello", (), 0), *BEFORE.get(page.stem, ()))
    with ExitStack() as around:
        for program in ("opencode", "openai-agents"):
            if f"--runtime {program}" in typed:
                around.enter_context(installed(healed, program, [1]))
        around.enter_context(model_on(healed, 1, SCRIPT, 11434, "ollama"))
        ready = Block("scripted", (*_bring_gpubox(healed), _await_server("ollama"), *before), 0)
        assert terminal.run_page(page.name, [ready, *found], "scripted") > len(ready.commands)


@pytest.mark.slow
def test_the_pictures_show_what_a_terminal_shows(terminal: Terminal) -> None:
    """Recorded anew and held against what was drawn; when a run gets its slot, and when the check of its
    gates on the unchanged tree ends, may differ."""
    pictures = ROOT / "docs/pictures"
    for name, shown in record(terminal.home, terminal.environ).items():
        kept = (pictures / f"{name}.ansi").read_text(encoding="utf-8")
        assert _steady(shown) == _steady(kept), (
            f"{name} is another picture now: python -m docs.pictures record"
        )


def _steady(shown: str) -> list[str]:
    """The rows that do not depend on the speed of the machine; a row continues in lines that begin with
    spaces."""
    rows = re.split(r"\n(?! {20})", shown)
    return [row for row in rows if "  wait  " not in row and "the unchanged tree" not in row]


def know_gpubox(terminal: Terminal, lab: Lab, *, trusts: bool = True) -> None:
    """`gpubox` is the first host of the lab, an alias of the user's own SSH configuration. `trusts`: the user
    has its key already, so nothing is asked."""
    ssh = terminal.home / ".ssh"
    ssh.mkdir(mode=0o700)
    lines = lab.render("ssh_config").replace("Host node1 ", "Host gpubox node1 ").splitlines(keepends=True)
    kept = [line for line in lines if trusts or "UserKnownHostsFile" not in line]
    (ssh / "config").write_text("".join(kept))


def _bring_gpubox(lab: Lab) -> tuple[Command, ...]:
    pin = fingerprint(lab.hosts[1]["host_key"])
    added = f"pancode node add gpubox --no-fleet-key --accept-fingerprint {pin}"
    return Command(added, (), 0), Command("pancode fleet up gpubox", ("gpubox  online ...",), 0)


def _await_server(name: str) -> Command:
    look = f"for n in $(seq 120); do pancode models ls --servers | grep -q {name} && break; sleep 0.5; done"
    return Command(f"{look}\npancode models ls --servers", (f"gpubox  {name} ...",), 0)


def lay_out_project(folder: Path) -> None:
    """What the front page calls your project: git, a gate, a word to repair."""
    gate = "check:\n\t! grep -rq --include='*.md' colour .\n"
    lay_out(folder, {"README.md": "Any colour.\n", "Makefile": gate})


def lay_out(folder: Path, files: Mapping[str, str]) -> None:
    """A repository with these files, all committed."""
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "first"]):
        who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        subprocess.run(["git", "-C", str(folder), *who, *words], check=True)
