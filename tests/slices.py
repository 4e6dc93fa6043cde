"""Decides which tests that `make test` leaves out are proven for these files, and runs those that are not.

Every such test is in one slice. A slice is proven for the digest of the files that it depends on, which
`.ci/proven/NAME` keeps. `python -m tests.slices` lists the slices, `... run` runs those that are not proven,
one after the other, and `... run NAME...` runs the named ones.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from tests.journeys import chosen

ROOT = Path(__file__).resolve().parents[1]
PROVEN = ".ci/proven"
NEVER = ".ci/* *.md docs/* LICENSE .gitignore"
"""What no digest has in it."""
PRODUCT = "pancode/* node_agent/* pyproject.toml"
FACES = "pancode/tui/* pancode/web/* pancode/mcp/* pancode/acp/* pancode/cli/* ansible/* deploy/*"
CORE = (
    "pancode/control/* pancode/core/* pancode/life/* pancode/runs/* pancode/dispatch/* pancode/fleet/* "
    "pancode/workflow/* pancode/work/* pancode/sessions/* pancode/store/* "
    "node_agent/attempt/* node_agent/journal/*"
)
WORKERS = " ".join(f"node_agent/{room}/*" for room in "runtimes sdk native chat hooks acp".split())


@dataclass(frozen=True, slots=True)
class Slice:
    tests: tuple[str, ...]
    """How the ids of its tests begin. The first slice that has a test runs it."""
    paths: str = PRODUCT
    """Patterns of the files that it depends on, beside its own tests and what helps them."""
    but: str = FACES
    """Patterns of files that it does not depend on all the same."""
    environ: tuple[tuple[str, str], ...] = ()
    programs: bool = False
    """Whether all agent programs are installed before its first test."""


SLICES = {
    "simulation": Slice(("tests/simulation/",), CORE, "", (("PANCODE_SIM_COUNT", "1040"),)),
    "matrix": Slice(
        ("tests/clis/test_matrix.py",),
        f"{WORKERS} node_agent/sandbox/* node_agent/policy/* pancode/agents/* pancode/offline/evidence.*",
        programs=True,
    ),
    "gateway": Slice(
        ("tests/clis/test_gateway.py", "tests/clis/test_subscription.py"),
        f"{WORKERS} node_agent/gateway/*",
        programs=True,
    ),
    "programs": Slice(
        ("tests/clis/",),
        f"{WORKERS} node_agent/machine/* node_agent/runner/* pancode/skills/* requirements/*",
        programs=True,
    ),
    "programs-on-hosts": Slice(
        (
            "tests/e2e/test_programs.py",
            "tests/e2e/test_claude.py",
            "tests/e2e/test_skills_of_runs.py",
            "tests/e2e/test_mcp.py::test_a_real_",
        ),
        f"{WORKERS} node_agent/machine/* node_agent/gateway/* node_agent/shim/* node_agent/runner/* "
        "pancode/mcp/*",
        "",
        programs=True,
    ),
    "installs": Slice(
        ("tests/e2e/test_pythons.py", "tests/e2e/test_from_wheel.py", "tests/integration/packaging/"),
        "pancode/fleet/bundle/* pancode/start.py pancode/commit.py pancode/store/* pyproject.toml "
        "deploy/* docker-compose.yml requirements/* tests/stack/*",
        "",
    ),
    "systemd": Slice(
        ("tests/e2e/test_systemd.py", "tests/e2e/test_service.py", "tests/integration/systemd/"),
        "node_agent/runner/* node_agent/shim/* node_agent/cli/* "
        "pancode/systemd/* pancode/offline/* pancode/fleet/ssh/*",
        "",
    ),
    "ansible": Slice(
        ("tests/e2e/test_ansible", "tests/integration/test_ansible_"),
        "ansible/* requirements/ansible.txt pancode/systemd/* pancode/offline/* pancode/fleet/* "
        "pancode/cli/fleet/*",
        "",
    ),
    "stores": Slice(
        (
            "tests/e2e/test_ledger_postgres.py",
            "tests/e2e/test_fault_external_redis.py",
            "tests/e2e/test_redis_tls.py",
            "tests/integration/store/",
            "tests/integration/redis/",
            "tests/contract/",
        ),
        "pancode/store/* pancode/bus/* pancode/core/* pancode/offline/* node_agent/link/* node_agent/wire/*",
    ),
    "links": Slice(
        (
            "tests/e2e/test_link_",
            "tests/e2e/test_direct.py",
            "tests/e2e/test_fault_real_cut.py",
            "tests/e2e/test_fault_up.py",
            "tests/e2e/test_lab_fixture.py",
            "tests/e2e/test_tidy.py",
            "tests/integration/ssh/",
            "tests/integration/direct/",
            "tests/integration/test_lab.py",
        ),
        "pancode/fleet/* pancode/wiring/* node_agent/link/* node_agent/agent/* tests/lab/*",
    ),
    "faults": Slice(("tests/e2e/test_fault_", "tests/e2e/test_night.py")),
    "trust": Slice(("tests/e2e/test_trust_", "tests/e2e/test_sandbox.py", "tests/e2e/test_leave_nothing.py")),
    "talks": Slice(
        (
            "tests/e2e/test_sessions.py",
            "tests/e2e/test_chat",
            "tests/e2e/test_people.py",
            "tests/e2e/test_acp.py",
            "tests/e2e/test_editors.py",
            "tests/e2e/test_panos.py",
            "tests/e2e/test_first_minute.py",
            "tests/e2e/test_history.py",
        ),
        PRODUCT,
        "pancode/web/* ansible/* deploy/*",
        programs=True,
    ),
    "console": Slice(("tests/e2e/test_web", "tests/e2e/test_top.py"), PRODUCT, "ansible/* deploy/*"),
    "documents": Slice(
        ("tests/e2e/test_docs.py", "tests/e2e/test_demo.py", "tests/e2e/test_way.py"), PRODUCT, ""
    ),
    "work": Slice(("tests/e2e/",), PRODUCT, "pancode/tui/* pancode/web/* ansible/* deploy/*"),
    "git": Slice(
        ("tests/integration/git/", "tests/integration/forge/"),
        "pancode/code/* node_agent/workspace/* node_agent/files/*",
    ),
    "node": Slice(
        tuple(
            f"tests/integration/{name}/"
            for name in "node native sdk passport gateway endpoints sandbox".split()
        )
        + ("tests/integration/test_",),
        "node_agent/*",
    ),
    "coordinator": Slice(("tests/integration/",), PRODUCT, "ansible/* deploy/* pancode/web/*"),
    "unit": Slice(("tests/unit/",)),
    "rules": Slice(
        ("tests/architecture/",),
        "pyproject.toml requirements/* tests/run.py tests/conftest.py tests/together.py",
        "",
    ),
}


def slice_of(nodeid: str) -> str | None:
    """The slice that runs this test; None where `make test` does."""
    if chosen(nodeid):
        return None
    return next(name for name, one in SLICES.items() if nodeid.startswith(one.tests))


def _fits(path: str, patterns: str) -> bool:
    return any(fnmatch(path, pattern) for pattern in patterns.split())


def depends(one: Slice, path: str) -> bool:
    """Whether a change of this file asks for a new proof of the slice."""
    if _fits(path, NEVER):
        return False
    if path.startswith("tests/"):
        if path.rpartition("/")[2].startswith("test_"):
            first = next((each for each in SLICES.values() if path.startswith(each.tests)), None)
            return first is one or any(test.partition("::")[0] == path for test in one.tests)
        kinds = tuple("/".join(test.split("/")[:2]) + "/" for test in one.tests)
        return path.startswith(kinds) or _fits(path, one.paths)
    return _fits(path, one.paths) and not _fits(path, one.but)


def digest(one: Slice) -> str:
    """Of the names and the committed content of all files that it depends on."""
    said = subprocess.run(["git", "ls-files", "-s"], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [line for line in said.stdout.splitlines() if depends(one, line.partition("\t")[2])]
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
    if name in ("ansible", "installs"):
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
