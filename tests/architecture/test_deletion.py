"""A feature can be deleted: its folder, its lines in the tables of the application, and nothing else."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

TABLES = ("pancode/app/features.py", "pancode/app/http_routes.py", "pancode/interfaces/cli/tree.py")
"""Where the application lists the features: what they add to runs, their routes and their commands."""
FEATURES = ("pancode.schedules", "pancode.memory")
IMPORT_ALL = """
import importlib, pathlib
for path in sorted(pathlib.Path("pancode").rglob("*.py")):
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    if not name.endswith("__main__") and ".migrations." not in name:
        importlib.import_module(name)
"""


class Removal(ast.NodeTransformer):
    """Takes out of a table whatever names one of these packages."""

    def __init__(self, packages: Sequence[str]) -> None:
        self.packages, self.bound = packages, set[str]()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        module = node.module or ""
        gone = [one for one in node.names if self._is_of(module) or self._is_of(f"{module}.{one.name}")]
        self.bound |= {one.asname or one.name for one in gone}
        node.names = [one for one in node.names if one not in gone]
        return node if node.names else None

    def visit_Tuple(self, node: ast.Tuple) -> ast.Tuple:
        self.generic_visit(node)
        if not self._is_named(ast.Tuple([one for one in node.elts if isinstance(one, ast.Constant)])):
            node.elts = [one for one in node.elts if not self._is_named(one)]
        return node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        node.args = [one for one in node.args if not self._is_named(one)]
        return node

    def visit_Dict(self, node: ast.Dict) -> ast.Dict:
        pairs = zip(node.keys, node.values, strict=True)
        left = [(key, value) for key, value in pairs if not self._is_named(value)]
        node.keys, node.values = [key for key, _ in left], [value for _, value in left]
        self.generic_visit(node)
        return node

    def _is_of(self, name: str) -> bool:
        return any(name == one or name.startswith(f"{one}.") for one in self.packages)

    def _is_named(self, node: ast.AST) -> bool:
        for one in ast.walk(node):
            if isinstance(one, ast.Name) and one.id in self.bound:
                return True
            if isinstance(one, ast.Constant) and isinstance(one.value, str) and self._is_of(one.value):
                return True
        return False


def imported(path: Path) -> set[str]:
    """The modules that a file imports, with the names that it takes from them."""
    found = set[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
        elif isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
    return found


def copy_without(place: Path, packages: Sequence[str]) -> Path:
    """Copy the tree without these packages, their lines in the tables, and the tests that import them."""
    listed = subprocess.run(
        ("git", "ls-files", "-z", "-co", "--exclude-standard"), cwd=ROOT, capture_output=True, check=True
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)
    for package in packages:
        shutil.rmtree(place / package.replace(".", "/"))
    for table in TABLES:
        removal = Removal(packages)
        text = ast.unparse(removal.visit(ast.parse((place / table).read_text(encoding="utf-8"))))
        (place / table).write_text(text, encoding="utf-8")
    gone, going = set(packages), True
    while going:
        going = False
        for path in list((place / "tests").rglob("*.py")):
            if any(name == one or name.startswith(f"{one}.") for name in imported(path) for one in gone):
                gone.add(".".join(path.relative_to(place).with_suffix("").parts))
                path.unlink()
                going = True
    return place


def missing_imports(place: Path) -> list[str]:
    """Name the imports of the product, also those within functions, whose module is not in the copy."""
    found = list[str]()
    for path in sorted(place.glob("pancode/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pancode."):
                module = place / str(node.module).replace(".", "/")
                if not module.is_dir() and not module.with_suffix(".py").exists():
                    found.append(f"{path.relative_to(place)}: {node.module}")
    return found


def run(place: Path, *command: str) -> str:
    """Run a command of this Python in the copy; return what it says where it fails."""
    done = subprocess.run((sys.executable, *command), cwd=place, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout[-3_000:] + done.stderr[-3_000:]


def test_features_can_be_deleted(tmp_path: Path) -> None:
    place = copy_without(tmp_path, FEATURES)
    assert not missing_imports(place)
    assert not run(place, "-c", IMPORT_ALL)


@pytest.mark.parametrize("feature", FEATURES)
def test_what_is_left_passes_its_tests(tmp_path: Path, feature: str) -> None:
    place = copy_without(tmp_path, (feature,))
    assert not run(place, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "tests/unit")
