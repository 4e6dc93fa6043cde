"""Holds each room to what it may name in an import; import-linter checks the same through chains."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from tests.architecture.sources import PACKAGES, ROOT, dotted, imports, modules, within

WIRE = "node_agent/wire"
RUNTIMES = "node_agent/runtimes"
SHARED = ("node_agent.wire", "node_agent.policy")
GATES = "pancode/runs/admission/gates"
THIRD_PARTY_OF_WIRE = {"pydantic", "pydantic_core", "cryptography"}  # pydantic is made of two packages
CALLED = ("commands", "routes")
CHANNELS = ("interfaces/client/remote/tunnel", "app/server/api_stdio")
BESIDE = {
    "pancode.fleet": ("ssh", "bundle", "systemd", "login", "units", *CALLED),
    "pancode.landing": ("git", *CALLED),
    "pancode.notices": ("delivery", *CALLED),
}
LOADED_LATE = {
    "node_agent/policy/patterns.py": ("re2",),
    "node_agent/policy/commands/tree.py": ("tree_sitter", "tree_sitter_bash"),
}
"""What reads other users' expressions and scripts; loaded with the first of them, never before."""


def _named(path: Path, *roots: str) -> list[str]:
    return [f"{path}:{line} imports {name}" for line, name in imports(path) if within(name, *roots)]


def _pure_contract() -> tuple[list[Path], list[str]]:
    """The files of the rooms that reach no effect, and the effects: one list, in pyproject.toml."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = [c for c in settings["contracts"] if c["id"] == "pure-rooms"]
    rooms = {name.replace("*", top) for name in contract["source_modules"] for top in PACKAGES}
    places = [room.replace(".", "/") for room in sorted(rooms)]
    files = modules(*[place if (ROOT / place).is_dir() else f"{place}.py" for place in places])
    return files, contract["forbidden_modules"]


def test_the_node_agent_knows_nothing_of_pancode() -> None:
    assert not [hit for path in modules("node_agent") for hit in _named(path, "pancode")]


def test_pancode_knows_only_the_wire_of_the_node_agent() -> None:
    """Exceptions: the runtimes' own parsers (ADR 32) and the names of the values that log one in, RQ's
    classes as both ends use them (ADR 40), and the channels over a pair of pipes (ADR 90).
    """
    runtimes = ("pancode/conversation/stream.py", "pancode/fleet/commands/nodes.py")
    known = dict.fromkeys(runtimes, (*SHARED, "node_agent.runtimes"))
    bus = modules("pancode/queue")
    known |= {str(path): (*SHARED, "node_agent.link.rqjson") for path in bus}
    known |= {f"pancode/{name}.py": (*SHARED, "node_agent.link.channels") for name in CHANNELS}
    strays = [
        f"{path}:{line} imports {name}"
        for path in modules("pancode")
        for line, name in imports(path)
        if within(name, "node_agent")
        and name != "node_agent"
        and not within(name, *known.get(str(path), SHARED))
    ]
    assert not strays


def test_routes_call_use_cases_and_open_no_transaction() -> None:
    # It calls routes on behalf of runs, and handles no request.
    caller = Path("pancode/sessions/routes/fleet_tools.py")
    found = [path for path in modules("pancode") if "routes" in path.with_suffix("").parts]
    routes = [path for path in found if path != caller]
    assert caller in found
    frames = [path for path in modules("pancode/interfaces/http") if "access" not in path.parts]
    handlers = [*routes, *frames, *modules("pancode/app/http_routes.py")]
    assert len(routes) > 20, "it finds them"
    strays = [hit for path in handlers for hit in _named(path, "pancode.runs.unit_of_work")]
    strays += [str(path) for path in handlers if ".transaction(" in path.read_text()]
    assert not strays


def test_pure_rooms_name_no_effect() -> None:
    files, effects = _pure_contract()
    assert files and not [hit for path in files for hit in _named(path, *effects)]


def test_pure_rooms_do_not_sleep() -> None:
    files = [*_pure_contract()[0], *modules(RUNTIMES)]
    assert not [hit for path in files for hit in _named(path, "time.sleep")]


def test_the_wire_needs_two_packages_and_the_standard_library_but_where_rules_are_read() -> None:
    for path in modules(WIRE):
        allowed = {*sys.stdlib_module_names, *THIRD_PARTY_OF_WIRE, *LOADED_LATE.get(str(path), ())}
        for line, name in imports(path):
            ours = within(name, "node_agent.wire") or name == "node_agent"
            assert ours or name.split(".")[0] in allowed, f"{path}:{line} imports {name}"


def test_what_a_subject_decides_names_no_effect_and_no_technology_beside_it() -> None:
    """Rooms with effects have them in folders that are named after the technology."""
    _, effects = _pure_contract()
    for room, technologies in BESIDE.items():
        theirs = [f"{room}.{technology}" for technology in technologies]
        own = [path for path in modules(room.replace(".", "/")) if not within(dotted(path), *theirs)]
        assert own and not [hit for path in own for hit in _named(path, *effects, *theirs)]


def test_runtimes_know_what_is_shared_and_not_each_other() -> None:
    """The plain files beside the folders are shared; registry, jobs, transcript see all."""
    shared = {dotted(path) for path in modules(RUNTIMES) if path.parent == Path(RUNTIMES)}
    shared -= {"node_agent.runtimes", "node_agent.runtimes.registry"}
    for path in modules(RUNTIMES):
        if dotted(path).split(".")[2:] in (["registry"], ["jobs"], ["transcript"]):
            continue
        own = ".".join(dotted(path).split(".")[:3])
        for line, name in imports(path):
            free = name.split(".")[0] in sys.stdlib_module_names or name in {
                "node_agent",
                "node_agent.runtimes",
            }
            known = free or within(name, *SHARED, own, *shared)
            assert known, f"{path}:{line} imports {name}"


def test_gates_do_not_know_each_other() -> None:
    for path in modules(GATES):
        if path.name == "__init__.py":
            continue
        others = [
            f"{path}:{line} imports {name}"
            for line, name in imports(path)
            if within(name, "pancode.runs.admission.gates")
            and name != "pancode.runs.admission.gates"
            and not within(name, dotted(path))
        ]
        assert not others


def test_no_mocking_library() -> None:
    places = modules("pancode", "node_agent", "tests")
    assert not [hit for path in places for hit in _named(path, "unittest.mock", "mock", "pytest_mock")]
