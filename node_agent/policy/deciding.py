"""Names the files that decide which commands run next: a landing asks a person before it changes one. Pure.

This is the only table of such files; a test compares it with the code of the runtimes and of PanCode's
settings. A changed file of this kind acts with the rights of the person who starts the next command, opens
the folder in an editor, or pushes it: the sandbox of a run ends when its result is landed.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence

from node_agent.policy.patterns import covers
from node_agent.policy.rulefile import FILES

_CI = "continuous integration runs it"
_SHELL = "it is run, or sets variables, in your shell"
_PYTHON = "Python obeys it whenever it starts"
_START = "a program obeys it whenever it starts in its folder"
_EDITOR = "an editor runs what it names"
_HOOK = "git runs it as a hook"
_AGENT = "an agent program obeys it, or runs what it names"
READ_BY: Mapping[str, tuple[str, ...]] = {
    "pancode": (".pancode/", "pancode.yaml", "panagents.yaml", "panpresets.yaml", *FILES),
    "claude": (".claude/", ".claude.json", ".claude-plugin/", ".mcp.json", "CLAUDE.md", "CLAUDE.local.md"),
    "claude-sdk": (".claude/", ".mcp.json", "CLAUDE.md", "CLAUDE.local.md"),
    "codex": (".codex/", ".agents/", "AGENTS.md", "AGENTS.override.md"),
    "gemini": (".gemini/", ".env", "GEMINI.md", "AGENTS.md"),
    "opencode": (".opencode/", "opencode.json", "opencode.jsonc", "AGENTS.md", "CLAUDE.md"),
    "copilot": (".copilot/", ".github/", ".vscode/", ".mcp.json", "AGENTS.md", "CLAUDE.md", "GEMINI.md"),
    "native": ("AGENTS.md",),
    "openai-agents": ("AGENTS.md",),
    "scripted": (),
    "shell": (),
}
"""The files of a project on which PanCode, and each runtime's program, act by themselves."""
_REASONS: Mapping[str, tuple[str, ...]] = {
    "PanCode reads it: it decides what later runs are told, do, and have to pass": READ_BY["pancode"],
    _CI: (
        *(".github/", ".forgejo/", ".gitea/", ".gitlab/", ".gitlab-ci.yml", ".circleci/", "Jenkinsfile"),
        *("azure-pipelines.yml", ".azure-pipelines/", "bitbucket-pipelines.yml", ".buildkite/", ".drone.*"),
        *(
            ".travis.yml",
            ".woodpecker.y*ml",
            ".woodpecker/",
            "appveyor.yml",
            ".appveyor.yml",
            ".cirrus.*",
            ".builds/",
        ),
        *(".build.yml", ".semaphore/", ".teamcity/", ".tekton/", "buildspec.yml", "cloudbuild.y*ml"),
    ),
    _SHELL: (
        *(".envrc", "mise.toml", ".mise.toml", "mise.*.toml", ".mise.*.toml", ".mise/"),
        *(
            "mise/*.toml",
            ".config/mise.toml",
            ".config/mise.*.toml",
            ".config/mise/",
            ".tool-versions",
            ".rtx.toml",
            ".autoenv*",
        ),
        *("flake.nix", "shell.nix", "devenv.nix", "devenv.yaml", "devbox.json", ".venv/"),
    ),
    _PYTHON: ("pyvenv.cfg", "sitecustomize.py", "usercustomize.py", ".python-version"),
    _START: (".Rprofile", ".pdbrc", ".pdbrc.py", ".gdbinit", ".lldbinit"),
    _EDITOR: (
        *(".vscode/", ".idea/", ".zed/", ".fleet/", ".devcontainer/", ".devcontainer.json"),
        *(".exrc", ".vimrc", ".nvimrc", ".nvim.lua", ".lvimrc", ".dir-locals.el", ".dir-locals-2.el"),
        *("*.sublime-project", "*.code-workspace", ".vim/", ".helix/"),
    ),
    _HOOK: (".husky/", ".githooks/", ".pre-commit-config.y*ml", "lefthook*", ".lefthook*", ".overcommit.yml"),
    _AGENT: (
        *(name for program, names in READ_BY.items() for name in names if program != "pancode"),
        *(
            "AGENT.md",
            ".agent/",
            ".factory/",
            "crush.json",
            ".crush.json",
            ".aider.conf.yml",
            ".amazonq/",
            ".augment/",
            ".clinerules",
            ".continue/",
            ".cursor/",
        ),
        *(
            ".cursorrules",
            ".goosehints",
            ".hermes/",
            ".junie/",
            ".kilo/",
            ".kilocode/",
            ".kiro/",
            ".qwen/",
            "QWEN.md",
            ".roo/",
            ".roorules*",
            ".rules",
            ".trae/",
        ),
        *(".windsurf/", ".windsurfrules"),
    ),
}
ALWAYS: Mapping[str, str] = {name: why for why, names in reversed(list(_REASONS.items())) for name in names}
"""The names of files and folders that decide, in any folder and in any case of letters, and the reason. `*`
stands for any text."""
_NAMED = {pattern.rstrip("/").casefold(): why for pattern, why in ALWAYS.items() if "*" not in pattern}
_OTHERS = {
    pattern.casefold(): why for pattern, why in ALWAYS.items() if "*" in pattern or "/" in pattern[:-1]
}
_BAZEL = (".bazelrc", "tools/bazel", "BUILD", "BUILD.bazel", "*.bzl", "MODULE.bazel", "WORKSPACE*")
_COMPOSE = ("compose*.y*ml", "docker-compose*.y*ml", "Dockerfile*", "Containerfile*")
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
    "bazel": _BAZEL,
    "bazelisk": _BAZEL,
    "docker": _COMPOSE,
    "docker-compose": _COMPOSE,
    "podman": _COMPOSE,
    "podman-compose": _COMPOSE,
    "foreman": ("Procfile*",),
    "honcho": ("Procfile*",),
    "overmind": ("Procfile*",),
}
"""For each program that set-up or a gate names, the files by which it decides what it runs."""
RUNS_OTHERS = re.compile(
    r"(ba|da|z|k|fi)?sh|python[0-9.]*|node|deno|bun|ruby|perl|php|lua|Rscript|env|timeout|nice|xargs|uv|poetry|tclsh"
)
"""The programs that run a file named in their arguments; other programs, such as `grep`, only read it."""
_BETWEEN = re.compile(r"[\s;&|()<>'\"]+")


def why_it_decides(path: str, commands: Iterable[Sequence[str]]) -> str:
    """Return the reason why a change of this path decides what later commands do; empty when it does not.

    `path`: from the repository's top. `commands`: set-up and gates, as argument lists.
    """
    always = _always(path.casefold())
    if always:
        return always
    split = [[piece for word in argv for piece in _BETWEEN.split(word) if piece] for argv in commands]
    if path in {posixpath.normpath(word) for words in split for word in _run_by(words)}:
        return "set-up or a gate runs it"
    used = {posixpath.basename(word) for words in split for word in words}
    by = next((p for p in WHEN_USED if p in used and any(covers(one, path) for one in WHEN_USED[p])), "")
    return f"set-up or a gate uses {by}, which reads it" if by else ""


def _always(path: str) -> str:
    """Return the reason if the path always decides. The path is folded, because a file system may take
    `.ENVRC` for `.envrc`.
    """
    named = next((_NAMED[part] for part in path.split("/") if part in _NAMED), "")
    return named or next((why for pattern, why in _OTHERS.items() if covers(pattern, path)), "")


def _run_by(words: Sequence[str]) -> Sequence[str]:
    """Return the programs that one command may run: its own, and any file that an interpreter gets."""
    named = words[:1] and RUNS_OTHERS.fullmatch(posixpath.basename(words[0]))
    return words if named else words[:1]
