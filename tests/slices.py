"""Decides which tests that `make test` leaves out have been unproven for longest, and runs them.

Every such test is in one slice. `.ci/proven/NAME` keeps the digest of the files that its tests reach, and the
commit at which they passed. A digest only puts the slices in order: most of them reach most of the product.
`python -m tests.slices` lists the slices, the stalest first. `... run` runs all that have another digest now,
`... run --minutes 30` the stalest that fit in that time, and `... run NAME...` the named ones.
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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from tests.architecture.sources import ROOT, imports, tree
from tests.journeys import JOURNEYS, NOT_SET_UP, SEEDS, SEEDS_OF, chosen, longer

PROVEN = ".ci/proven"
ALWAYS = frozenset({"pyproject.toml", "requirements/lock.txt"})
"""What every digest has in it."""
SCHEDULES = "tests/simulation/test_schedules.py::test_every_invariant_holds["
COUNT = (("PANCODE_SIM_COUNT", "1040"),)
CHOOSING = frozenset(
    f"tests/{name}" for name in "slices.py journeys.py run.py together.py longer.txt".split()
)
"""They name tests and need none; what they choose for a slice is in its digest."""
WHOLE = {
    "pancode/__main__.py": ("pancode/", "node_agent/"),
    "node_agent/__main__.py": ("node_agent/",),
    "node_agent/runner/runner.py": ("node_agent/shim/", "node_agent/files/"),
    "node_agent/runtimes/registry.py": tuple(
        f"node_agent/{program}/" for program in "native sdk acp hooks gateway chat wire".split()
    ),
    "ansible/galaxy.yml": ("ansible/",),
}
"""Programs that are started as processes: who reaches the file that begins one reaches all of it. A
coordinator sends the node agent to its machines."""
_NAME = re.compile(r"\.?\w[\w.-]*(/[\w.-]+)*")


@dataclass(frozen=True, slots=True)
class Slice:
    tests: tuple[str, ...]
    """How the ids of its tests begin. The first slice that has a test runs it."""
    environ: tuple[tuple[str, str], ...] = ()
    programs: bool = False
    """Whether all agent programs are installed before its first test."""


def _e2e(names: str) -> tuple[str, ...]:
    return tuple(f"tests/e2e/test_{name}" for name in names.split())


SLICES = {
    "simulation": Slice((SCHEDULES,), COUNT),
    "simulation-more": Slice(("tests/simulation/",), COUNT),
    "matrix": Slice(("tests/clis/test_matrix.py",), programs=True),
    "gateway": Slice(("tests/clis/test_gateway.py", "tests/clis/test_subscription.py"), programs=True),
    "programs-that-talk": Slice(
        tuple(f"tests/clis/test_{name}" for name in "talked asks below claude codex hooks skills".split()),
        programs=True,
    ),
    "programs": Slice(("tests/clis/",), programs=True),
    "programs-on-hosts": Slice(
        _e2e("programs.py claude.py skills_of_runs.py mcp.py::test_a_real_"), programs=True
    ),
    "installs": Slice((*_e2e("pythons.py from_wheel.py"), "tests/integration/packaging/")),
    "systemd": Slice((*_e2e("systemd.py service.py"), "tests/integration/systemd/")),
    "ansible-services": Slice(_e2e("ansible_coordinator.py ansible_services.py")),
    "ansible": Slice(("tests/e2e/test_ansible", "tests/integration/test_ansible_")),
    "stores": Slice(
        (
            *_e2e("ledger_postgres.py fault_external_redis.py redis_tls.py"),
            *(f"tests/integration/{name}/" for name in ("store", "redis")),
            "tests/contract/",
        )
    ),
    "links": Slice(
        (
            *_e2e("link_ fault_real_cut.py fault_up.py lab_fixture.py tidy.py"),
            *(f"tests/integration/{name}" for name in ("ssh/", "test_lab.py")),
        )
    ),
    "faults-of-fleets": Slice(_e2e("drill fault_fleets fault_sessions fault_silence fault_node night")),
    "faults": Slice(_e2e("fault_")),
    "trust": Slice(_e2e("trust_ sandbox.py leave_nothing.py")),
    "people": Slice(_e2e("people.py acp.py editors.py"), programs=True),
    "talks": Slice(_e2e("sessions.py chat panos.py first_minute.py history.py"), programs=True),
    "language-model": Slice(_e2e("small_model.py")),
    "console": Slice(_e2e("web top.py")),
    "pages": Slice(_e2e("docs.py::test_a_page_for_one_machine")),
    "documents": Slice(_e2e("docs.py demo.py way.py")),
    "machines": Slice(
        _e2e(
            "copied_home endpoints engines events fleet_runs from_laptop gpus health installs login logs "
            "retention skills time where"
        )
    ),
    "work": Slice(("tests/e2e/",)),
    "git": Slice(("tests/integration/git/", "tests/integration/forge/")),
    "node": Slice(
        tuple(
            f"tests/integration/{name}/"
            for name in "node native sdk passport gateway endpoints sandbox".split()
        )
        + ("tests/integration/test_",)
    ),
    "coordinator": Slice(("tests/integration/",)),
    "unit": Slice(("tests/unit/",)),
    "rules": Slice(("tests/architecture/",)),
}


def slice_of(nodeid: str) -> str | None:
    """The slice that runs this test; None where `make test` does."""
    if chosen(nodeid):
        return None
    return next(name for name, one in SLICES.items() if nodeid.startswith(one.tests))


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout


@cache
def _committed() -> dict[str, str]:
    """The files of this checkout with what git keeps of their content."""
    lines = _git("ls-files", "-s").splitlines()
    return {path: kept for kept, _, path in (line.partition("\t") for line in lines)}


def _left_out(path: str) -> bool:
    """Whether this file has a test that `make test` does not run."""
    if path.startswith(("tests/e2e/", "tests/clis/", "tests/simulation/")) or NOT_SET_UP.search(path):
        return True
    return any(name.startswith(f"{path}::") for name in longer())


@cache
def _tests_of(one: Slice) -> frozenset[str]:
    """The files that have its tests."""
    found = set[str]()
    for path in _committed():
        if not path.startswith("tests/") or not path.rpartition("/")[2].startswith("test_"):
            continue
        first = next((each for each in SLICES.values() if path.startswith(each.tests)), None)
        named = any(test.partition("::")[0] == path for test in one.tests)
        if (first is one or named) and _left_out(path):
            found.add(path)
    return frozenset(found)


@cache
def _below() -> dict[str, frozenset[str]]:
    """The files of each folder, of those below it too."""
    found: dict[str, set[str]] = {}
    for path in _committed():
        for folder in Path(path).parents:
            found.setdefault(folder.as_posix(), set()).add(path)
    return {folder: frozenset(files) for folder, files in found.items()}


@cache
def named(path: str) -> frozenset[str]:
    """The files that this one imports, starts (where it is a test's), or names by path or folder."""
    folder, is_test = Path(path).parent, path.startswith("tests/")
    modules = {module for _, module in imports(Path(path))}
    files = set[str]()
    for node in ast.walk(tree(Path(path))):
        match node:
            case ast.List(elts=words) | ast.Tuple(elts=words) | ast.Call(args=words) if is_test:
                said = [word.value if isinstance(word, ast.Constant) else None for word in words]
                modules |= {f"{name!s}.__main__" for option, name in pairwise(said) if option == "-m"}
            case ast.BinOp(op=ast.Div(), right=ast.Constant(value=str(text))):
                files |= _data(text) | _data(f"{folder}/{text}")
            case ast.Constant(value=str(text)) if _NAME.fullmatch(text):
                modules |= {text} if "." in text else set()
                files |= {text, f"{folder}/{text}", *_ending(text)}
                files |= {"pancode/__main__.py"} if is_test and text.endswith("bin/pancode") else set()
    names = {module.removesuffix(".__main__").replace(".", "/") for module in modules}
    begun = {f"{module.replace('.', '/')}.py" for module in modules}
    files |= begun | {f"{name}{end}" for name in names for end in (".py", "/__init__.py")}
    return frozenset(files & _committed().keys() - CHOOSING)


def _data(folder: str) -> frozenset[str]:
    return frozenset(path for path in _below().get(folder, ()) if not path.endswith(".py"))


def _ending(name: str) -> Iterable[str]:
    """What is named by the end of its path."""
    return [path for path in _committed() if path.endswith(f"/{name}")] if re.search(r"/.*\.", name) else []


def reached(begin: Iterable[str]) -> frozenset[str]:
    """The files that these reach: by what they import and name, with the whole of each program they start."""
    found, open_ = set[str](), set(begin)
    while open_:
        path = open_.pop()
        found.add(path)
        more = {other for folder in WHOLE.get(path, ()) for other in _below()[folder.rstrip("/")]}
        open_ |= (more | named(path) if path.endswith(".py") else more) - found
    return frozenset(found)


@cache
def _depends(one: Slice) -> frozenset[str]:
    tests = _tests_of(one)
    conftests = {f"{folder}/conftest.py" for path in tests for folder in Path(path).parents}
    return reached(tests | (conftests & _committed().keys())) | ALWAYS


def digest(one: Slice) -> str:
    """Of the committed content of all files that its tests reach, and of which of their tests it has."""
    lines = [f"{_committed()[path]} {path}" for path in sorted(_depends(one))]
    tests = tuple(f"{path}::" for path in _tests_of(one))
    lines += sorted(name for name in (*longer(), *JOURNEYS) if name.startswith(tests))
    lines += [*one.tests, *map(str, one.environ), str((SEEDS, SEEDS_OF))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def proof(name: str) -> list[str]:
    """The digest, commit, minutes and date of the last proof; an empty list where there is none."""
    path = ROOT / PROVEN / name
    return path.read_text().split() if path.exists() else []


def age(name: str) -> int:
    """Commits since its last proof: 0 where it is proven for these files, all of them where it never was."""
    last = proof(name)
    if last[:1] == [digest(SLICES[name])]:
        return 0
    argv = ["git", "cat-file", "-e", last[1] if last else ""]
    is_known = subprocess.run(argv, cwd=ROOT, capture_output=True).returncode == 0
    since = f"{last[1]}..HEAD" if is_known else "HEAD"
    return max(1, int(_git("rev-list", "--count", since)))


def stalest(minutes: float | None = None) -> list[str]:
    """Slices that are not proven for these files, the stalest first; as many as fit in these minutes."""
    ages = {name: age(name) for name in SLICES}
    names = sorted((name for name in SLICES if ages[name]), key=lambda name: -ages[name])
    if minutes is None:
        return names
    fit: list[str] = []
    for name in names:
        takes = float(proof(name)[2]) if proof(name) else 0
        if takes <= minutes:
            fit.append(name)
            minutes -= takes
    return fit


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
    if name == "language-model":
        subprocess.run([".ci/setup", "model"], cwd=ROOT, check=True)
    if SLICES[name].programs:
        subprocess.run([sys.executable, "-m", "tests.clis.install"], cwd=ROOT, check=True)


def _note(name: str, was: str, minutes: float) -> None:
    if _git("status", "--porcelain", "--", ".", ":!.ci"):
        print(f"slices: {name} passed with changes that are not committed, so it is not noted as proven")
        return
    head = _git("rev-parse", "--short", "HEAD").strip()
    (ROOT / PROVEN).mkdir(exist_ok=True)
    today = datetime.datetime.now(datetime.UTC).date()
    (ROOT / PROVEN / name).write_text(f"{was} {head} {minutes:.1f} {today}\n")
    print(f"slices: {name} is proven; commit {PROVEN}/{name} with your next change")


def _list() -> None:
    stale = stalest()
    for name in (*stale, *(name for name in SLICES if name not in stale)):
        last = proof(name)
        state = "proven" if name not in stale else f"{age(name)} commits old" if last else "never proven"
        minutes = f"{last[2]} minutes" if last else "-"
        print(f"{name:18} {minutes:13} {state:18} reaches {len(_depends(SLICES[name]))} files")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.slices")
    parser.add_argument("act", nargs="?", choices=("list", "run"), default="list")
    parser.add_argument(
        "names", nargs="*", help="all that are not proven, the stalest first, if none is named"
    )
    parser.add_argument("--minutes", type=float, help="of the stalest, only those that fit in this time")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in SLICES]
    if unknown:
        parser.error(f"no slice {', '.join(unknown)}; there are {', '.join(SLICES)}")
    if given.act == "list":
        _list()
        return 0
    return run(given.names or stalest(given.minutes))


if __name__ == "__main__":
    raise SystemExit(main())
