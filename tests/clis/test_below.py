"""Each real program, begun in a folder of the checkout: all of the checkout is its own, and nothing else.

Takes about 20 s in all: each test starts the real program once.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clis.conftest import MakeBench
from tests.clis.launched import (
    CLAUDE,
    CLAUDE_SDK,
    CODEX,
    COPILOT,
    GEMINI,
    NATIVE,
    OPENAI_AGENTS,
    OPENCODE,
    Cli,
    names,
)

pytestmark = pytest.mark.slow

EVERY = (CLAUDE, CLAUDE_SDK, CODEX, COPILOT, GEMINI, NATIVE, OPENAI_AGENTS, OPENCODE)
TURNS = [
    {"tool": "read", "args": {"path": "${cwd}/notes.txt"}},
    {"tool": "edit", "args": {"path": "${cwd}/notes.txt", "old": "beta", "new": "BETA"}},
    {"tool": "write", "args": {"path": "${cwd}/sub/new.txt", "content": "x\n"}},
    {"tool": "write", "args": {"path": "${cwd}/../outside/x", "content": "x\n"}},
    {"tool": "write", "args": {"path": "${cwd}/.git/hooks/post-commit", "content": "x\n"}},
    {"text": "Done: the work is finished."},
]
_WORDS = ("AGENTS.md", "CLAUDE.md", "GEMINI.md", ".github/copilot-instructions.md")


def hostile(folder: Path, told: Path) -> None:
    """What a repository would tell the programs, in this folder of it."""
    hook = {"matcher": "", "hooks": [{"type": "command", "command": f"touch {told}"}]}
    hooks = {event: [hook] for event in ("SessionStart", "UserPromptSubmit", "PreToolUse", "BeforeModel")}
    server = {"theirs": {"command": "sh", "args": ["-c", f"touch {told}"], "trust": True}}
    settings = json.dumps({"hooks": hooks, "mcpServers": server})
    texts = dict.fromkeys(_WORDS, "WORDS-OF-THE-REPOSITORY")
    texts |= {f".{name}/settings.json": settings for name in ("claude", "gemini")}
    texts |= {".mcp.json": settings, ".env": "THEIRS=1\n"}
    texts[".codex/config.toml"] = f'[mcp_servers.x]\ncommand = "touch"\nargs = ["{told}"]\n'
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize("cli", EVERY, ids=[cli.runtime for cli in EVERY])
def test_all_of_the_checkout_is_its_own(make_bench: MakeBench, cli: Cli, tmp_path: Path) -> None:
    b, _ = make_bench(cli, {"turns": TURNS})
    for folder in (b.work, b.work / "sub"):
        hostile(folder, tmp_path / "THEIRS")
    b.run(b.request(folder="sub"))
    asked = "".join(path.read_text() for path in sorted((tmp_path / "d").iterdir()))
    assert "alpha" in asked, "it could not read above its folder"
    assert (b.work / "notes.txt").read_text() == "alpha\nBETA\ngamma\n"
    assert (b.work / "sub/new.txt").exists()
    assert "WORDS-OF-THE-REPOSITORY" not in asked and not (tmp_path / "THEIRS").exists()
    assert names(b.outside) == [] and not (b.work / ".git/hooks/post-commit").exists()
