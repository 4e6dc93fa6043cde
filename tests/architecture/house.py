"""`python -m tests.architecture.house` measures the code as text: its size, its modules, its functions.

`python -m tests.architecture.way` measures how far real work goes through it.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median

from tests.architecture.sources import PACKAGES, functions, imports, modules, text, tree

ROWS_IN_BODY = (frozenset({"get", "find", "starting"}), frozenset({"put", "insert", "delete"}))
"""The names of reading and of writing in `pancode.kernel.ports.Transaction`."""

WRITERS = ("unit_of_work.py", "store.py", "step_store.py", "row_updates.py", "row_cache.py")
"""The names of files whose functions read and write rows in one body."""


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

    The unit of work and the stores are there to write; the others load, decide, and call them.
    """
    found = []
    for path in modules("pancode"):
        if path.name not in WRITERS and path.parts[1] != "store":
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


def room_of(path: Path) -> str:
    """The first two folders; of a file beside the rooms its package."""
    return "/".join(path.parts[: 2 if len(path.parts) > 2 else 1])


def called_once() -> Counter[str]:
    """By room: private functions and methods whose name is used at exactly one place."""
    found = Counter[str]()
    for path in modules(*PACKAGES):
        uses = Counter[str]()
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Name):
                uses[node.id] += 1
            elif isinstance(node, ast.Attribute):
                uses[node.attr] += 1
        names = [one.name for one in functions(path)]
        private = (name for name in names if name.startswith("_") and not name.startswith("__"))
        found[room_of(path)] += sum(uses[name] == 1 for name in private)
    return found


def splats() -> Counter[str]:
    """By room: calls that spread a tuple or dict which is written out in the same function, and parameters
    `*x: Any`: both hide arguments from the type checker."""
    found = Counter[str]()
    for path in modules(*PACKAGES):
        for function in functions(path):
            inside = list(ast.walk(function))
            local = {
                target.id
                for one in inside
                if isinstance(one, ast.Assign) and isinstance(one.value, ast.Tuple | ast.Dict)
                for target in one.targets
                if isinstance(target, ast.Name)
            }
            calls = [one for one in inside if isinstance(one, ast.Call)]
            spread = [arg.value for call in calls for arg in call.args if isinstance(arg, ast.Starred)]
            spread += [word.value for call in calls for word in call.keywords if word.arg is None]
            found[room_of(path)] += sum(isinstance(one, ast.Name) and one.id in local for one in spread)
            rest = function.args.vararg
            kind = rest.annotation if rest is not None else None
            found[room_of(path)] += isinstance(kind, ast.Name) and kind.id == "Any"
    return found


def functions_that_pass_on() -> list[str]:
    """Functions whose whole body is one call that takes just their own arguments."""
    found = []
    for path in modules(*PACKAGES):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _passes_on(node):
                found.append(f"{path}:{node.name}")
    return found


def _passes_on(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    body = [
        one
        for one in function.body
        if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
    ]
    if len(body) != 1 or not isinstance(body[0], ast.Return | ast.Expr):
        return False
    call = body[0].value
    call = call.value if isinstance(call, ast.Await) else call
    own = function.args
    names = {one.arg for one in (*own.posonlyargs, *own.args, *own.kwonlyargs)} - {"self", "cls"}
    if not isinstance(call, ast.Call) or not names:
        return False
    given = [*call.args, *(one.value for one in call.keywords)]
    return bool(given) and all(isinstance(one, ast.Name) and one.id in names for one in given)


def modules_with_one_importer() -> list[str]:
    """They may belong into the module that imports them."""
    importers = Counter[str]()
    ours = {".".join(path.with_suffix("").parts): path.as_posix() for path in modules(*PACKAGES)}
    for path in modules(*PACKAGES):
        importers.update({name for _, name in imports(path)} & set(ours))
    return sorted(ours[name] for name, count in importers.items() if count == 1)


def median_lines() -> int:
    return int(median(len(text(path).splitlines()) for path in modules(*PACKAGES)))


ROWS: tuple[tuple[str, Callable[[], object]], ...] = (
    ("lines of the product", lambda: f"{lines(*PACKAGES):,}"),
    ("lines of tests", lambda: f"{lines('tests'):,}"),
    ("files of the product", lambda: len(modules(*PACKAGES))),
    ("lines of the median module", median_lines),
    ("modules with one importer", lambda: len(modules_with_one_importer())),
    ("functions", lambda: sum(len(functions(path)) for path in modules(*PACKAGES))),
    ("private functions called once", lambda: called_once().total()),
    ("arguments that are spread past the type checker", lambda: splats().total()),
    ("functions that only pass on", lambda: len(functions_that_pass_on())),
    ("widest folder", lambda: "{}: {}".format(*widest())),
    ("public class names with two meanings", lambda: len(names_with_two_meanings())),
    ("modules with more than 15 imports of ours", lambda: sum(n > 15 for n in imports_of_ours().values())),
    ("functions that read and write rows in one body", lambda: len(bodies_that_read_and_write())),
)


def main() -> None:
    for what, measured in ROWS:
        sys.stdout.write(f"| {what} | {measured()} |\n")
    if sys.argv[1:] == ["bodies"]:
        sys.stdout.write("\n".join([*bodies_that_read_and_write(), ""]))


if __name__ == "__main__":
    main()
