"""Rules that watch the whole: what a module imports, how wide a folder is, that a name means one thing.

Each has a list of what does not hold yet. A list only shrinks: what is repaired leaves it in the same commit.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tests.architecture.house import room_of
from tests.architecture.sources import PACKAGES, ROOT, dotted, modules, tree, within

MOST_IMPORTS = 25
PUTS_TOGETHER = (
    "pancode/app/build.py",
    "pancode/app/coordinator.py",
    "pancode/app/http_routes.py",
    "pancode/app/parts.py",
    "node_agent/wiring.py",
)
"""Who knows everybody, so that nobody else has to."""
MOST_FILES = 40
EXCEPTIONS = Path(__file__).with_name("exceptions")


def exceptions(name: str) -> dict[str, int]:
    """What a list allows, by what it is about: `PATH NUMBER` on each line."""
    lines = (EXCEPTIONS / f"{name}.txt").read_text().splitlines()
    return {what: int(most) for what, most in (line.rsplit(maxsplit=1) for line in lines)}


def held(found: dict[str, int], name: str) -> None:
    """What is beyond the rule is in the list, by no more than it says; what is in order is not in it."""
    allowed, place = exceptions(name), f"tests/architecture/exceptions/{name}.txt"
    beyond = {what: count for what, count in found.items() if count > allowed.get(what, 0)}
    assert not beyond, f"beyond the rule, and by more than {place} allows: {beyond}"
    mended = sorted(set(allowed) - set(found))
    assert not mended, f"in order now, take it out of {place}: {mended}"


def ours(path: Path) -> set[str]:
    """The modules of ours that a file names when it is loaded or later, itself left out."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {_module(node.module, alias.name) for alias in node.names}
    return {name for name in found if within(name, *PACKAGES)} - {dotted(path)}


def _module(base: str, name: str) -> str:
    inner = ROOT / base.replace(".", "/") / name
    return f"{base}.{name}" if inner.is_dir() or inner.with_suffix(".py").is_file() else base


def test_a_module_knows_few_others() -> None:
    checked = [p for p in modules(*PACKAGES) if not p.as_posix().startswith(PUTS_TOGETHER)]
    # Types of answers have no behaviour, and a handler returns one of them in any case.
    known = {path: {name for name in ours(path) if not name.endswith(".answers")} for path in checked}
    counts = {path.as_posix(): len(names) for path, names in known.items()}
    held({path: count for path, count in counts.items() if count > MOST_IMPORTS}, "imports")


def test_a_folder_can_be_taken_in_at_a_glance() -> None:
    counts: dict[str, int] = defaultdict(int)
    for path in modules(*PACKAGES):
        counts[path.parent.as_posix()] += path.name != "__init__.py"
    held({folder: count for folder, count in counts.items() if count > MOST_FILES}, "folders")


def find_circle(known: Mapping[str, Iterable[str]]) -> list[str]:
    """Modules that import each other in a circle, the first one again at the end; empty if there is none."""
    try:
        TopologicalSorter(known).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions and under TYPE_CHECKING count, as they only hide a circle."""
    assert find_circle({dotted(path): ours(path) for path in modules(*PACKAGES)}) == []


def test_a_hidden_circle_is_found(tmp_path: Path) -> None:
    core, features = tmp_path / "core.py", tmp_path / "features.py"
    core.write_text("from pancode.runs import features\n")
    features.write_text(
        "if TYPE_CHECKING:\n    from pancode.runs.core import Core\n"
        "def late():\n    import pancode.app.build\n"
    )
    known = {f"pancode.runs.{path.stem}": ours(path) for path in (core, features)}
    assert known["pancode.runs.features"] == {"pancode.runs.core", "pancode.app.build"}
    assert set(find_circle(known)) == set(known)


EVERYWHERE = ("pancode/kernel", "pancode/runs", "node_agent/wire")
"""Rooms whose classes are the domain and the wire: each name there has its meaning in every room."""


def _abroad(path: Path) -> set[tuple[str, str]]:
    """The module and the name of each class that this file takes from another room."""
    found, named = set[tuple[str, str]](), dict[str, str]()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGES):
            for alias in node.names:
                found.add((node.module, alias.name))
                named[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.add((named.get(node.value.id, ""), node.attr))
    return {(module, name) for module, name in found if not _is_in_room(module, room_of(path))}


def _is_in_room(module: str, room: str) -> bool:
    return f"{module}.".startswith(f"{room.replace('/', '.')}.")


def test_a_name_means_one_thing() -> None:
    """In the domain, on the wire, and wherever another room knows the class; inside one room it is plain."""
    assert set(EVERYWHERE) <= {room_of(path) for path in modules(*PACKAGES)}
    abroad = {one for path in modules(*PACKAGES) for one in _abroad(path)}
    known, at_home = defaultdict[str, set[str]](set), defaultdict[tuple[str, str], int](int)
    for path in modules(*PACKAGES):
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                at_home[room_of(path), node.name] += 1
                if (dotted(path), node.name) in abroad or room_of(path) in EVERYWHERE:
                    known[node.name].add(path.as_posix())
    twice = {name: len(files) for name, files in known.items() if len(files) > 1}
    twice |= {name: count for (_, name), count in at_home.items() if count > 1}
    held(twice, "names")
