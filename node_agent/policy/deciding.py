"""Names the files that decide which commands run next: a landing asks a person before it changes one. Pure.

The one table of them. A change of such a file runs as the person who starts the next command, opens the
folder in an editor, or pushes it: the sandbox of a run ends where its result is landed.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence

from node_agent.policy.globs import covers

ALWAYS = {
    "./pancode.yaml": "it has the set-up and the gates of later runs",
    "./panagents.yaml": "it has the agents of later runs",
    "./panpresets.yaml": "it has settings of later runs",
    ".github/": "continuous integration runs it",
    ".forgejo/": "continuous integration runs it",
    ".gitea/": "continuous integration runs it",
    ".circleci/": "continuous integration runs it",
    ".gitlab-ci.yml": "continuous integration runs it",
    "Jenkinsfile": "continuous integration runs it",
    "azure-pipelines.yml": "continuous integration runs it",
    ".envrc": "direnv runs it in your shell",
    ".mise.toml": "mise runs it in your shell",
    "mise.toml": "mise runs it in your shell",
    ".vscode/": "the editor runs its tasks",
    ".idea/": "the editor runs its tasks",
    ".devcontainer/": "the editor runs it",
    ".husky/": "git runs it as a hook",
    ".githooks/": "git runs it as a hook",
    ".pre-commit-config.yaml": "git runs it as a hook",
    "lefthook.yml": "git runs it as a hook",
    ".claude/": "an agent program runs its hooks",
    ".codex/": "an agent program runs what it names",
    ".gemini/": "an agent program runs what it names",
    ".mcp.json": "an agent program starts what it names",
}
"""Pattern, as of a path rule, to why."""
WHEN_USED = {
    "make": ("Makefile", "makefile", "GNUmakefile", "*.mk"),
    "npm": ("package.json", ".npmrc"),
    "npx": ("package.json", ".npmrc"),
    "yarn": ("package.json", ".yarnrc.yml"),
    "pnpm": ("package.json", ".npmrc"),
    "bun": ("package.json", "bunfig.toml"),
    "pytest": ("conftest.py", "pytest.ini"),
    "tox": ("tox.ini",),
    "nox": ("noxfile.py",),
    "just": ("justfile", ".justfile"),
    "task": ("Taskfile.yml", "Taskfile.yaml"),
    "pip": ("setup.py",),
    "cargo": ("build.rs", ".cargo/"),
    "composer": ("composer.json",),
    "gradle": ("*.gradle", "*.gradle.kts"),
    "gradlew": ("*.gradle", "*.gradle.kts"),
    "mvn": ("pom.xml",),
    "rake": ("Rakefile",),
}
"""A program that set-up or a gate names, to the files by which it decides what it runs."""
RUNS_OTHERS = re.compile(
    r"(ba|da|z|k|fi)?sh|python[0-9.]*|node|deno|bun|ruby|perl|php|lua|Rscript|env|timeout|nice|xargs|uv|poetry|tclsh"
)
"""Programs that run a file which is named behind them; for others, such as `grep`, a file is only read."""
_BETWEEN = re.compile(r"[\s;&|()<>'\"]+")


def why_it_decides(path: str, commands: Iterable[Sequence[str]]) -> str:
    """The reason why a change of this path decides later commands; empty where it does not.

    `path`: from the repository's top. `commands`: set-up and gates, as argument lists.
    """
    always = next((why for pattern, why in ALWAYS.items() if covers(pattern, path)), "")
    if always:
        return always
    split = [[piece for word in argv for piece in _BETWEEN.split(word) if piece] for argv in commands]
    if path in {posixpath.normpath(word) for words in split for word in _run_by(words)}:
        return "set-up or a gate runs it"
    used = {posixpath.basename(word) for words in split for word in words}
    by = next((p for p in WHEN_USED if p in used and any(covers(one, path) for one in WHEN_USED[p])), "")
    return f"set-up or a gate uses {by}, which reads it" if by else ""


def _run_by(words: Sequence[str]) -> Sequence[str]:
    """The programs that one command may run: its own, and with an interpreter any file that it names."""
    named = words[:1] and RUNS_OTHERS.fullmatch(posixpath.basename(words[0]))
    return words if named else words[:1]
