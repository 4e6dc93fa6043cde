"""Finds the project's own files and reads them: the ground that every architecture test stands on."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("pancode", "node_agent")
CHECKED = (*PACKAGES, "tests", "deploy", "docs", ".ci")
_NOT_OURS = {"__pycache__", "golden", "node_modules"}


def modules(*under: str) -> list[Path]:
    """Every Python file below these folders (or these files), relative to ROOT, in order.

    FileNotFoundError where a folder is gone: a rule over no file would pass.
    """
    found: list[Path] = []
    for name in under:
        place = ROOT / name
        if not place.exists():
            raise FileNotFoundError(place)
        files = [place] if place.is_file() else sorted(place.rglob("*.py"))
        found += [f.relative_to(ROOT) for f in files if not _NOT_OURS & set(f.relative_to(ROOT).parts)]
    return found


@cache
def text(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(text(path), filename=str(path))


def tracked() -> list[Path]:
    """What a clone holds: git's list, less what is deleted in the work tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    names = [Path(n.decode()) for n in listed.split(b"\0") if n]
    return [n for n in names if (ROOT / n).is_file() and not (ROOT / n).is_symlink()]


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of the file, nested ones too."""
    nodes = ast.walk(tree(path))
    return [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def dotted(path: Path) -> str:
    """pancode/runs/life/ends.py -> pancode.runs.life.ends; a package's __init__ is the package."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of each import anywhere in the file; `from a import b` gives both a and a.b."""
    package = dotted(path).split(".") if path.name == "__init__.py" else dotted(path).split(".")[:-1]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield node.lineno, base
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def within(module: str, *roots: str) -> bool:
    """Whether a dotted name is one of these or lies below one of them."""
    return any(module == root or module.startswith(root + ".") for root in roots)


def facets(*under: str) -> Iterator[tuple[Path, ast.ClassDef]]:
    """Every facet of a run, with its module."""
    for path in modules(*under):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "Facet" for base in node.bases):
                yield path, node
