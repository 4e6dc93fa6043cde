"""Holds the pages of the packages (docs/contributing/packages) to the code: what they name exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from tests.architecture.sources import PACKAGES, ROOT, modules, text, tree

FOLDER = ROOT / "docs" / "contributing" / "packages"
HEADS = ("## Tables and settings", "## Main path", "## Add to it", "## Tests")
SPAN = re.compile(r"`([^`\n]+)`")
DOTTED = re.compile(r"[A-Za-z_]\w*(\.\w+)+")
CLASS = re.compile(r"[A-Z][a-z0-9]+\w*")
DEFINED = re.compile(r"^ *class (\w+)", re.MULTILINE)
PATH = re.compile(r"[\w.-]+(/[\w.*-]+)+/?")
FILE = re.compile(r"[\w.-]+\.(json|yaml|toml|md)")
SETTING = re.compile(r"^\| `([a-z_.]+)` \|", re.MULTILINE)


def _pages() -> list[Path]:
    return sorted(page for page in FOLDER.glob("*.md") if page.name != "README.md")


def _spans(words: str) -> list[str]:
    return SPAN.findall(words)


@cache
def _settings() -> set[str]:
    """The keys of all settings, and their groups, as the reference has them, which is made from the code."""
    keys = set(SETTING.findall((ROOT / "docs/reference/configuration.md").read_text()))
    return keys | {key.rpartition(".")[0] for key in keys}


def _defined(body: list[ast.stmt]) -> dict[str, list[ast.stmt]]:
    """The functions, classes and values of a module or class, each with its body."""
    found: dict[str, list[ast.stmt]] = {}
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found[name] = []
            case ast.ClassDef(name=name, body=inner):
                found[name] = inner
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                found[name] = []
            case _:
                pass
    return found


def _is_in_code(name: str) -> bool:
    """Whether the name, below `pancode` or `node_agent`, is a module, or is defined in one."""
    parts = name.split(".")
    roots = [ROOT] if parts[0] in PACKAGES else [ROOT / package for package in PACKAGES]
    return any(_resolves(root, parts) for root in roots)


def _resolves(place: Path, parts: list[str]) -> bool:
    for number, part in enumerate(parts):
        if (place / part / "__init__.py").is_file():
            place /= part
            continue
        file, inside = place / f"{part}.py", parts[number + 1 :]
        if not file.is_file():
            file, inside = place / "__init__.py", parts[number:]
        body = tree(file.relative_to(ROOT)).body if file.is_file() else []
        for inner in inside:
            known = _defined(body)
            if inner not in known:
                return False
            body = known[inner]
        return True
    return True


@cache
def _product() -> str:
    return "\n".join(text(file) for file in modules(*PACKAGES))


@cache
def _classes() -> set[str]:
    """The names of all classes of the product."""
    return set(DEFINED.findall(_product()))


def _records() -> set[str]:
    """The classes that are rows of the ledger."""
    nodes = [node for file in modules("pancode") for node in tree(file).body]
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    return {node.name for node in classes if "TABLE" in _defined(node.body)} - {"Record"}


def _is_wrong(span: str) -> bool:
    if FILE.fullmatch(span):
        return span not in _product()
    if DOTTED.fullmatch(span):
        return not (_is_in_code(span) or span in _settings())
    if CLASS.fullmatch(span):
        return span not in _classes()
    if PATH.fullmatch(span):
        return not list(ROOT.glob(span.rstrip("/")))
    return False


def test_every_name_on_a_page_is_in_the_code() -> None:
    pages = _pages()
    wrong = {f"{page.name}: {span}" for page in pages for span in _spans(page.read_text()) if _is_wrong(span)}
    assert pages and not wrong, "name what exists"


def test_a_name_that_is_gone_is_seen() -> None:
    assert _is_wrong("landing.service.no_such_name") and _is_wrong("landing.no_such_module.land")
    assert _is_wrong("NoSuchClass") and _is_wrong("tests/unit/pancode/no_such_folder")
    assert not _is_wrong("landing.service.Lander.land") and not _is_wrong("node_agent.wiring.build")


def test_every_package_has_one_page() -> None:
    heads = [span for page in _pages() for span in _spans(page.read_text().splitlines()[0])]
    folders = [
        folder.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for folder in (ROOT / package).iterdir()
        if (folder / "__init__.py").is_file()
    ]
    assert sorted(heads) == sorted(folders)


def test_every_page_has_the_same_sections_and_is_short() -> None:
    pages = {page.name: page.read_text() for page in _pages()}
    heads = {name: tuple(re.findall(r"^## .*", words, re.MULTILINE)) for name, words in pages.items()}
    assert not [name for name, found in heads.items() if found != HEADS]
    assert not [name for name, words in pages.items() if not 20 <= len(words.splitlines()) <= 60]


def test_every_table_of_the_ledger_is_owned_by_one_page() -> None:
    parts = [part for page in _pages() for part in page.read_text().split("\n\n")]
    named = [span for part in parts if part.startswith("Tables:") for span in _spans(part)]
    assert sorted(filter(CLASS.fullmatch, named)) == sorted(_records())


def test_the_page_of_the_engine_names_each_extension_point() -> None:
    points = _defined(_defined(tree(Path("pancode/runs/features.py")).body)["Features"])
    assert points and not points.keys() - set(_spans((FOLDER / "runs.md").read_text()))
