"""Names files that affect which commands run next; a landing asks a user before it changes them. Pure.

Some files do so in every repository: by their name, as a link that leads out, or because git then treats a
folder as a repository. Others do so if set-up or a gate names them, or uses the program that reads them
(`gate_files`). Commands are not parsed: each word of a command, a script or a Makefile counts as a name. A
test compares the names with the code of the runtimes and of PanCode's settings. Such a change acts with the
rights of the user who starts the next command, opens the folder in an editor, or pushes it: the sandbox no
longer protects from a run's result once it is landed.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
        *(
            "netlify.toml",
            "vercel.json",
            "vercel.ts",
            ".readthedocs.y*ml",
            ".gitpod.yml",
            ".gitpod.Dockerfile",
        ),
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
    _PYTHON: (
        *("pyvenv.cfg", "sitecustomize.py", "usercustomize.py", ".python-version", "*.egg-info/"),
        "*.dist-info/",
    ),
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
ONLY_READ = {"grep", "test", "[", "cmp", "diff"}
"""Programs that run none of their arguments. A gate that is one such command, without a shell, names only
what it judges."""
_BETWEEN = re.compile(r"[\s;&|()<>'\"`,\[\]{}=:!@]+")
_MODULE = re.compile(r"(?<!\S)-m[\"',\s]+([\w.]+)")
_DEPENDENCIES = re.compile(r"(?<!\S)(?:-r|-c|--requirement|--constraint)[\s=]*[\w./-]+\.(?:txt|in)(?![\w.])")
"""The arguments of pip that name lists of dependencies: a changed dependency is ordinary code."""
_VARIABLE = re.compile(r"^[^/]*\$[^/]*/|^/+")
_SCRIPTS = (".sh", ".bash", ".bats", ".mk")
_MODULES = (".py", ".pyc", ".so", ".pyd")
_OF_A_GATE = "set-up or a gate runs it, or names it in what it runs"
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
        if always or uses.are_naming(self, path):
            return always or _OF_A_GATE
        if uses.are_loading(self, path):
            return "set-up or a gate loads it in place of the module of that name"
        target = None if path in self.plain else self.after.target_of(path)
        if target is not None and leads_out(path, target):
            return _LINKS_OUT
        if is_in_repository(path, self.after):
            return _REPOSITORY
        name = posixpath.basename(path)
        by = next((one for one in is_config_of(name) if one in uses.words), "")
        if not by:
            rows = [(word, one) for word, one in uses.reads if is_covering(one.file, path)]
            if not rows and name not in SHARED:
                return ""
            before, after = self.before.read(path), self.after.read(path)
            rows += uses.shared(path, (before or b"") + (after or b"")) if name in SHARED else ()
            by = next((word for word, one in rows if one.differ(before, after)), "")
        return by and f"set-up or a gate uses {by}, which reads this file"


@dataclass(frozen=True, slots=True)
class GateUses:
    """What set-up and gates name in their recipes: in their commands, and in each file that these name.

    `words`: each word, without its folder; `paths`: each word, as a path; `placed`: the paths that were
    written with a separator; `modules`: the modules that Python runs; `folders`: the folders in which a path
    may start; `reads`: the files that the programs read.
    """

    words: frozenset[str]
    paths: frozenset[str]
    placed: frozenset[str]
    modules: frozenset[str]
    folders: frozenset[str]
    reads: tuple[tuple[str, Parts], ...]

    @classmethod
    def of(cls, commands: Iterable[Sequence[str]], files: Iterable[str], tree: FileTree) -> GateUses:
        """Find what the commands name. The recipes are read in their state before the change, because new
        content in them needs approval anyway. `files`: the changed paths; a program may find its
        configuration in each folder above them."""
        texts = [" ".join(argv) for argv in commands if argv and posixpath.basename(argv[0]) not in ONLY_READ]
        above = {"/".join(path.split("/")[:at]) for path in files for at in range(path.count("/") + 1)}
        raw, modules, folders, read = set[str](), set[str](), {""}, set[Parts]()
        words = paths = frozenset[str]()
        while texts:
            raw |= {word for text in texts for word in _BETWEEN.split(_DEPENDENCIES.sub(" ", text)) if word}
            raw |= {word[2:] for word in raw if word[0] == "-" and word[2:]}
            modules |= {name for text in texts for name in _MODULE.findall(text)}
            words = frozenset(posixpath.basename(word) for word in raw) - {""}
            paths = frozenset(_path_of(word) for word in raw) | {
                name.replace(".", "/") + end for name in modules for end in (".py", "/__main__.py")
            }
            found = {one for folder in folders for one in _find_files(tree, folder, words, paths)}
            found |= {one for folder in above for one in _find_files(tree, folder, words, ())}
            texts = []
            for one in sorted(found - read, key=lambda one: one.file)[: MOST_RECIPES - len(read)]:
                content = tree.read(one.file)
                is_folder = content is None and bool(tree.names(one.file))
                folders |= {one.file if is_folder else posixpath.dirname(one.file)}
                texts.append(one.text(content or b""))
                read.add(one)
        placed = frozenset(_path_of(word) for word in raw if "/" in word)
        reads = tuple((word, one) for word in sorted(words) for one in WHEN_USED.get(word, ()))
        return cls(words, paths, placed, frozenset(modules), frozenset(folders), reads)

    def are_naming(self, changed: ChangedTree, path: str) -> bool:
        """Whether a recipe names the file: by its path, with or without a suffix, by its own name with a
        suffix or a separator, or by a pattern if it is a script."""
        name = posixpath.basename(path)
        if path in self.paths or ("." in name and name in self.words):
            return True
        if name in {posixpath.basename(one) for one in self.placed}:
            return True
        for folder in self.folders:
            inside = path[len(folder) :].lstrip("/")
            if folder and not path.startswith(f"{folder}/"):
                continue
            if posixpath.splitext(inside)[0] in self.placed:
                return True
            if any(is_covering(glob, inside) for glob in self.paths if "*" in glob):
                texts = (changed.before.read(path) or b"", changed.after.read(path) or b"")
                return name.endswith(_SCRIPTS) or any(text.startswith(b"#!") for text in texts)
        return False

    def are_loading(self, changed: ChangedTree, path: str) -> bool:
        """Whether a new module takes the place of one that `python -m` runs, or of Python's library."""
        steps, run = path.split("/"), {name.split(".")[0] for name in self.modules}
        for at, step in enumerate(steps if run else ()):
            folder, module = "/".join(steps[:at]), step.split(".")[0]
            is_known = module in run and folder in {"", *self.paths}
            is_known = is_known or (not folder and module in sys.stdlib_module_names)
            is_module = step.endswith((module, *_MODULES))
            if is_known and is_module and step not in changed.before.names(folder):
                return True
        return False

    def shared(self, path: str, content: bytes) -> list[tuple[str, Parts]]:
        """Return the part of a shared configuration file that each program reads: the part with the program's
        name."""
        keys = ("tool.{}",) if path.endswith(".toml") else ("{}", "tool:{}")
        named = [word for word in sorted(self.words) if word.encode() in content]
        return [(word, Parts(path, tuple(key.format(word) for key in keys))) for word in named]


def why_they_decide(changed: ChangedTree, commands: Iterable[Sequence[str]]) -> dict[str, str]:
    """Return each file of a change that affects which commands run later, with the reason. `commands`: set-up
    and gates, as argument lists."""
    uses = GateUses.of(commands, changed.files, changed.before)
    reasons = ((path, changed.why(path, uses)) for path in changed.files)
    return {path: why for path, why in reasons if why}


def _path_of(word: str) -> str:
    """Return a word of a recipe as a path, without a variable at its beginning."""
    return posixpath.normpath(_VARIABLE.sub("", word))


def _find_files(tree: FileTree, folder: str, words: Iterable[str], paths: Iterable[str]) -> Iterator[Parts]:
    """Yield what exists of these paths, and the files in which the programs find further commands, all
    relative to the folder."""
    names = tree.names(folder)
    for one in (one for word in words for one in RECIPES.get(word, ()) if one.file in names):
        yield replace(one, file=posixpath.join(folder, one.file))
    for path in paths:
        place, at = posixpath.normpath(posixpath.join(folder, path)), ""
        for part in place.split("/"):
            if part not in tree.names(at):
                break
            at = posixpath.join(at, part)
        else:
            yield Parts(place)


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
