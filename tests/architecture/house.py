"""`python -m tests.architecture.house` measures the code: its size, its rooms, the way of one run through it.

A room is a folder or file right below `pancode/` or `node_agent/`. The run is dispatched in the simulation,
without faults: the real control plane and the real procedure of a node, in one process, over memory adapters.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any, cast

from pancode.domain.records import Run, RunState
from tests.architecture.sources import PACKAGES, ROOT, imports, modules, text, tree
from tests.fakes.node import Script
from tests.simulation import work
from tests.simulation.kinds import KINDS
from tests.simulation.world import World

FAKES = "memory"
ROWS_IN_BODY = (frozenset({"get", "find", "starting"}), frozenset({"put", "insert", "delete"}))
"""The names of reading and of writing in `pancode.ports.Transaction`."""
SEED, STEPS = 1, 200
ANSWER = b'{"answer": "did it", "in": 10, "out": 5, "usd": "0.01"}\n'


def lines(*under: str) -> int:
    """Of Python in these folders."""
    return sum(len(text(path).splitlines()) for path in modules(*under))


def widest() -> tuple[str, int]:
    """The folder of the product with the most Python files in it, and how many these are."""
    counted = Counter(path.parent.as_posix() for path in modules(*PACKAGES))
    return counted.most_common(1)[0]


def names_with_two_meanings() -> dict[str, list[str]]:
    """Public classes of the product by name, where two files or more define one."""
    found: dict[str, list[str]] = {}
    for path in modules(*PACKAGES):
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(path.as_posix())
    return {name: places for name, places in sorted(found.items()) if len(set(places)) > 1}


def imports_of_ours() -> dict[str, int]:
    """How many modules of the product each of its modules names."""
    ours = {".".join(path.with_suffix("").parts) for path in modules(*PACKAGES)}
    return {path.as_posix(): len({name for _, name in imports(path)} & ours) for path in modules(*PACKAGES)}


def bodies_that_read_and_write() -> list[str]:
    """Functions of the control plane that read rows and write rows in one body, but for those that apply.

    `work.py` and `rows.py` are there to write; the others load, let the domain decide, and call them.
    """
    found = []
    for path in modules("pancode/control"):
        if path.name not in ("work.py", "rows.py"):
            functions = [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef)]
            found += [
                f"{path}:{one.name}" for one in functions if all(_calls(one, part) for part in ROWS_IN_BODY)
            ]
    return found


def _calls(function: ast.FunctionDef, names: frozenset[str]) -> bool:
    """Whether it calls one of these of something that is named `tx`."""
    called = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
    return any(
        isinstance(one, ast.Attribute) and one.attr in names and _last_name(one.value) == "tx"
        for one in called
    )


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def room(path: str) -> str:
    return "/".join(Path(path).with_suffix("").parts[:2])


def traced_run() -> list[str]:
    """The product's files that one run goes through, in the order in which each is entered first."""
    world = World(SEED, KINDS["calm"])
    world.quiet_enemy = True
    world.begin()
    with _entered() as files:
        _dispatch(world)
        for _ in range(STEPS):
            world.step(1_000)
            if _over(world):
                return list(files)
    raise RuntimeError("the traced run does not end")


def room_changes(files: Iterable[str]) -> int:
    rooms = [room(path) for path in files]
    return sum(one != other for one, other in zip(rooms, rooms[1:], strict=False))


def _dispatch(world: World) -> None:
    """A run with a workspace whose agent answers at once."""
    plane = world.coordinator.awake
    assert plane is not None
    first = SimpleNamespace(random=lambda: 0.1, choice=lambda options: options[0], randint=lambda low, _: low)
    world.random, before = cast(Any, first), world.random
    run = work.a_run(world, "r-traced")
    world.random = before
    for machine in world.machines:
        machine.scripts[run.id] = Script(duration_ms=100, output=ANSWER, kind="change")
    plane.runs.enqueue(run)


@contextmanager
def _entered() -> Iterator[dict[str, None]]:
    """Collects the files whose functions are called while this is open."""
    files: dict[str, None] = {}
    own = tuple(f"{ROOT}/{name}/" for name in PACKAGES)

    def seen(frame: FrameType, event: str, _: Any) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(own) and frame.f_code.co_name != "<module>":
            path = name.removeprefix(f"{ROOT}/")
            if FAKES not in path:
                files.setdefault(path)

    sys.setprofile(seen)
    try:
        yield files
    finally:
        sys.setprofile(None)


def _over(world: World) -> bool:
    with world.coordinator.seen() as tx:
        return all(run.state is RunState.ENDED for run in tx.find(Run))


ROWS: tuple[tuple[str, Callable[[], object]], ...] = (
    ("lines of the product", lambda: f"{lines(*PACKAGES):,}"),
    ("lines of tests", lambda: f"{lines('tests'):,}"),
    ("files of the product", lambda: len(modules(*PACKAGES))),
    ("widest folder", lambda: "{}: {}".format(*widest())),
    ("public class names with two meanings", lambda: len(names_with_two_meanings())),
    ("modules with more than 15 imports of ours", lambda: sum(n > 15 for n in imports_of_ours().values())),
    ("functions that read and write rows in one body", lambda: len(bodies_that_read_and_write())),
    ("files that one run enters", lambda: len(traced_run())),
    ("changes of room on the way", lambda: room_changes(traced_run())),
)


def main() -> None:
    for what, measured in ROWS:
        sys.stdout.write(f"| {what} | {measured()} |\n")
    if sys.argv[1:] == ["bodies"]:
        sys.stdout.write("\n".join([*bodies_that_read_and_write(), ""]))
    if sys.argv[1:] == ["path"]:
        last = ""
        for path in traced_run():
            sys.stdout.write(f"{'' if room(path) == last else room(path) + chr(10)}  {path}\n")
            last = room(path)


if __name__ == "__main__":
    main()
