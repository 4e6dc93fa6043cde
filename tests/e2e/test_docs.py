"""Runs the commands of the documents as a person would, each page in its own home; compares the output."""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.runner.blocks import blocks
from docs.runner.shell import Terminal
from tests.architecture.sources import ROOT
from tests.lab import Lab

GUIDES = [*sorted((ROOT / "docs/tutorial").glob("*.md")), *sorted((ROOT / "docs/howto").glob("*.md"))]
PATH = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PERSON = "[user]\n\tname = Ada\n\temail = ada@example.org\n"


def _of(world: str) -> list[Path]:
    return [page for page in GUIDES if any(block.world == world for block in blocks(page))]


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Node bundles, made by the first page and used by the others: it is the same code."""
    return tmp_path_factory.mktemp("bundles")


@pytest.fixture
def terminal(bundles: Path) -> Iterator[Terminal]:
    """A person's shell in an empty home; afterwards nothing of it is left."""
    root = Path(tempfile.mkdtemp(prefix="pg-"))
    home = root / "home"
    (home / ".pancode").mkdir(mode=0o700, parents=True)
    shutil.copytree(bundles, home / ".pancode/bundles")
    (home / ".gitconfig").write_text(PERSON)
    environ = {"HOME": str(home), "PATH": PATH, "LANG": "C.UTF-8", "USER": "ada", "SHELL": "/bin/bash"}
    terminal = Terminal(root, environ, socket.gethostname().lower())
    try:
        yield terminal
    finally:
        terminal.clean()
        if (home / ".pancode/bundles").is_dir():
            shutil.copytree(home / ".pancode/bundles", bundles, dirs_exist_ok=True)
        shutil.rmtree(root, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.parametrize("page", _of("local"), ids=lambda page: page.stem)
def test_a_page_for_one_machine(page: Path, terminal: Terminal) -> None:
    """A page brings a fleet up, some twice, and waits for runs that sleep: over 30 s on a busy machine."""
    assert terminal.run_page(page.name, blocks(page), "local") > 0


@pytest.mark.slow
@pytest.mark.parametrize("page", _of("hosts"), ids=lambda page: page.stem)
def test_a_page_for_two_machines(page: Path, terminal: Terminal, healed: Lab) -> None:
    """`gpubox` is the first host of the lab, an alias of the person's own SSH configuration."""
    ssh = terminal.home / ".ssh"
    ssh.mkdir(mode=0o700)
    (ssh / "config").write_text(healed.render("ssh_config").replace("Host node1 ", "Host gpubox node1 "))
    assert terminal.run_page(page.name, blocks(page), "hosts") > 0
