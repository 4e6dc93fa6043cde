"""Holds what is committed to what a stranger may clone: no private address, no stub, the papers in place."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from tests.architecture.sources import PACKAGES, ROOT, functions, modules, text, tracked, tree

# Put together here so that this file does not hold what it looks for.
REGISTRIES = [
    ".".join(name)
    for name in (
        ("py" + "pi", "org"),
        ("pythonhosted", "org"),
        ("registry", "npmjs"),
        ("deb", "debian"),
        ("proxy", "golang"),
        ("crates", "io"),
        ("docker", "io"),
        ("ghcr", "io"),
        ("quay", "io"),
    )
]
# A path of the machine this was built on; `~/x/work/` and `{home}/work/` are other things.
BUILD_PATH = re.compile(r"(?<![\w.~$})\]*-])/work/")
STUB = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|HA" + r"CK|raise Not" + r"ImplementedError)\b|pass  #")
THIS = Path("tests/architecture/test_hygiene.py")


def _tracked_texts() -> list[tuple[Path, str]]:
    texts = []
    for path in tracked():
        try:
            texts.append((path, (ROOT / path).read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return texts


def test_no_address_and_no_path_of_the_build_machine() -> None:
    found = []
    for path, body in _tracked_texts():
        found += [f"{path} names {host}" for host in REGISTRIES if host in body]
        found += [f"{path} names {m.group()}" for m in BUILD_PATH.finditer(body) if path != THIS]
    assert not found


def test_no_stub_is_left() -> None:
    marked = [f"{p}: {m.group()}" for p in modules(*PACKAGES) for m in STUB.finditer(text(p))]
    assert not marked


def _declares(node: ast.AST) -> bool:
    """A protocol or an abstract class: its bodies are promises, not stubs."""
    bases = [ast.unparse(b) for b in node.bases] if isinstance(node, ast.ClassDef) else []
    return any(re.search(r"\b(Protocol|ABC)\b", base) for base in bases)


def _hollow(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether the body is only `...` or `pass`. A docstring alone is a deliberate no-op that says why."""
    last = function.body[-1]
    dots = isinstance(last, ast.Expr) and isinstance(last.value, ast.Constant) and last.value.value is ...
    overload = any(ast.unparse(d).endswith("overload") for d in function.decorator_list)
    return (dots or isinstance(last, ast.Pass)) and len(function.body) <= 2 and not overload


def test_every_function_does_something() -> None:
    hollow = []
    for path in modules(*PACKAGES):
        promises = {id(f) for c in ast.walk(tree(path)) if _declares(c) for f in ast.walk(c)}
        ours = [node for node in functions(path) if id(node) not in promises]
        hollow += [f"{path}:{node.lineno} {node.name}" for node in ours if _hollow(node)]
    assert not hollow


RULES = (*modules("tests/architecture"), Path("tests/slices.py"), Path("pyproject.toml"))
"""Where rules name files of the product: a rule about a file that is gone holds for nothing, and passes."""
OURS = r"(?:pancode|node_agent)"
NAMED = re.compile(rf"(?<![\w/.-]){OURS}(?:/[\w.*-]+)+|(?<![\w/.:-]){OURS}(?:\.\w+)+")
NOT_HERE = {"pancode/commit.txt", "pancode/fleet/bundle/node-requirements.txt", "pancode.1", "pancode.yaml"}
"""Files that a build makes, or that are somebody's."""


def _strings(path: Path) -> Iterator[str]:
    """The strings of a file, less those that stand by themselves: docstrings and texts below a name."""
    if path.suffix != ".py":
        yield from re.findall(r'"([^"]*)"', text(path))
        return
    alone = {id(node.value) for node in ast.walk(tree(path)) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.value


def _is_there(name: str, files: list[str]) -> bool:
    if "/" in name:
        pattern = name.rstrip("./").replace("**", "*")
        return any(fnmatch(path, one) for path in files for one in (pattern, f"{pattern}/*"))
    inner = ROOT / name.replace(".", "/")
    whole = inner.is_dir() or inner.with_suffix(".py").is_file()
    return whole or inner.parent.with_suffix(".py").is_file()  # a name in a module


def test_every_file_that_a_rule_names_is_there() -> None:
    files = [path.as_posix() for path in tracked()]
    gone = {
        f"{path}: {name}"
        for path in RULES
        if path != THIS
        for words in _strings(path)
        for name in NAMED.findall(words)
        if name not in NOT_HERE and not _is_there(name, files)
    }
    assert not gone, "a rule over no file passes; name what exists"


IMPORTED = re.compile(rf"^ *from ({OURS}[\w.]*) import (\w+)", re.MULTILINE)


def test_code_in_a_string_imports_what_is_there() -> None:
    """Tests run such code in other processes; neither the type checker nor the linter reads it."""
    files = [path.as_posix() for path in tracked()]
    gone = {
        f"{path}: {module}.{name}"
        for path in modules("tests", "docs", "deploy")
        for words in _strings(path)
        for module, name in IMPORTED.findall(words.replace("; ", "\n"))
        if not _is_there(f"{module}.{name}", files)
    }
    assert not gone


def test_licence_and_changelog() -> None:
    licence = (ROOT / "LICENSE").read_text()
    assert "Apache License" in licence and "Version 2.0" in licence and len(licence) > 11_000
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_places_of_the_version_agree() -> None:
    """The wheel's own is in `test_distribution`."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    semantic = version.replace(".dev", "-dev")  # what a collection of Ansible may have
    assert f"\nversion: {semantic}\n" in (ROOT / "ansible/galaxy.yml").read_text()
    changelog = (ROOT / "CHANGELOG.md").read_text()
    dated = re.search(rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", changelog, re.MULTILINE)
    assert bool(dated) is (".dev" not in version), "a version under development has no part of its own yet"


def test_session_guide_stays_short() -> None:
    assert len((ROOT / "AGENTS.md").read_text().splitlines()) < 150
