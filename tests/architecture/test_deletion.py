"""A feature can be deleted: its folder, its lines in the tables of the application, and nothing else."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

TABLES = ("pancode/app/features.py", "pancode/app/http_routes.py", "pancode/interfaces/cli/main.py")
"""Where the application lists the features: what they add to runs, their routes and their commands."""
NAMING = (
    "pancode/interfaces/cli/commands.py",
    "pancode/interfaces/mcp/tools.py",
    "tests/unit/pancode/app/test_faces_agree.py",
    "tests/unit/pancode/interfaces/http/faces.py",
    "tests/unit/pancode/interfaces/cli/test_words.py",
)
"""Tables of the interfaces that name routes and commands of features, and the tables of their tests."""
ROUTE = re.compile(r'"((?:GET|POST) (/v1/[^"]*))"')
FEATURES = (("pancode.schedules",), ("pancode.memory",), ("pancode.workspaces", "pancode.issues"))
"""What is deleted together: issues are worked on in workspaces."""
IMPORT_ALL = """
import importlib, pathlib
for path in sorted(pathlib.Path("pancode").rglob("*.py")):
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    if not name.endswith("__main__") and ".migrations." not in name:
        importlib.import_module(name)
"""


class Removal(ast.NodeTransformer):
    """Takes out of a table whatever names one of these packages, its routes, or its commands."""

    def __init__(
        self, packages: Sequence[str], routes: Collection[str] = (), commands: Collection[str] = ()
    ) -> None:
        self.packages, self.routes, self.commands = packages, routes, commands
        self.bound, self.removed = set[str](), set[str]()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        module = node.module or ""
        gone = [one for one in node.names if self._is_of(module) or self._is_of(f"{module}.{one.name}")]
        self.bound |= {one.asname or one.name for one in gone}
        node.names = [one for one in node.names if one not in gone]
        return node if node.names else None

    def visit_Tuple(self, node: ast.Tuple) -> ast.Tuple:
        node.elts = self._left(node.elts)
        return node

    def visit_List(self, node: ast.List) -> ast.List:
        node.elts = self._left(node.elts)
        return node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        node.args = self._left(node.args)
        return node

    def _left(self, several: list[ast.expr]) -> list[ast.expr]:
        """Return what is left. A row that itself names what is gone stays whole: its table drops it."""
        several = [self.visit(one) for one in several]
        texts = [one for one in several if isinstance(one, ast.Constant)]
        is_list = all(" /v1/" in str(one.value) for one in texts)
        if not is_list and any(self._is_named(one) for one in texts):
            return several
        return [one for one in several if not self._is_named(one)]

    def visit_Dict(self, node: ast.Dict) -> ast.Dict:
        self.generic_visit(node)
        pairs = list(zip(node.keys, node.values, strict=True))
        gone = [one for one in pairs if self._is_named(one[1]) or (one[0] and self._is_named(one[0]))]
        self.removed |= {str(key.value) for key, _ in gone if isinstance(key, ast.Constant)}
        left = [one for one in pairs if one not in gone]
        node.keys, node.values = [key for key, _ in left], [value for _, value in left]
        return node

    def _is_of(self, name: str) -> bool:
        if name in self.routes or name.partition(" ")[0] in self.commands:
            return True
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
    folders = [place / package.replace(".", "/") for package in packages]
    sources = [path.read_text(encoding="utf-8") for folder in folders for path in folder.rglob("*.py")]
    routes = dict(found for source in sources for found in ROUTE.findall(source))
    for folder in folders:
        shutil.rmtree(folder)
    commands = set[str]()
    for table in (*TABLES, *NAMING):
        removal = Removal(packages, routes, commands if table in NAMING else ())
        text = ast.unparse(removal.visit(ast.parse((place / table).read_text(encoding="utf-8"))))
        (place / table).write_text(text, encoding="utf-8")
        commands |= removal.removed if table == TABLES[-1] else set()
    drop_tests(place, set(routes.values()))
    gone, going = set(packages), True
    while going:
        going = False
        for path in list((place / "tests").rglob("*.py")):
            if any(name == one or name.startswith(f"{one}.") for name in imported(path) for one in gone):
                gone.add(".".join(path.relative_to(place).with_suffix("").parts))
                path.unlink()
                going = True
    return place


def drop_tests(place: Path, paths: Collection[str]) -> None:
    """Remove the tests that ask one of these routes, from files that are about something else."""
    asked = [re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)) + r"(\?.*)?") for path in paths]
    for file in (place / "tests").rglob("test_*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        left = [node for node in tree.body if not _asks(node, asked)]
        if len(left) != len(tree.body):
            tree.body = left
            file.write_text(ast.unparse(tree), encoding="utf-8")


def _asks(node: ast.stmt, paths: Collection[re.Pattern[str]]) -> bool:
    texts = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant)]
    found = any(path.fullmatch(text) for text in texts if isinstance(text, str) for path in paths)
    return isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and found


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
    place = copy_without(tmp_path, [package for feature in FEATURES for package in feature])
    assert not missing_imports(place)
    assert not run(place, "-c", IMPORT_ALL)


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature[0])
def test_what_is_left_passes_its_tests(tmp_path: Path, feature: Sequence[str]) -> None:
    place = copy_without(tmp_path, feature)
    assert not run(place, "-m", "mypy", "pancode", "node_agent")
    assert not run(place, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "tests/unit")
