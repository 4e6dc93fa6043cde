"""Decides which tests that `make test` leaves out are proven for these files, and runs those that are not.

Every such test is in one slice. A slice is proven for the digest of the files that it depends on, which
`.ci/proven/NAME` keeps: its tests, what these import of `tests`, and the rooms of the product in its row.
`python -m tests.slices` lists the slices, `... run` runs those that are not proven, one after the other, and
`... run NAME...` runs the named ones.
"""

from __future__ import annotations

import argparse
import ast
import datetime
import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from tests.journeys import JOURNEYS, NOT_SET_UP, SEEDS, SEEDS_OF_SESSIONS, chosen, longer

ROOT = Path(__file__).resolve().parents[1]
PROVEN = ".ci/proven"
ALWAYS = "pyproject.toml requirements/lock.txt"
"""What every digest has in it."""
NEVER = "*.md docs/* LICENSE .gitignore"
"""What no digest has in it: documents; skills and code in `docs` are none."""
SHIPPED = "pancode/*.md docs/*.py"
PRODUCT = "pancode/* node_agent/*"
SCREENS = (
    "pancode/interfaces/tui/* pancode/interfaces/web/* pancode/interfaces/mcp/* pancode/interfaces/acp/* "
    "ansible/* deploy/*"
)
FACES = f"{SCREENS} pancode/interfaces/cli/* pancode/*/commands/* pancode/*/commands.py"
CORE = (
    "pancode/kernel/* pancode/runs/* pancode/fleet/* pancode/workflows/* pancode/people/* "
    "pancode/schedules/* pancode/sessions/* pancode/workspaces/* pancode/memory/* pancode/store/* "
    "node_agent/attempt/* node_agent/journal/*"
)
WORKERS = " ".join(f"node_agent/{room}/*" for room in "runtimes sdk native chat hooks acp".split())
PROGRAMS = f"{WORKERS} node_agent/machine/* node_agent/runner/* pancode/skills/* requirements/*"
SSH = "pancode/fleet/* pancode/app/*"
SCHEDULES = "tests/simulation/test_schedules.py::test_every_invariant_holds["
COUNT = (("PANCODE_SIM_COUNT", "1040"),)
CHOOSING = frozenset({"tests/slices.py", "tests/journeys.py", "tests/run.py"})
"""They name tests and need none; what they choose for a slice is in its digest."""
_MODULE = re.compile(r"tests(\.\w+)+|tests(/\w+)+\.py")


@dataclass(frozen=True, slots=True)
class Slice:
    tests: tuple[str, ...]
    """How the ids of its tests begin. The first slice that has a test runs it."""
    paths: str = PRODUCT
    """Patterns of the files that it depends on, beside its own tests and what these import of `tests`."""
    but: str = FACES
    """Patterns of files that it does not depend on all the same."""
    environ: tuple[tuple[str, str], ...] = ()
    programs: bool = False
    """Whether all agent programs are installed before its first test."""


def _e2e(names: str) -> tuple[str, ...]:
    return tuple(f"tests/e2e/test_{name}" for name in names.split())


SLICES = {
    "simulation": Slice((SCHEDULES,), CORE, FACES, COUNT),
    "simulation-more": Slice(("tests/simulation/",), CORE, FACES, COUNT),
    "matrix": Slice(
        ("tests/clis/test_matrix.py",),
        f"{WORKERS} node_agent/sandbox/* node_agent/policy/* pancode/agents/*",
        programs=True,
    ),
    "gateway": Slice(
        ("tests/clis/test_gateway.py", "tests/clis/test_subscription.py"),
        f"{WORKERS} node_agent/gateway/*",
        programs=True,
    ),
    "programs-that-talk": Slice(
        tuple(f"tests/clis/test_{name}" for name in "talked asks below claude codex hooks skills".split()),
        PROGRAMS,
        programs=True,
    ),
    "programs": Slice(("tests/clis/",), PROGRAMS, programs=True),
    "programs-on-hosts": Slice(
        _e2e("programs.py claude.py skills_of_runs.py mcp.py::test_a_real_"),
        f"{WORKERS} node_agent/machine/* node_agent/gateway/* node_agent/shim/* node_agent/runner/* "
        "pancode/interfaces/mcp/* pancode/app/fleet_tools.py",
        "",
        programs=True,
    ),
    "installs": Slice(
        (*_e2e("pythons.py from_wheel.py"), "tests/integration/packaging/"),
        "pancode/fleet/bundle/* pancode/commit.py pancode/store/* "
        "deploy/* docker-compose.yml requirements/* tests/stack/* .ci/dist",
        "",
    ),
    "systemd": Slice(
        (*_e2e("systemd.py service.py"), "tests/integration/systemd/"),
        "node_agent/runner/* node_agent/shim/* node_agent/cli/* "
        "pancode/fleet/systemd/* pancode/fleet/ssh/* pancode/app/*",
        "",
    ),
    "ansible-services": Slice(
        _e2e("ansible_coordinator.py ansible_services.py"),
        f"ansible/* requirements/* .ci/dist {SSH}",
        "",
    ),
    "ansible": Slice(
        ("tests/e2e/test_ansible", "tests/integration/test_ansible_"),
        f"ansible/* requirements/* {SSH}",
        "",
    ),
    "stores": Slice(
        (
            *_e2e("ledger_postgres.py fault_external_redis.py redis_tls.py"),
            *(f"tests/integration/{name}/" for name in ("store", "redis")),
            "tests/contract/",
        ),
        "pancode/store/* pancode/queue/* pancode/kernel/* pancode/app/* node_agent/link/* node_agent/wire/*",
    ),
    "links": Slice(
        (
            *_e2e("link_ direct.py fault_real_cut.py fault_up.py lab_fixture.py tidy.py"),
            *(f"tests/integration/{name}" for name in ("ssh/", "direct/", "test_lab.py")),
        ),
        "pancode/fleet/* pancode/app/* node_agent/link/* node_agent/agent/*",
    ),
    "faults-of-fleets": Slice(
        _e2e("fault_fleets fault_sessions fault_silence fault_node night"), PRODUCT, SCREENS
    ),
    "faults": Slice(_e2e("fault_"), PRODUCT, SCREENS),
    "trust": Slice(_e2e("trust_ sandbox.py leave_nothing.py"), PRODUCT, SCREENS),
    "people": Slice(
        _e2e("people.py acp.py editors.py"),
        PRODUCT,
        "pancode/interfaces/web/* ansible/* deploy/*",
        programs=True,
    ),
    "talks": Slice(
        _e2e("sessions.py chat panos.py first_minute.py history.py"),
        PRODUCT,
        "pancode/interfaces/web/* ansible/* deploy/*",
        programs=True,
    ),
    "console": Slice(_e2e("web top.py"), PRODUCT, "ansible/* deploy/*"),
    "pages": Slice(_e2e("docs.py::test_a_page_for_one_machine"), f"{PRODUCT} docs/*.py", ""),
    "documents": Slice(_e2e("docs.py demo.py way.py"), f"{PRODUCT} docs/*.py", ""),
    "machines": Slice(
        _e2e(
            "copied_home endpoints engines events fleet_runs from_laptop gpus health installs login logs "
            "retention skills time where"
        ),
        PRODUCT,
        "pancode/interfaces/tui/* pancode/interfaces/web/* ansible/* deploy/*",
    ),
    "work": Slice(
        ("tests/e2e/",), PRODUCT, "pancode/interfaces/tui/* pancode/interfaces/web/* ansible/* deploy/*"
    ),
    "git": Slice(
        ("tests/integration/git/", "tests/integration/forge/"),
        "pancode/git/* pancode/landing/* pancode/issues/* pancode/checkouts/* "
        "node_agent/workspace/* node_agent/files/*",
    ),
    "node": Slice(
        tuple(
            f"tests/integration/{name}/"
            for name in "node native sdk passport gateway endpoints sandbox".split()
        )
        + ("tests/integration/test_",),
        "node_agent/*",
    ),
    "coordinator": Slice(("tests/integration/",), PRODUCT, "ansible/* deploy/* pancode/interfaces/web/*"),
    "unit": Slice(("tests/unit/",), PRODUCT, ""),
    "rules": Slice(("tests/architecture/",), "requirements/* docs/*.py tests/run.py tests/together.py", ""),
}


def slice_of(nodeid: str) -> str | None:
    """The slice that runs this test; None where `make test` does."""
    if chosen(nodeid):
        return None
    return next(name for name, one in SLICES.items() if nodeid.startswith(one.tests))


def _fits(path: str, patterns: str) -> bool:
    return any(fnmatch(path, pattern) for pattern in patterns.split())


@cache
def _committed() -> dict[str, str]:
    """The files of this checkout with what git keeps of their content."""
    said = subprocess.run(["git", "ls-files", "-s"], cwd=ROOT, capture_output=True, text=True, check=True)
    return {path: kept for kept, _, path in (line.partition("\t") for line in said.stdout.splitlines())}


def _is_test(path: str) -> bool:
    return path.startswith("tests/") and path.rpartition("/")[2].startswith("test_")


def _left_out(path: str) -> bool:
    """Whether this file has a test that `make test` does not run."""
    if path.startswith(("tests/e2e/", "tests/clis/", "tests/simulation/")) or NOT_SET_UP.search(path):
        return True
    return any(name.startswith(f"{path}::") for name in longer())


@cache
def _tests_of(one: Slice) -> frozenset[str]:
    """The files that have its tests."""
    found = set[str]()
    for path in filter(_is_test, _committed()):
        first = next(each for each in SLICES.values() if path.startswith(each.tests))
        named = any(test.partition("::")[0] == path for test in one.tests)
        if (first is one or named) and _left_out(path):
            found.add(path)
    return frozenset(found)


@cache
def _names(path: str) -> frozenset[str]:
    """The files of `tests` that this one imports, or names in a string as a module or by its path."""
    if path in CHOOSING:
        return frozenset()
    named = set[str]()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        match node:
            case ast.Import():
                named |= {alias.name for alias in node.names}
            case ast.ImportFrom(module=str(module)):
                inside = {f"{module}.{alias.name}" for alias in node.names}
                named |= {name if _is_module(name) else module for name in inside}
            case ast.Constant(value=str(text)) if _MODULE.fullmatch(text):
                named.add(text.removesuffix(".py").replace("/", "."))
    whole = {name.replace(".", "/") for name in named if name.startswith("tests.")}
    return frozenset(
        other
        for other in _helpers()
        if other.removesuffix(".py") in whole or other.rpartition("/")[0] in whole
    )


def _is_module(name: str) -> bool:
    return f"{name.replace('.', '/')}.py" in _committed()


@cache
def _helpers() -> frozenset[str]:
    names = {path for path in _committed() if path.startswith("tests/") and path.endswith(".py")}
    return frozenset(path for path in names - CHOOSING if not _is_test(path))


@cache
def _by_path() -> frozenset[str]:
    """Helpers that no other file names: somebody starts them by a path that is put together."""
    all_ = {path for path in _committed() if path.startswith("tests/") and path.endswith(".py")}
    named = {name for path in all_ for name in _names(path)}
    return frozenset(path for path in _helpers() - named if not path.endswith("conftest.py"))


@cache
def _needs(tests: frozenset[str]) -> frozenset[str]:
    """The files of `tests` that these need: what they import, data beside that, and what starts by path."""
    found, open_ = set[str](), set(tests)
    for path in tests:
        folders = path.split("/")[:-1]
        open_ |= {"/".join([*folders[:end], "conftest.py"]) for end in range(1, len(folders) + 1)}
    open_ &= set(_committed())
    while open_:
        path = open_.pop()
        found.add(path)
        if path.endswith(".py"):
            open_ |= _names(path) - found
    kinds = tuple({"/".join(path.split("/")[:2]) + "/" for path in found if path.count("/") > 1})
    beside = {path for path in _committed() if path.startswith(kinds) and not path.endswith(".py")}
    return frozenset(found | beside | {path for path in _by_path() if path.startswith(kinds)})


def depends(one: Slice, path: str) -> bool:
    """Whether a change of this file asks for a new proof of the slice."""
    if _fits(path, ALWAYS):
        return True
    if path.startswith("tests/"):
        return path in _needs(_tests_of(one)) or _fits(path, one.paths)
    if _fits(path, NEVER) and not _fits(path, SHIPPED):
        return False
    return _fits(path, one.paths) and not _fits(path, one.but)


def digest(one: Slice) -> str:
    """Of the committed content of all files that it depends on, and of which of their tests it has."""
    lines = [f"{kept} {path}" for path, kept in _committed().items() if depends(one, path)]
    tests = tuple(f"{path}::" for path in _tests_of(one))
    lines += sorted(name for name in (*longer(), *JOURNEYS) if name.startswith(tests))
    lines += [*one.tests, *map(str, one.environ), str((SEEDS, SEEDS_OF_SESSIONS))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def proof(name: str) -> list[str]:
    """The digest, commit, minutes and date of the last proof; an empty list where there is none."""
    path = ROOT / PROVEN / name
    return path.read_text().split() if path.exists() else []


def is_proven(name: str) -> bool:
    return proof(name)[:1] == [digest(SLICES[name])]


def places(one: Slice) -> list[str]:
    """The folders and files that have its tests, as far as they are there."""
    begins = {test.partition("::")[0] for test in one.tests}
    found = {
        path
        for begin in begins
        for path in ROOT.glob(begin if begin.endswith((".py", "/")) else f"{begin}*.py")
    }
    return sorted(str(path.relative_to(ROOT)) for path in found)


def run(names: Sequence[str]) -> int:
    """The first exit status that is not 0; each slice that is green is noted before the next begins."""
    worst = 0
    for name in names:
        one = SLICES[name]
        words = f"--slice {name} -n 2 --dist loadfile --no-loadscope-reorder {' '.join(places(one))}"
        print(f"== slice {name}", flush=True)
        _bring(name)
        began, was = time.monotonic(), digest(one)
        argv = [sys.executable, "-m", "tests.run", "--whole", "--minutes", "30", words]
        status = subprocess.run(
            argv, cwd=ROOT, env={**os.environ, **dict(one.environ)}, check=False
        ).returncode
        if status == 0:
            _note(name, was, (time.monotonic() - began) / 60)
        worst = worst or status
    return worst


def _bring(name: str) -> None:
    """What its tests need beside the set-up of `make test`, before the first of them."""
    subprocess.run([".ci/system", name], cwd=ROOT, check=True)
    if name.startswith(("ansible", "installs")):
        subprocess.run([".ci/setup", "ansible"], cwd=ROOT, check=True)
    if SLICES[name].programs:
        subprocess.run([sys.executable, "-m", "tests.clis.install"], cwd=ROOT, check=True)


def _note(name: str, was: str, minutes: float) -> None:
    dirty = subprocess.run(
        ["git", "status", "--porcelain", "--", ".", ":!.ci"], cwd=ROOT, capture_output=True, text=True
    )
    if dirty.stdout:
        print(f"slices: {name} passed with changes that are not committed, so it is not noted as proven")
        return
    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    (ROOT / PROVEN).mkdir(exist_ok=True)
    today = datetime.datetime.now(datetime.UTC).date()
    (ROOT / PROVEN / name).write_text(f"{was} {head} {minutes:.1f} {today}\n")
    print(f"slices: {name} is proven; commit {PROVEN}/{name} with your next change")


def _list() -> None:
    for name, one in SLICES.items():
        last = proof(name)
        state = (
            "proven" if last and is_proven(name) else f"was proven at {last[1]}" if last else "never proven"
        )
        minutes = f"{last[2]} minutes" if last else "-"
        print(f"{name:18} {minutes:13} {state:26} {' '.join(one.paths.split()[:4])} ...")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.slices")
    parser.add_argument("act", nargs="?", choices=("list", "run"), default="list")
    parser.add_argument("names", nargs="*", help="all that are not proven, where none is named")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in SLICES]
    if unknown:
        parser.error(f"no slice {', '.join(unknown)}; there are {', '.join(SLICES)}")
    if given.act == "list":
        _list()
        return 0
    return run(given.names or [name for name in SLICES if not is_proven(name)])


if __name__ == "__main__":
    raise SystemExit(main())
