"""Names files that affect which commands run next; a landing asks a user before it changes them. Pure.

Some files do so in every repository: by their name, as a link that leads out, or because git then treats a
folder as a repository. Others do so if set-up or a gate uses the program that reads them (`gate_files`). A
test compares the names with the code of the runtimes and of PanCode's settings. Such a change acts with the
rights of the user who starts the next command, opens the folder in an editor, or pushes it: the sandbox no
longer protects from a run's result once it is landed.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from node_agent.policy.config_parts import Parts
from node_agent.policy.gate_files import RECIPES, SHARED, WHEN_USED, is_config_of
from node_agent.policy.patterns import is_covering
from node_agent.policy.rulefile import FILES

_CI = "continuous integration runs it"
_SHELL = "your shell runs this file, or sets variables from it"
_PYTHON = "Python reads this file whenever it starts"
_START = "a program reads this file whenever it starts in that folder"
_EDITOR = "an editor runs commands that it names"
_HOOK = "git runs this file as a hook"
_AGENT = "an agent program obeys it, or runs commands that it names"
NAMED_TO_AGENTS = "PanCode instructs agents to read it or carry it out"
_FETCH = "git fetches from, or sends to, the addresses in this file"
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
"""The files of a project that PanCode and each runtime's program read by default."""
_REASONS: Mapping[str, tuple[str, ...]] = {
    "PanCode reads it: it sets the prompts, actions and gates of later runs": READ_BY["pancode"],
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
        *("netlify.toml", "vercel.json", ".readthedocs.y*ml", ".gitpod.yml", ".gitpod.Dockerfile"),
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
    # Each name follows the program's own document: R loads a saved .RData, and calls .First in it.
    _START: (
        *(
            ".Rprofile",
            ".Renviron",
            ".RData",
            ".pdbrc",
            ".pdbrc.py",
            ".gdbinit",
            ".lldbinit",
            ".perldb",
            "perldb.ini",
        ),
        *(".ghci", ".irbrc", "irb.rc", "_irbrc", "$irbrc", ".pryrc", ".byebugrc", ".iex.exs", ".ocamlinit"),
        ".octaverc",
    ),
    _EDITOR: (
        *(".vscode/", ".idea/", ".zed/", ".fleet/", ".devcontainer/", ".devcontainer.json"),
        *(".exrc", ".vimrc", ".nvimrc", ".nvim.lua", ".lvimrc", ".dir-locals.el", ".dir-locals-2.el"),
        *("*.sublime-project", "*.code-workspace", ".vim/", ".helix/"),
    ),
    _HOOK: (".husky/", ".githooks/", ".pre-commit-config.y*ml", "lefthook*", ".lefthook*", ".overcommit.yml"),
    _FETCH: (".gitmodules", ".lfsconfig"),
    NAMED_TO_AGENTS: ("docs/*-plan.md", "docs/*-plan.questions.md", "docs/PRD.md", "PRD.md"),
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
"""The names of files and folders that decide, in any folder and in any letter case, and the reason. `*`
matches any text."""
_NAMED = {pattern.rstrip("/").casefold(): why for pattern, why in ALWAYS.items() if "*" not in pattern}
_OTHERS = {
    pattern.casefold(): why for pattern, why in ALWAYS.items() if "*" in pattern or "/" in pattern[:-1]
}
RUNS_OTHERS = re.compile(
    r"(ba|da|z|k|fi)?sh|python[0-9.]*|node|deno|bun|ruby|perl|php|lua|Rscript|env|timeout|nice|xargs|uv|poetry|tclsh"
)
"""The programs that run a file named in their arguments; other programs, such as `grep`, only read it."""
_BETWEEN = re.compile(r"[\s;&|()<>'\"`,\[\]{}=]+")
_COMMANDS = re.compile(r"\n|;|&&|\|\||\|")
_BEFORE = re.compile(r"^(?:[\s@+-]+|[\w.-]+=\S*\s+|[\w.-]+\s*[:=]\s+)*")
"""The text that may precede a command: make's prefixes, the shell's assignments, the key of a setting."""
_LINKS_OUT = "it is a link that leads out of the repository"
_REPOSITORY = "git treats the file's folder as a repository, and runs what the folder's config names"
_OF_A_REPOSITORY = {"head", "objects", "refs", "commondir", "config", "hooks"}
MOST_RECIPES = 200
"""The maximum number of files that are read to find out what set-up and gates use."""


class FileTree(Protocol):
    """The files before or after a change, by paths relative to the repository's top."""

    def read(self, path: str) -> bytes | None:
        """Return the content of a file, or substitute bytes for a large file; None if there is no such
        file."""

    def target_of(self, path: str) -> bytes | None:
        """Return the target of a link; None if there is no such link."""

    def names(self, folder: str) -> frozenset[str]:
        """Return the names in a folder; empty if it does not exist."""


@dataclass(frozen=True, slots=True)
class ChangedTree:
    """A change. `files`: the paths that it touches; `prd`: the file that this project's agents are instructed
    to read, or empty; `plain`: the paths that are known to be no links."""

    files: Sequence[str]
    before: FileTree
    after: FileTree
    prd: str = ""
    plain: frozenset[str] = frozenset()

    def why(self, path: str, uses: GateUses) -> str:
        """Return the reason why a changed path affects which commands run next; empty if it does not."""
        always = why_always(path) or (NAMED_TO_AGENTS if path == self.prd else "")
        if always or path in uses.runs:
            return always or "set-up or a gate runs it"
        target = None if path in self.plain else self.after.target_of(path)
        if target is not None and leads_out(path, target):
            return _LINKS_OUT
        if is_in_repository(path, self.after):
            return _REPOSITORY
        name, by = posixpath.basename(path), is_config_of(posixpath.basename(path))
        if by not in uses.words:
            rows = [(word, one) for word, one in uses.reads if is_covering(one.file, path)]
            if not rows and name not in SHARED:
                return ""
            before, after = self.before.read(path), self.after.read(path)
            rows += uses.shared(path, (before or b"") + (after or b"")) if name in SHARED else ()
            by = next((word for word, one in rows if one.differ(before, after)), "")
        return by and f"set-up or a gate uses {by}, which reads this file"


@dataclass(frozen=True, slots=True)
class GateUses:
    """The files and programs that set-up and gates use. `runs`: the paths that they may run; `words`: the
    words that may name programs; `reads`: the files that those programs read."""

    runs: frozenset[str]
    words: frozenset[str]
    reads: tuple[tuple[str, Parts], ...]

    @classmethod
    def of(cls, commands: Iterable[Sequence[str]], tree: FileTree) -> GateUses:
        """Find what the commands use, also in files in which their programs find further commands. The files
        are read in their state before the change, because new content in them needs approval anyway."""
        runs, words, read = set[str](), set[str](), set[Parts]()
        waiting = [" ".join(argv) for argv in commands]
        while waiting:
            for command in _COMMANDS.split(waiting.pop()):
                pieces = [piece for piece in _BETWEEN.split(_BEFORE.sub("", command)) if piece]
                # an interpreter runs any file in its arguments
                some = pieces and RUNS_OTHERS.fullmatch(posixpath.basename(pieces[0]))
                runs |= (ran := {posixpath.normpath(word) for word in (pieces if some else pieces[:1])})
                words |= (named := {posixpath.basename(word) for word in pieces} - {""})
                recipes = [Parts(path) for path in sorted(ran)]
                recipes += [one for name in sorted(named) for one in RECIPES.get(name, ())]
                for one in recipes:
                    if one not in read and (content := tree.read(one.file)) and len(read) < MOST_RECIPES:
                        read.add(one)
                        waiting.append(one.text(content))
        reads = ((word, one) for word in sorted(words) for one in WHEN_USED.get(word, ()))
        return cls(frozenset(runs), frozenset(words), tuple(reads))

    def shared(self, path: str, content: bytes) -> list[tuple[str, Parts]]:
        """Return the part of a shared configuration file that each program reads: the part with the program's
        name."""
        keys = ("tool.{}",) if path.endswith(".toml") else ("{}", "tool:{}")
        named = [word for word in sorted(self.words) if word.encode() in content]
        return [(word, Parts(path, tuple(key.format(word) for key in keys))) for word in named]


def why_they_decide(changed: ChangedTree, commands: Iterable[Sequence[str]]) -> dict[str, str]:
    """Return each file of a change that affects which commands run later, with the reason. `commands`: set-up
    and gates, as argument lists."""
    uses = GateUses.of(commands, changed.before)
    reasons = ((path, changed.why(path, uses)) for path in changed.files)
    return {path: why for path, why in reasons if why}


def leads_out(path: str, target: bytes) -> bool:
    """Whether a link leads out of the tree or into git's own folder, decided by its target's text only."""
    place = posixpath.normpath(posixpath.join(posixpath.dirname(path), target.decode("utf-8", "replace")))
    return place.startswith(("/", "..")) or ".git" in place.casefold().split("/")


def is_in_repository(path: str, tree: FileTree) -> bool:
    """Whether the path is in a folder that git treats as a repository, because it has the files of one.

    Names are compared in lower case, as a file system may treat `head` as `HEAD`. The top, with `.git`, is
    exempt.
    """
    parts = path.split("/")
    for at in range(1, len(parts)):
        if parts[at].casefold() in _OF_A_REPOSITORY:
            there = {name.casefold() for name in tree.names("/".join(parts[:at]))}
            if "head" in there and ({"objects", "refs"} <= there or "commondir" in there):
                return True
    return False


def why_always(path: str) -> str:
    """Return the reason if a path affects which commands run next in every repository; otherwise empty."""
    folded = path.casefold()  # a file system may treat `.ENVRC` as `.envrc`
    named = next((_NAMED[part] for part in folded.split("/") if part in _NAMED), "")
    return named or next((why for pattern, why in _OTHERS.items() if is_covering(pattern, folded)), "")
