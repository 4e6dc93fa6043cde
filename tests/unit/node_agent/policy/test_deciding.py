"""Which files decide what runs next."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from node_agent.policy.deciding import ALWAYS, READ_BY, ChangedTree, why_always, why_they_decide
from node_agent.policy.gate_files import WHEN_USED
from node_agent.policy.patterns import pattern_fault
from node_agent.runtimes.registry import RUNTIMES
from pancode.agents.runtimes import RUNTIMES as KINDS
from tests.architecture.sources import ROOT


@dataclass(frozen=True, slots=True)
class Files:
    """Implements FileTree."""

    texts: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def read(self, path: str) -> bytes | None:
        found = {**self.texts, **self.links}.get(path)
        return None if found is None else found.encode()

    def target_of(self, path: str) -> bytes | None:
        return self.links[path].encode() if path in self.links else None

    def names(self, folder: str) -> frozenset[str]:
        start = f"{folder}/" if folder else ""
        every = (*self.texts, *self.links)
        return frozenset(one[len(start) :].split("/")[0] for one in every if one.startswith(start))


def why_it_decides(path: str, commands: Sequence[Sequence[str]], **stay: str) -> str:
    """Why a new file decides. `stay`: the files that stay as they are."""
    after = Files({**stay, path: "[x]\ny = 1\n"})
    return why_they_decide(ChangedTree((path,), Files(stay), after), commands).get(path, "")


def decides(gate: str, before: dict[str, str], after: dict[str, str]) -> set[str]:
    """The files that decide, of those that differ."""
    files = [path for path in sorted({*before, *after}) if before.get(path) != after.get(path)]
    return set(why_they_decide(ChangedTree(files, Files(before), Files(after)), [gate.split()]))


NAMED = "set-up or a gate runs it, or names it in what it runs"
COMMANDS = (("python3", "-m", "venv", ".venv"), ("sh", "tools/test.sh"), ("sh", "-c", "./a.sh && b/c.sh"))


@pytest.mark.parametrize(
    "path",
    [
        *("pancode.yaml", ".github/workflows/x.yml", "sub/.envrc", ".husky/pre-commit", "tools/test.sh"),
        *(".pancode/workflows/review-loop.yaml", ".pancode/agents/builder.yaml", "sub/.pancode/x/y"),
        *("panagents.yaml", "sub/panpresets.yaml", "pansafety.yaml", "sub/safety-rules.yaml"),
        *(
            "sub/pancode.yaml",
            ".qwen/settings.json",
            "opencode.json",
            "opencode.jsonc",
            ".opencode/plugin/x.js",
        ),
        *(
            "AGENTS.md",
            "sub/AGENTS.md",
            "CLAUDE.md",
            "GEMINI.md",
            "QWEN.md",
            ".github/copilot-instructions.md",
        ),
        *(".cursor/mcp.json", ".zed/tasks.json", "lefthook.yaml", ".lefthook.yml", "lefthook-local.yml"),
        *(".mise/config.toml", ".config/mise.toml", "mise.local.toml", ".tool-versions", ".woodpecker.yml"),
        *(".drone.yml", "bitbucket-pipelines.yml", ".travis.yml", ".buildkite/pipeline.yml", "appveyor.yml"),
        *(".gitlab/ci.yml", ".exrc", ".nvim.lua", ".dir-locals.el", ".agents/skills/x", ".copilot/mcp.json"),
        *(".agent/skills/x/SKILL.md", ".factory/droids/x.md", "crush.json", ".helix/config.toml"),
        *(".Rprofile", ".pdbrc", "src/.gdbinit"),
        *(
            ".lfsconfig",
            ".ghci",
            "sub/.irbrc",
            "irb.rc",
            "_irbrc",
            "$irbrc",
            ".pryrc",
            ".byebugrc",
            ".iex.exs",
        ),
        *(".ocamlinit", ".octaverc", ".Renviron", "analysis/.RData", ".perldb", "perldb.ini", ".IRBRC"),
        *(
            "netlify.toml",
            "site/vercel.json",
            "vercel.ts",
            ".readthedocs.yaml",
            ".readthedocs.yml",
            ".gitpod.yml",
        ),
        *(".gitpod.Dockerfile", "sub/NETLIFY.toml"),
        *("env/pyvenv.cfg", "sitecustomize.py", "src/usercustomize.py", ".python-version"),
        *(".ENVRC", ".Vscode/tasks.json", ".mcp.JSON", "agents.md", ".PANCODE/workflows/x.yaml", ".github"),
    ],
)
def test_it_does(path: str) -> None:
    assert why_it_decides(path, COMMANDS)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (".github/workflows/x.yml", "continuous integration runs it"),
        (".vscode/tasks.json", "an editor runs commands that it names"),
        ("AGENTS.md", "an agent program obeys it, or runs commands that it names"),
    ],
)
def test_a_user_is_told_who_runs_it(path: str, why: str) -> None:
    assert why_it_decides(path, ()) == why


@pytest.mark.parametrize("path", ["a.sh", "b/c.sh"])
def test_a_script_that_a_shell_line_names_does(path: str) -> None:
    assert why_it_decides(path, COMMANDS) == NAMED


@pytest.mark.parametrize(
    "path",
    [
        *("src/a.py", "tests/test_a.py", "Makefile", "package.json", "docs/agents.md.txt", "pancode/x.yaml"),
        *("Procfile", "docker-compose.yml", ".bazelrc"),
        ".gitattributes",
    ],
)
def test_it_does_not(path: str) -> None:
    """A user starts the program that reads it; a driver that git runs stands in no file that is landed."""
    assert why_it_decides(path, COMMANDS) == ""


@pytest.mark.parametrize(
    ("gate", "path"),
    [
        (("make", "test"), "Makefile"),
        (("npm", "test"), "package.json"),
        ((".venv/bin/python", "-m", "pytest"), "tests/conftest.py"),
        ((".venv/bin/pip", "install", "-e", "."), "setup.py"),
        (("docker", "compose", "up", "--wait"), "docker-compose.yml"),
        (("foreman", "check"), "Procfile"),
        (("bazel", "test", "//..."), ".bazelrc"),
    ],
)
def test_what_a_named_program_reads_does(gate: tuple[str, ...], path: str) -> None:
    assert gate[0] in why_it_decides(path, [gate]) or "uses" in why_it_decides(path, [gate])
    assert why_it_decides(path, [("true",)]) == ""


PARTS = (
    ("pytest -q", "pyproject.toml", "[tool.pytest.ini_options]\naddopts = '--co'\n", "[project]\na = 'a'\n"),
    ("pytest -q", "pyproject.toml", "[tool.coverage.report]\nfail_under = 0\n", "[tool.ruff]\nfix = true\n"),
    ("pytest -q", "setup.cfg", "[tool:pytest]\naddopts = --co\n", "[metadata]\nname = a\n"),
    ("pytest -q", "setup.cfg", " [tool:pytest]\naddopts = --co\n", "[metadata]\nname = a\n"),
    ("pytest -q", "tests/tox.ini", "[pytest]\naddopts = --co\n", "[testenv]\ndeps = a\n"),
    ("mypy .", "pyproject.toml", "[tool.mypy]\nignore_errors = true\n", "[tool.ruff]\nline-length = 9\n"),
    ("mypy .", "setup.cfg", "[mypy-a.*]\nignore_errors = true\n", "[flake8]\nselect = E\n"),
    ("tox", "tox.ini", "[testenv:py]\ncommands = true\n", "[flake8]\nselect = E\n"),
    ("pip install .", "pyproject.toml", "[build-system]\nbuild-backend = 'x'\n", "[tool.pytest]\na = 1\n"),
    ("uv run pytest", "pyproject.toml", "[tool.uv]\nindex-url = 'x'\n", "[project]\ndependencies = ['a']\n"),
    ("npm test", "package.json", '{"scripts": {"test": "true"}}', '{"version": "2", "dependencies": {}}'),
    ("npm test", "package.json", '{"jest": {"testMatch": []}}', '{"description": "b"}'),
    ("cargo test", "Cargo.toml", "[lib]\ntest = false\n", "[package]\nversion = '2'\n[dependencies]\na=1\n"),
    ("go test ./...", "go.mod", "replace a => ../b\n", "require a v1\nrequire (\n\tb v1\n)\n"),
)  # fmt: skip


@pytest.mark.parametrize(("gate", "file", "obeyed", "other"), PARTS)
def test_only_what_the_program_obeys_in_a_file_does(gate: str, file: str, obeyed: str, other: str) -> None:
    assert decides(gate, {}, {file: obeyed}) == {file} == decides(gate, {file: obeyed}, {file: "\n"})
    assert decides(gate, {}, {file: other}) == decides("true", {}, {file: obeyed}) == set()
    joined = f"{obeyed}{other}" if not file.endswith(".json") else obeyed
    assert decides(gate, {file: obeyed}, {file: joined}) == set()


@pytest.mark.parametrize("text", ["[tool.pytest", '{"scripts": ', "[" * 9_000, "\0"])
@pytest.mark.parametrize("file", ["pyproject.toml", "package.json"])
def test_a_file_that_cannot_be_read_counts_whole(file: str, text: str) -> None:
    assert decides("npm test pytest", {}, {file: text}) == {file}


@pytest.mark.parametrize(
    ("gate", "file"),
    [
        *(("jest", "jest.config.js"), ("vitest run", "vitest.config.ts"), ("mocha", ".mocharc.json")),
        *(("mypy .", "mypy.ini"), ("ruff check", "ruff.toml"), ("ruff check", "sub/.ruff.toml")),
        *(("flake8", ".flake8"), ("rspec", ".rspec"), ("eslint .", ".eslintrc.cjs"), ("mix test", "mix.exs")),
        *(("./gradlew test", "gradle/wrapper/gradle-wrapper.properties"), ("pytest", ".coveragerc")),
        *(("ctest", "CMakeLists.txt"), ("bundle exec rspec", "Gemfile"), ("cargo test", "rust-toolchain")),
        *(("dotnet test", "Directory.Build.props"), ("go test ./...", "go.work")),
    ],
)  # fmt: skip
def test_the_configuration_of_a_program_is_known_by_custom(gate: str, file: str) -> None:
    assert decides(gate, {}, {file: "x"}) == {file} and decides("true", {}, {file: "x"}) == set()


@pytest.mark.parametrize(
    ("gate", "recipe"),
    [
        ("make test", {"Makefile": "test:\n\t@. ./env && sh tools/t.sh\n", "tools/t.sh": "A=b pytest -q\n"}),
        ("npm test", {"package.json": '{"scripts": {"test": "sh tools/t.sh"}}', "tools/t.sh": "pytest -q"}),
        ("tox", {"tox.ini": "[testenv]\ncommands = sh tools/t.sh\n", "tools/t.sh": "\"$PY\" -m pytest"}),
    ],
)  # fmt: skip
def test_what_a_recipe_uses_the_gate_uses(gate: str, recipe: dict[str, str]) -> None:
    for changed in ("conftest.py", "tools/t.sh"):
        assert decides(gate, recipe, {**recipe, changed: "x"}) == {changed}
    assert decides(gate, recipe, {**recipe, "src/a.py": "x", "jest.config.js": "x"}) == set()


WORKSPACES = {
    "package.json": '{"scripts":{"test":"lerna run test"}}',
    "p/a/package.json": '{"scripts":{"test":"jest"}}',
}
PLACES: tuple[tuple[str, dict[str, str], str], ...] = (
    ("sh -c 'cd t && sh run.sh'", {"t/run.sh": "x"}, "t/run.sh"),
    ("sh -c 'cd t && ./run'", {"t/run": "x"}, "t/run"),
    ("make -C t test", {"t/Makefile": "test:\n\tsh check.sh\n", "t/check.sh": "x"}, "t/check.sh"),
    ("make test", {"Makefile": "include tools/rules.inc\n"}, "tools/rules.inc"),
    ("make -fbuild/rules test", {"build/rules": "x"}, "build/rules"),
    ("make test", {"Makefile": "test:\n\t$(MAKE) -C $(D)\n", "t/Makefile": "a:\n\t./b\n"}, "t/b"),
    ("sh main.sh", {"main.sh": ". ./lib.sh\n"}, "lib.sh"),
    ("sh t/main.sh", {"t/main.sh": ". ./lib.sh\n", "t/lib.sh": "./deep\n"}, "t/deep"),
    ("sh t/main.sh", {"t/main.sh": '. "$(dirname "$0")/lib"\n'}, "t/lib"),
    ("sh main.sh", {"main.sh": "exec $TOP/tools/real\n"}, "tools/real"),
    ("sh main.sh", {"main.sh": "for f in t/*.sh; do sh $f; done\n"}, "t/a.sh"),
    *(("sh main.sh", {"main.sh": f"{before} ./x{after}\n"}, "x") for before, after in (
        *(("if", "; then :; fi"), ("!", ""), ("time", ""), ("exec", ""), ("a && \\\n", ""), ("", "||true")),
        *(("nice -n 9", ""), ("xargs -a", ""), ("PATH=$PATH:.", "")),
    )),
    ("npm --prefix web test", {"web/package.json": '{"scripts":{"test":"jest"}}'}, "web/jest.config.js"),
    ("sh -c 'cd w && npm test'", {"w/package.json": '{"scripts":{"test":"vitest"}}'}, "w/vitest.config.ts"),
    ("npm test", WORKSPACES, "p/a/jest.config.js"),
    ("npm test", {"package.json": '{"scripts":{"test":"mocha -r ./t/setup"}}'}, "t/setup.js"),
    ("npm test", {}, "node_modules/.bin/jest"),
    ("npx tsc -p .", {"tsconfig.json": '{"extends":"./cfg/base.json"}'}, "cfg/base.json"),
    ("pip install -r requirements.txt", {}, "requirements.txt"),
    ("go generate ./...", {}, "gen.go"),
    *(("python3 -m unittest", {}, path) for path in (
        *("unittest.py", "unittest/__main__.py", "argparse.py", "x.egg-info/entry_points.txt"),
        *("unittest.cpython-311-x86_64-linux-gnu.so", "x-1.dist-info/entry_points.txt"),
    )),
    ("sh -c 'PYTHONPATH=src python3 -m pytest'", {}, "src/pytest.py"),
    ("python3 -m tools.check", {"tools/check.py": "x"}, "tools/check.py"),
    ("python3 -m tests", {"tests/a.py": "x"}, "tests.py"),
    *((program, {}, file) for program, file in (
        *(("eslint .", ".eslintignore"), ("semgrep ci", ".semgrepignore"), ("pyright", "pyrightconfig.json")),
        *(("lerna run test", "lerna.json"), ("phpunit", "phpunit.dist.xml"), ("mage test", "magefile.go")),
        *(("bin/phpstan", "phpstan.neon"), ("ng test", "angular.json"), ("earthly +test", "Earthfile")),
        *(("jasmine", "spec/support/jasmine.json"), ("git diff --check", ".gitattributes")),
    )),
)  # fmt: skip
"""A gate, the files as they are, and a file that turns the gate off."""


@pytest.mark.parametrize(("gate", "stay", "changed"), PLACES)
def test_each_file_that_turns_a_gate_off_waits_whichever_way_the_gate_names_it(
    gate: str, stay: dict[str, str], changed: str
) -> None:
    after = {**stay, changed: "--index-url http://x\n//go:generate sh\n", "src/a.py": "x", "README.md": "x"}
    trees = ChangedTree((changed, "src/a.py", "README.md"), Files(stay), Files(after))
    assert set(why_they_decide(trees, [shlex.split(gate)])) == {changed}


@pytest.mark.parametrize(
    ("gate", "stay", "changed"),
    [
        ("python3 -m tests.run", {"tests/run.py": "x", "tests/a.py": "x"}, "tests/b.py"),
        ("python3 -m pytest", {"json.py": "x"}, "json.py"),
        ("pytest", {}, "app/types.py"),
        ("pip install -r dev.txt", {}, "dev.txt"),
        ("pip install -r requirements.txt", {}, "requirements.txt"),
        ("sh -c 'ls src/ && git status'", {}, ".gitignore"),
        ("go test ./cmd/...", {}, "cmd/main.go"),
        ("sh -c 'ruff check src/*.py && cargo test'", {}, "src/a.py"),
    ],
)
def test_ordinary_work_does_not_wait(gate: str, stay: dict[str, str], changed: str) -> None:
    trees = ChangedTree((changed,), Files(stay), Files({**stay, changed: "x==1\n"}))
    assert why_they_decide(trees, [shlex.split(gate)]) == {}


def test_a_gate_that_names_a_folder_still_uses_its_programs() -> None:
    trees = ChangedTree(("Cargo.toml",), Files(), Files({"Cargo.toml": "[lib]\ntest = false\n"}))
    assert set(why_they_decide(trees, [("sh", "-c", "ls crates/ && cargo test")])) == {"Cargo.toml"}


BARE = {"d/HEAD": "ref: refs/heads/x\n", "d/objects/about.txt": "", "d/refs/about.txt": ""}


@pytest.mark.parametrize(
    "tree",
    [
        BARE,
        {**BARE, "d/config": "[core]\n"},
        {"d/HEAD": "", "d/commondir": "../e"},
        {"a/b/head": "", "a/b/Objects/x": "", "a/b/REFS/x": ""},
    ],
)
def test_a_folder_that_git_takes_for_a_repository_does(tree: dict[str, str]) -> None:
    assert decides("true", {}, tree) == set(tree)
    for path in tree:
        rest = {name: text for name, text in tree.items() if name != path}
        assert decides("true", rest, tree) == {path}, "what completes one, or is added to one, counts too"
    assert decides("true", {}, {"d/HEAD": "", "d/objects/x": "", "d/config/x": ""}) == set()


@pytest.mark.parametrize(
    ("target", "counts"),
    [
        *(("/etc/passwd", True), ("../../etc", True), ("../.git/hooks", True), ("b/../../../x", True)),
        *(("b", False), ("../src/a.py", False), ("./../d/..", False)),
    ],
)
def test_a_link_that_leads_out_does(target: str, counts: bool) -> None:
    after = Files(links={"d/l": target})
    assert bool(why_they_decide(ChangedTree(["d/l"], Files(), after), ())) is counts
    assert why_they_decide(ChangedTree(["d/l"], after, Files()), ()) == {}, "one that goes does not"


def test_a_file_that_a_gate_only_reads_does_not() -> None:
    gates = (("grep", "-q", "two", "a.txt"), ("cmp", "a.txt", "b.txt"), ("./check", "c.txt"))
    assert why_it_decides("a.txt", gates) == ""
    assert why_it_decides("a.txt", (("sh", "-c", "grep -v x a.txt | sh"),)) == NAMED, "a shell may run it"
    assert why_it_decides("check", gates) == NAMED == why_it_decides("c.txt", gates)
    assert why_it_decides("check.py", (("/usr/bin/python3.11", "-I", "check.py"),))
    assert why_it_decides("a", ((),)) == ""


def test_every_pattern_is_one() -> None:
    patterns = [*ALWAYS, *(one.file for several in WHEN_USED.values() for one in several)]
    assert [pattern_fault(one) for one in patterns] == [None] * len(patterns)


OURS = {
    ".git": "refused by its own rule",
    ".keep": "in a folder made for one run",
    ".new": "the end of a name, until the file is whole",
    ".local": "below the login user's home",
    ".pancode-node": "the node's home",
    "pnpm-lock.yaml": "no program runs it; its being there names a package manager",
    "config.yaml": "in the home that Hermes gets for a run",
    "NOTES.md": "written by the shipped example script",
    "SKILL.md": "of the skills that its job has, in its home",
    ".gitignore": "named in a fix; the user edits it",
}
"""Names in that code which are no files of a project on which a program acts."""
READERS = (
    *("node_agent/runtimes", "node_agent/native", "node_agent/sdk", "node_agent/hooks"),
    *("pancode/config", "pancode/workflows/files", "pancode/app/repository_proposal.py"),
)
_SUFFIXES = {".json", ".jsonl", ".ndjson", ".txt", ".yaml", ".yml"}
_NAME = re.compile(r"\.[a-z][a-z-]{2,}|[A-Z]{2,}\.md|[a-z-]+\.ya?ml")


def test_every_runtime_says_what_its_program_reads() -> None:
    assert set(READ_BY) == {"pancode", *RUNTIMES}, "READ_BY of policy/deciding.py names each runtime"
    assert [name for name, kind in KINDS.items() if not kind.own and not READ_BY[name]] == []


def test_every_name_in_the_code_of_what_reads_a_project_is_asked_about() -> None:
    found = {name for folder in READERS for name in _names(folder)}
    assert {".pancode", ".gemini", ".opencode", ".qwen", "QWEN.md", "pancode.yaml"} <= found, "it looks there"
    left = {name for name in found if not why_always(name) and not why_always(f"sub/{name}")}
    assert left == set(OURS), "name it in READ_BY of policy/deciding.py; or here, with the reason"


def _names(folder: str) -> Iterator[str]:
    """Names of files and folders in its texts; docstrings are left out."""
    place = ROOT / folder
    files = [place] if place.is_file() else sorted(place.rglob("*.py"))
    assert files, folder
    for file in files:
        tree = ast.parse(file.read_text())
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        glued = {id(v) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for v in node.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
                parts = node.value.split("/")[id(node) in glued :]  # what is glued to a value is half a name
                yield from (part for part in parts if _NAME.fullmatch(part) and part not in _SUFFIXES)
