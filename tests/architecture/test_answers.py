"""Routes and the clients that ask them have the same types of answers, and those types are light to load."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

from pancode.app.http_routes import VERBS
from pancode.kernel.declared import find_sources
from pancode.kernel.route import Route
from tests.architecture.sources import ROOT, dotted, modules, text, tree

ANSWERS = [dotted(path) for path in modules("pancode") if path.name == "answers.py"]
LIGHT = {
    *(f"pancode.kernel.{name}" for name in ("declared", "errors", "formatting", "names", "route")),
    "pancode.runs.project_rules",
}
PROBE = "import json, sys, {0}; print(json.dumps(sorted(sys.modules)))"
LEDGER = ROOT / "tests/architecture/exceptions/untyped.txt"
"""By room: routes that a client writes as text, and objects of JSON whose keys have no types."""

CLIENTS = ("acp", "cli", "client", "mcp", "tui")


def routes() -> dict[str, Route[Any]]:
    """The constants of all subjects, by module and name."""
    known = {module: vars(import_module(module)) for module in ANSWERS}
    return {
        f"{module}.{name}": one
        for module, names in known.items()
        for name, one in names.items()
        if isinstance(one, Route)
    }


def typed(route: Route[Any], module: str) -> Any:
    """The type of its answer."""
    hint = vars(route)["__orig_class__"].__args__[0]
    return get_type_hints(type("Of", (), {"__annotations__": {"it": hint}, "__module__": module}))["it"]


def test_types_of_answers_are_light() -> None:
    """A command that only shows an answer loads them: no model, no database, no other module of a subject."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(", ".join(ANSWERS))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    others = {name for name in loaded - set(sys.stdlib_module_names) if "." not in name.strip("_")}
    assert others & {"pydantic", "sqlalchemy", "starlette", "httpx", "asyncio", "rich"} == set()
    ours = {name for name in loaded if name.startswith("pancode.")} - {*ANSWERS, *LIGHT}
    files = {name for name in ours if (ROOT / name.replace(".", "/")).with_suffix(".py").is_file()}
    assert not files, f"types of answers load {sorted(files)}"


def test_a_handler_returns_what_its_route_promises() -> None:
    wrong = {
        verb.name: (typed(verb.name, verb.answer.__module__), verb.answers)
        for verb in VERBS
        if isinstance(verb.name, Route) and typed(verb.name, verb.answer.__module__) != verb.answers
    }
    assert not wrong


def test_every_constant_is_a_route_of_the_api() -> None:
    """A second constant of a route has one of the types that the route answers with."""
    known = {str(verb.name): verb for verb in VERBS}
    for name, route in routes().items():
        assert str(route) in known, f"{name}: no handler answers {route}"
        promised = known[str(route)].answers
        kind = typed(route, name.rpartition(".")[0])
        arms = get_args(promised) if isinstance(promised, UnionType) else ()
        assert kind == promised or kind in arms, f"{name}: {kind} is not {promised}"


def rooms() -> dict[str, list[Path]]:
    """The modules that are clients of the API: commands by subject, and the faces."""
    found: dict[str, list[Path]] = {}
    for path in modules("pancode"):
        _, room, *inner = path.with_suffix("").parts
        if room == "interfaces" and inner[0] in CLIENTS:
            found.setdefault(f"{room}/{inner[0]}", []).append(path)
        elif "commands" in inner:
            found.setdefault(f"{room}/commands", []).append(path)
    return found


def untyped(path: Path) -> Counter[str]:
    """How many routes are written as text, and how many objects have keys without types."""
    found, nodes = Counter[str](), list(ast.walk(tree(path)))
    alias = {
        name for node in nodes if isinstance(node, ast.Assign) for name in map(ast.unparse, node.targets)
    }
    for node in nodes:
        words = ast.unparse(node) if isinstance(node, ast.Subscript | ast.Name) else ""
        path_of = isinstance(node, ast.Call) and ast.unparse(node.func) == "path_of"
        as_text = isinstance(node, ast.Constant) and str(node.value).startswith("/v1/")
        found["routes"] += path_of or as_text
        found["objects"] += words in ("dict[str, Any]", "Mapping[str, Any]", "Columns")
        found["objects"] += words == "Json" in alias
    return found


def test_no_client_has_more_that_no_type_checker_sees() -> None:
    found = {
        room: tuple(sum(untyped(path)[what] for path in paths) for what in ("routes", "objects"))
        for room, paths in rooms().items()
    }
    rows = [line.split() for line in LEDGER.read_text(encoding="utf-8").splitlines()]
    most = {room: (int(routes), int(objects)) for room, routes, objects in rows}
    told = "\n".join(f"{room} {counts[0]} {counts[1]}" for room, counts in sorted(found.items()))
    more = {r: n for r, n in found.items() if any(a > b for a, b in zip(n, most.get(r, (0, 0)), strict=True))}
    assert not more, f"ask with a constant of answers.py, and name the type of its answer: {more}"
    assert found == most, f"well done: write these numbers into {LEDGER.name}:\n{told}"


def test_an_answer_from_a_row_has_each_key() -> None:
    """`make_answer` takes keys by name, which the type checker does not see: a renamed field fails here."""
    checked = 0
    for path in (one for one in modules("pancode") if "make_answer(" in text(one)):
        for one in (each for each in ast.walk(tree(path)) if isinstance(each, ast.FunctionDef)):
            rows = {each.arg: ast.unparse(each.annotation) for each in one.args.args if each.annotation}
            for call in (each for each in ast.walk(one) if isinstance(each, ast.Call)):
                if ast.unparse(call.func) != "make_answer" or ast.unparse(call.args[1]) not in rows:
                    continue
                names = vars(import_module(dotted(path)))
                kind = eval(ast.unparse(call.args[0]), names)
                row = eval(rows[ast.unparse(call.args[1])], names)
                given = {word.arg for word in call.keywords}
                known = {*dir(row), *getattr(row, "model_fields", ())}
                lacks = [
                    key
                    for key, (name, _) in find_sources(kind, row).items()
                    if not {key, name} & (given | known)
                ]
                assert not lacks and given <= set(kind.__annotations__), f"{path}: {kind.__name__}: {lacks}"
                checked += 1
    assert checked > 15
