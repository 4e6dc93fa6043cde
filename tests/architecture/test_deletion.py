"""A feature can be deleted: its folder, its lines in the tables of the application, and nothing else."""

from __future__ import annotations

import ast
import faulthandler
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

TABLES = (
    "pancode/app/doctor.py",
    "pancode/app/features.py",
    "pancode/app/http_routes.py",
    "pancode/app/parts.py",
    "pancode/app/commands/setup.py",
    "pancode/app/server/api_stdio.py",
    "pancode/interfaces/cli/copied_checkout.py",
    "pancode/interfaces/cli/tree.py",
)
"""Where the application lists what features add: to runs, to the coordinator, checks, routes and commands."""
TOOLS = "pancode/interfaces/mcp/tools.py"
NAMING = (
    TOOLS,
    "pancode/agents/agents.py",
    "pancode/drills/commands/drilled_fleet.py",
    "pancode/interfaces/cli/commands.py",
    "pancode/interfaces/tui/views.py",
    "tests/unit/pancode/agents/test_named_paths.py",
    "tests/unit/pancode/app/test_inside.py",
    "tests/unit/pancode/interfaces/mcp/test_tools.py",
    "tests/unit/pancode/app/test_faces_agree.py",
    "tests/unit/pancode/interfaces/http/faces.py",
    "tests/unit/pancode/interfaces/http/world.py",
    "tests/unit/pancode/interfaces/cli/test_words.py",
    "tests/unit/pancode/runs/test_default_worker.py",
)
"""Tables that name routes, commands and tools of features, and the tables of their tests."""
FACES = ("app", "interfaces/cli", "interfaces/mcp")
"""The folders of tests that ask commands and tools of all features."""
WHOLE = (
    "agents/test_agentchoice.py::test_a_task_for_several_agents_is_refused_with_the_chain_it_could_be",
    "app/test_check.py::test_agents_and_skills_need_no_file",
    "app/test_faces_agree.py",
    "app/test_panos_window.py::test_each_request_is_served_by_the_tools_that_are_offered[Land the last one]",
    "config/test_copied_files.py::test_a_list_is_agreed_to_once_for_one_project",
    "config/test_copied_files.py::test_the_settings_have_the_files_sealed_and_only_once_agreed",
    "git/test_forge_rules.py::test_what_is_missing_is_named",
    "interfaces/cli/test_lists_and_helps.py",
    "interfaces/cli/test_tree.py",
    "interfaces/http/test_once.py::test_which_routes_take_a_key",
    "kernel/test_unfinished_restore.py::test_a_folder_that_has_files_without_the_mark_is_refused",
    "kernel/test_unfinished_restore.py::test_the_error_names_what_continues_it_and_what_may_be_removed",
    "sessions/commands/test_slash.py::test_each_command_of_the_original_does_or_says_something",
    "sessions/commands/test_slash.py::test_its_verb_is_there",
    "skills/test_model.py::test_the_skill_that_hands_work_over_names_tools_that_exist",
    "skills/test_model.py::test_those_that_ship_are_sound_short",
)
"""Tests that hold a table or a text of the product against the commands and routes of all features."""
MANY = (
    "app/test_panos_window.py",
    "interfaces/cli/test_words.py::test_a_mistyped_name_is_usage_with_the_nearest_one",
    "interfaces/http/test_held.py::test_each_act_is_refused_before_it_begins",
)
"""Tests that need several features: they are run without one of them, but not without all."""
ROUTE = re.compile(r'"((?:GET|POST) (/v1/[^"]*))"')
SHARED = ("pancode/runs/answers.py", "pancode/conversation/answers.py")
CONSTANT = re.compile(r"^([A-Z_]+) = Route\[.*\]\((.+)\)$", re.MULTILINE)
SERVED = re.compile(r"^@Verb\((?:shapes\.)?([A-Z_]+)\b", re.MULTILINE)
"""Routes that a feature serves and others ask: their constants are shared, and not in its own `answers`."""
TOOL = re.compile(r'^    \w+\(\n +"(\w+)",\n +"[A-Z]', re.MULTILINE)
"""The name of a tool and the first letter of its description, in a table of tools."""
FEATURES = (
    ("pancode.schedules",),
    ("pancode.memory",),
    ("pancode.workspaces", "pancode.issues"),
    ("pancode.pull_requests",),
    ("pancode.reviews",),
    ("pancode.skills",),
    ("pancode.drills",),
    ("pancode.backups",),
    ("pancode.checkouts",),
    ("pancode.notices",),
    ("pancode.sessions",),
    ("pancode.people",),
    ("pancode.landing",),
    ("pancode.workflows",),
)
"""What is deleted together: issues are worked on in workspaces."""
ALL = sorted({package for feature in FEATURES for package in feature})
CACHE, LIMIT_S = ".mypy_cache", 900
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
        self, packages: Sequence[str], names: Collection[str] = (), commands: Collection[str] = ()
    ) -> None:
        """`names`: whole words, as routes and tools; `commands`: the first word of a text."""
        self.packages, self.names, self.commands = packages, names, commands
        self.bound, self.removed = set[str](), set[str]()
        self.in_function = False

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef | None:
        """Look for names alone: a function that only a removed row calls keeps the route that it asks. One
        that imports what is gone is itself a row."""
        outside, self.in_function, before = self.in_function, True, set(self.bound)
        self.generic_visit(node)
        is_row = self.bound != before
        if self._is_named(node):
            self.bound.add(node.name)
        self.in_function = outside
        return None if is_row else node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        module = node.module or ""
        gone = [one for one in node.names if self._is_of(module) or self._is_of(f"{module}.{one.name}")]
        self.bound |= {one.asname or one.name for one in gone}
        node.names = [one for one in node.names if one not in gone]
        return node if node.names else None

    def visit_Assign(self, node: ast.Assign) -> ast.Assign:
        """A tuple of names with a name of its own is a list, and no row of a table."""
        if isinstance(node.value, ast.Tuple) and not self.in_function:
            texts = [one for one in node.value.elts if isinstance(one, ast.Constant) and self._is_named(one)]
            node.value.elts = [one for one in node.value.elts if one not in texts]
        self.generic_visit(node)
        is_name = isinstance(node.value, ast.Constant) and node.value.value in self.names
        if is_name and not self.in_function:
            self.bound |= {one.id for one in node.targets if isinstance(one, ast.Name)}
        return node

    def visit_Tuple(self, node: ast.Tuple) -> ast.Tuple:
        node.elts = self._left(node.elts)
        return node

    def visit_Starred(self, node: ast.Starred) -> ast.Starred:
        """A list within a list loses names, and is no row of a table."""
        if isinstance(node.value, ast.Tuple):
            node.value.elts = [one for one in node.value.elts if not self._is_named(one)]
        return node

    def visit_List(self, node: ast.List) -> ast.List:
        node.elts = self._left(node.elts)
        return node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        node.args = self._left(node.args)
        for one in node.keywords:
            one.value = self.visit(one.value)
        node.keywords = [one for one in node.keywords if not self._is_named(one.value)]
        return node

    def _left(self, several: list[ast.expr]) -> list[ast.expr]:
        """Return what is left. A row that itself names what is gone stays whole: its table drops it."""
        several = [self.visit(one) for one in several]
        texts = [one for one in several if isinstance(one, ast.Constant)]
        is_list = all("/" in str(one.value) for one in texts)
        if not is_list and any(self._is_named(one) for one in texts):
            return several
        gone = [one for one in several if self._is_named(one)]
        rows = [one.args[0] for one in gone if isinstance(one, ast.Call) and one.args]
        self.removed |= {str(one.value) for one in rows if isinstance(one, ast.Constant)}
        return [one for one in several if one not in gone]

    def visit_Dict(self, node: ast.Dict) -> ast.Dict:
        pairs = list(zip(node.keys, node.values, strict=True))
        lists = (ast.Tuple, ast.List)  # they lose the names in them and stay
        gone = [
            one
            for one in pairs
            if (one[0] and self._is_named(one[0]))
            or (not isinstance(one[1], lists) and self._is_named(one[1]))
        ]
        self.removed |= {str(key.value) for key, _ in gone if isinstance(key, ast.Constant)}
        left = [one for one in pairs if one not in gone]
        node.keys, node.values = [key for key, _ in left], [value for _, value in left]
        self.generic_visit(node)
        return node

    def _is_of(self, name: str) -> bool:
        if name in self.names or name.partition(" ")[0] in self.commands:
            return True
        dotted = name.replace("/", ".")
        return any(dotted == one or dotted.startswith(f"{one}.") for one in self.packages)

    def _is_named(self, node: ast.AST) -> bool:
        for one in ast.walk(node):
            if isinstance(one, ast.Name) and one.id in self.bound:
                return True
            text = one.value if isinstance(one, ast.Constant) else None
            if isinstance(text, str) and not self.in_function and self._is_of(text):
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
    shared = dict(found for one in SHARED for found in CONSTANT.findall((place / one).read_text("utf-8")))
    sources += [shared[name] for source in sources for name in SERVED.findall(source) if name in shared]
    routes = dict(found for source in sources for found in ROUTE.findall(source))
    for folder in folders:
        shutil.rmtree(folder)
        shutil.rmtree(place / "tests/unit" / folder.relative_to(place), ignore_errors=True)
    tools = {found for source in sources for found in TOOL.findall(source)}
    names, commands = {*routes, *routes.values(), *tools}, set[str]()
    tests = [f"tests.unit.{package}" for package in packages]
    for table in filter(lambda one: (place / one).exists(), (*TABLES, *NAMING)):
        removal = Removal(
            (*packages, *tests), names, commands if table in NAMING and "/cli/" in table else ()
        )
        text = ast.unparse(removal.visit(ast.parse((place / table).read_text(encoding="utf-8"))))
        (place / table).write_text(text, encoding="utf-8")
        commands |= removal.removed if table == TABLES[-1] else set()
        names |= removal.removed if table == TOOLS else removal.bound if table in NAMING else set()
    drop_tests(place, set(routes.values()), commands | names)
    gone, going = {*packages, *tests}, True
    while going:
        going = False
        for path in list((place / "tests").rglob("*.py")):
            if any(name == one or name.startswith(f"{one}.") for name in imported(path) for one in gone):
                gone.add(".".join(path.relative_to(place).with_suffix("").parts))
                path.unlink()
                going = True
    return place


def drop_tests(place: Path, paths: Collection[str], names: Collection[str]) -> None:
    """Remove the tests that ask one of these routes, commands or tools from files of other subjects."""
    asked = [re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)) + r"(\?.*)?") for path in paths]
    for file in (place / "tests").rglob("test_*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        folder = file.parent.relative_to(place / "tests").as_posix()
        words = names if folder.endswith(FACES) else ()
        left = [node for node in tree.body if not _asks(node, asked, words)]
        if len(left) != len(tree.body):
            tree.body = left
            file.write_text(ast.unparse(tree), encoding="utf-8")


def _asks(node: ast.stmt, paths: Collection[re.Pattern[str]], names: Collection[str]) -> bool:
    inside = list(ast.walk(node))
    texts = [str(one.value) for one in inside if isinstance(one, ast.Constant)]
    texts += [one.id for one in inside if isinstance(one, ast.Name)]
    texts += [_join(one) for one in inside if isinstance(one, ast.JoinedStr)]
    found = any(text in names or any(path.fullmatch(text) for path in paths) for text in texts)
    return isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and found


def _join(text: ast.JoinedStr) -> str:
    """Return a formatted text with a word in place of each value."""
    return "".join(str(one.value) if isinstance(one, ast.Constant) else "x" for one in text.values)


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
    argv = (sys.executable, *command)
    done = subprocess.run(argv, cwd=place, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    return "" if done.returncode == 0 else done.stdout[-3_000:] + done.stderr[-3_000:]


def test_features_can_be_deleted(tmp_path: Path) -> None:
    place = copy_without(tmp_path, ALL)
    assert not missing_imports(place)
    assert not run(place, "-c", IMPORT_ALL)


def list_changed_tests(place: Path) -> list[str]:
    """Return the folders of unit tests of which the copy lacks a line, and those that ask all features."""
    found = {f"tests/unit/pancode/{folder}" for folder in ("app", "interfaces")}
    for path in (ROOT / "tests/unit/pancode").rglob("*.py"):
        copy = place / path.relative_to(ROOT)
        if not copy.exists() or copy.read_bytes() != path.read_bytes():
            found.add("/".join(path.relative_to(ROOT).parts[:4]))
    return sorted(one for one in found if (place / one).exists())


def run_what_is_left(place: Path, *tests: str, without: Sequence[str] = WHOLE) -> str:
    """Check the types of the copy, and run these tests but for some; return what fails."""
    faulthandler.cancel_dump_traceback_later()  # the limit of a test; each command has its own
    if (ROOT / CACHE).is_dir():
        shutil.copytree(ROOT / CACHE, place / CACHE)
    left_out = [f"--deselect=tests/unit/pancode/{name}" for name in without]
    types = run(place, "-m", "mypy", "pancode", "node_agent")
    return types or run(place, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", *left_out, *tests)


@pytest.mark.slow
@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature[0])
def test_what_is_left_passes_its_tests(tmp_path: Path, feature: Sequence[str]) -> None:
    """More than 30 s: it runs mypy and tests. A package that lost nothing is tested by the next test."""
    place = copy_without(tmp_path, feature)
    assert not run_what_is_left(place, *list_changed_tests(place))


@pytest.mark.slow
def test_without_all_of_them_the_rest_passes_its_tests(tmp_path: Path) -> None:
    """More than 30 s: it runs mypy and most unit tests."""
    place = copy_without(tmp_path, ALL)
    assert not run_what_is_left(place, "tests/unit/pancode", without=(*WHOLE, *MANY))
