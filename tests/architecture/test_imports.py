"""Holds each room to what it may name in an import; import-linter checks the same through chains."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.architecture.sources import ROOT, dotted, imports, modules, within

EFFECTS = (
    "redis rq asyncssh httpx psutil click rich sqlalchemy alembic starlette uvicorn yaml "
    "subprocess socket asyncio"
).split()
WIRE = "node_agent/wire"
PURE = ("pancode/domain", "pancode/ports.py", "pancode/control", WIRE)
NODE_PURE = ("node_agent/accept.py", "node_agent/marks.py", "node_agent/job.py", "node_agent/ports.py")
RUNTIMES = "node_agent/runtimes"
GATES = "pancode/domain/admission"
THIRD_PARTY_OF_WIRE = ("pydantic", "cryptography")


def _named(path: Path, *roots: str) -> list[str]:
    return [f"{path}:{line} imports {name}" for line, name in imports(path) if within(name, *roots)]


def _present(*places: str) -> list[Path]:
    return modules(*[p for p in places if (ROOT / p).exists()])


def test_the_node_agent_knows_nothing_of_pancode() -> None:
    assert not [hit for path in modules("node_agent") for hit in _named(path, "pancode")]


def test_pancode_knows_only_the_wire_of_the_node_agent() -> None:
    strays = [
        f"{path}:{line} imports {name}"
        for path in modules("pancode")
        for line, name in imports(path)
        if within(name, "node_agent") and name != "node_agent" and not within(name, "node_agent.wire")
    ]
    assert not strays


def test_pure_rooms_name_no_effect() -> None:
    assert not [hit for path in _present(*PURE, *NODE_PURE) for hit in _named(path, *EFFECTS)]


def test_pure_rooms_do_not_sleep() -> None:
    assert not [hit for path in _present(*PURE, *NODE_PURE, RUNTIMES) for hit in _named(path, "time.sleep")]


def test_the_wire_needs_two_packages_and_the_standard_library() -> None:
    allowed = {*sys.stdlib_module_names, *THIRD_PARTY_OF_WIRE}
    for path in modules(WIRE):
        for line, name in imports(path):
            ours = within(name, "node_agent.wire") or name == "node_agent"
            assert ours or name.split(".")[0] in allowed, f"{path}:{line} imports {name}"


def test_adapters_and_control_do_not_meet() -> None:
    hits = [hit for path in _present("pancode/adapters") for hit in _named(path, "pancode.control")]
    hits += [hit for path in _present("pancode/control") for hit in _named(path, "pancode.adapters")]
    assert not hits


def test_runtimes_know_the_standard_library_the_wire_and_their_base() -> None:
    for path in _present(RUNTIMES):
        here = dotted(path)
        for line, name in imports(path):
            top = name.split(".")[0]
            if top in sys.stdlib_module_names or within(name, "node_agent.wire") or name == "node_agent":
                continue
            own = ".".join(here.split(".")[:3])
            base = within(name, "node_agent.runtimes.base") or name == "node_agent.runtimes"
            registry = here == "node_agent.runtimes.registry" and within(name, "node_agent.runtimes")
            assert base or registry or within(name, own), f"{path}:{line} imports {name}"


def test_gates_do_not_know_each_other() -> None:
    for path in _present(GATES):
        if path.name in {"__init__.py", "gate.py"}:
            continue
        others = [
            f"{path}:{line} imports {name}"
            for line, name in imports(path)
            if within(name, "pancode.domain.admission")
            and name != "pancode.domain.admission"
            and not within(name, "pancode.domain.admission.gate", dotted(path))
        ]
        assert not others


def test_no_mocking_library() -> None:
    places = modules("pancode", "node_agent", "tests")
    assert not [hit for path in places for hit in _named(path, "unittest.mock", "mock", "pytest_mock")]
