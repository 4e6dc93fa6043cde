"""Decides which wide suites `make test` runs beside what it always runs: all that the change since
`make test-all` last passed concerns.

`python -m tests.lanes` prints them for pytest's `--wide`; `python -m tests.lanes passed` notes that all
passed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PASSED = ".ci/passed-all"
"""The commit that passed `make test-all` last; committed with the next change."""


@dataclass(frozen=True, slots=True)
class Suite:
    """Tests that `make test-all` always runs, and `make test` only when a change wakes them."""

    minutes: float
    """Of processor time: measured where it has a fraction, else estimated."""
    tests: tuple[str, ...]
    """How the ids of its tests begin."""
    always: str = "$^"
    """A pattern: those of its tests that `make test` runs all the same."""

    def has(self, nodeid: str) -> bool:
        return nodeid.startswith(self.tests)


WIDE = {
    "acts": Suite(
        3,
        ("tests/e2e/test_programs.py", "tests/e2e/test_claude.py"),
        r"tests/e2e/test_programs\.py::(test_an_act_.*(?<!forbidden)-(edit|401)\]|test_an_edit_)",
    ),
    "programs": Suite(
        5,
        (
            "tests/clis/test_acts.py",
            "tests/clis/test_asks.py",
            "tests/clis/test_below.py",
            "tests/clis/test_claude",
            "tests/clis/test_codex.py",
            "tests/clis/test_copilot.py",
            "tests/clis/test_gemini.py",
            "tests/clis/test_openai_agents.py",
            "tests/clis/test_opencode.py",
            "tests/clis/test_qwen.py",
            "tests/clis/test_reasoning.py",
            "tests/clis/test_skills.py",
            "tests/clis/test_talked.py",
        ),
    ),
    "asks": Suite(0.5, ("tests/e2e/test_people.py::test_a_command_waits_",), r".*\[(native|claude)\]"),
    "gateway": Suite(4, ("tests/clis/test_gateway.py", "tests/clis/test_subscription.py")),
    "matrix": Suite(8, ("tests/clis/test_matrix.py",)),
    "pythons": Suite(
        2,
        ("tests/e2e/test_pythons.py", "tests/integration/packaging/test_install.py::test_another_python"),
    ),
    "images": Suite(0.8, ("tests/integration/packaging/test_images.py",)),
    "installs": Suite(
        1.2,
        (
            "tests/integration/packaging/test_install.py",
            "tests/integration/packaging/test_bundle_again.py",
        ),
    ),
    "schedules": Suite(
        2.1,
        ("tests/simulation/test_schedules.py",),
        r"tests/simulation/test_schedules\.py::.*\[[1-3]?\d?\d\]",
    ),
    "kills": Suite(
        1.2,
        (
            "tests/e2e/test_fault_coordinator.py::test_killed_at_each_",
            "tests/e2e/test_fault_node_agent.py::test_killed_at_each_",
        ),
        r".*\[(exited-committed-gated|3|5)\]",
    ),
    "bring-up": Suite(
        0.8, ("tests/e2e/test_fault_up.py",), r"tests/e2e/test_fault_up\.py::.*\[(no sshd|asleep\+full)\]"
    ),
    "keys": Suite(1.7, ("tests/e2e/test_trust_host_key.py",)),
    "direct": Suite(1, ("tests/e2e/test_direct.py",)),
    "systemd": Suite(2, ("tests/e2e/test_systemd.py", "tests/e2e/test_service.py")),
    "redis": Suite(1, ("tests/e2e/test_fault_external_redis.py", "tests/e2e/test_redis_tls.py")),
    "postgresql": Suite(1, ("tests/e2e/test_ledger_postgres.py",)),
    "lab": Suite(1, ("tests/e2e/test_tidy.py", "tests/integration/test_lab.py")),
    "real-cut": Suite(1, ("tests/e2e/test_fault_real_cut.py",)),
    "mcp": Suite(0.7, ("tests/e2e/test_mcp.py::test_a_real_",), r".*\[claude\]"),
    "ansible": Suite(
        6,
        (
            "tests/e2e/test_ansible_coordinator.py",
            "tests/e2e/test_ansible_services.py",
            "tests/integration/test_ansible_collection.py::test_lint_",
        ),
    ),
}

ROWS: tuple[tuple[str, str], ...] = (
    # Patterns of paths, and the suites that a change of such a file wakes; the first row that fits counts.
    (
        "node_agent/runtimes/* node_agent/sdk/* node_agent/native/* node_agent/chat/*",
        "acts programs asks gateway matrix",
    ),
    ("node_agent/hooks/*", "asks programs"),
    ("node_agent/acp/*", "programs"),
    (
        "node_agent/machine/programs.py node_agent/runner/launching.py",
        "acts programs",
    ),
    ("node_agent/machine/discovery.py node_agent/cli/logging_in.py", "acts"),
    ("node_agent/gateway/*", "gateway acts"),
    ("node_agent/endpoints/* node_agent/passport/*", ""),
    ("node_agent/sandbox/* node_agent/policy/judging.py", "matrix"),
    ("node_agent/runner/scopes.py node_agent/cli/foreground.py node_agent/attempt/watch.py", "systemd"),
    ("node_agent/shim/* node_agent/runner/*", "acts systemd"),
    ("node_agent/link/direct.py node_agent/cli/reach.py", "direct"),
    ("node_agent/link/*", "redis direct real-cut"),
    (
        "node_agent/attempt/job.py node_agent/attempt/starting.py node_agent/attempt/working.py "
        "node_agent/attempt/finishing.py node_agent/attempt/context.py tests/simulation/*",
        "schedules kills",
    ),
    ("node_agent/journal/* node_agent/files/*", "kills"),
    ("node_agent/*", ""),
    ("pancode/store/* pancode/offline/stores.py", "postgresql kills"),
    ("pancode/fleet/bundle/*", "pythons installs bring-up"),
    ("pancode/fleet/ssh/unit.py", "systemd"),
    ("pancode/fleet/ssh/*", "bring-up real-cut keys"),
    ("pancode/fleet/direct/*", "direct"),
    ("pancode/bus/*", "redis"),
    ("pancode/systemd/* pancode/offline/units.py pancode/cli/fleet/serve.py", "systemd ansible"),
    (
        "pancode/agents/runtimes.py pancode/dispatch/admission/safety.py pancode/nodes/node.py",
        "matrix acts",
    ),
    ("pancode/control/keyring.py", "schedules kills keys"),
    ("pancode/control/* pancode/life/* pancode/runs/* pancode/dispatch/*", "schedules kills"),
    ("pancode/fleet/* pancode/workflow/* pancode/work/* pancode/code/landing/*", "schedules kills"),
    ("pancode/core/* pancode/nodes/* pancode/agents/* pancode/account/* pancode/config/*", ""),
    ("pancode/access/* pancode/code/* pancode/notices/* pancode/reports/* pancode/host/*", ""),
    ("pancode/wiring/founding.py pancode/wiring/reboot.py", "bring-up keys"),
    ("pancode/wiring/* pancode/api/* pancode/cli/*", ""),
    ("pancode/mcp/*", "mcp"),
    ("pancode/skills/*", "programs"),
    ("pancode/tui/*", ""),
    ("pancode/web/*", ""),
    ("pancode/offline/ansible_inventory.py", "ansible"),
    ("pancode/offline/evidence.*", "matrix"),
    ("pancode/offline/server/serve*.py pancode/offline/stores.py", "redis images"),
    ("pancode/offline/*", ""),
    ("pancode/start.py pancode/commit.py", "installs images"),
    ("pancode/*.py pancode/py.typed", ""),
    ("ansible/*", "ansible"),
    ("deploy/* docker-compose.yml", "images"),
    ("pyproject.toml .ci/commit_hook.py .ci/dist", "installs images"),
    ("requirements/node.txt", "pythons installs"),
    ("requirements/ansible.txt", "ansible"),
    ("requirements/claude-sdk.txt requirements/openai-agents.txt", "programs"),
    ("requirements/coordinator.txt requirements/dashboard.txt", "images"),
    ("requirements/* .ci/setup", "installs"),
    ("tests/fakemodel/* tests/clis/*", "acts programs gateway matrix"),
    ("tests/e2e/tidy.py tests/lab/*", "lab"),
    ("tests/stack/*", "images"),
    ("docs/* *.md LICENSE Makefile .gitignore .ci/* tests/*", ""),
)


def suites_of(path: str) -> frozenset[str] | None:
    """What a change of this file wakes; None where no row has it. A test of a wide suite wakes that suite."""
    own = {name for name, suite in WIDE.items() if suite.has(path)}
    if own:
        return frozenset(own)
    for paths, wakes in ROWS:
        if any(fnmatch(path, pattern) for pattern in paths.split()):
            return frozenset(wakes.split())
    return None


def woken(changed: Iterable[str] | None) -> frozenset[str]:
    """By these files; by all there are where nobody knows which have changed."""
    if changed is None:
        return frozenset(WIDE)
    return frozenset().union(*(suites_of(path) or frozenset() for path in changed))


def members(names: str) -> dict[str, Callable[[str], bool]]:
    """By the names of suites (with commas; all; none): what tells by a test's id that it belongs there."""
    chosen = WIDE if names == "all" else {n: WIDE[n] for n in names.split(",") if n != "none"}
    return {name: suite.has for name, suite in chosen.items()}


def left_out(nodeid: str, runs: Collection[str]) -> bool:
    """Whether this test belongs to a wide suite that is not among those that run."""
    for name, suite in WIDE.items():
        if suite.has(nodeid):
            return name not in runs and not re.match(suite.always, nodeid)
    return False


def changed() -> list[str] | None:
    """The files that differ from the commit that passed all; None where that is not known."""
    try:
        base = (ROOT / PASSED).read_text().strip()
    except FileNotFoundError:
        return None
    since, new = _git("diff", "--name-only", base, "--"), _git("ls-files", "--others", "--exclude-standard")
    return None if since is None or new is None else [*since, *new]


def _git(*words: str) -> list[str] | None:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else None


def _note_passed() -> None:
    """A commit is named, so what passed must be one."""
    head = _git("rev-parse", "HEAD")
    if head is None or _git("status", "--porcelain") != []:
        print(f"lanes: all passed, with changes that are not committed: {PASSED} stays as it is")
        return
    (ROOT / PASSED).write_text(f"{head[0]}\n")
    print(f"lanes: all passed; commit {PASSED} with your next change")


def _tell() -> None:
    seen = changed()
    want = sorted(woken(seen))
    why = f"by {len(seen)} changed files" if seen is not None else f"as {PASSED} names no commit that is here"
    print(f"lanes: wide suites woken {why}: {', '.join(want) or 'none'}", file=sys.stderr)
    print(",".join(want) or "none")


if __name__ == "__main__":
    _note_passed() if sys.argv[1:] == ["passed"] else _tell()
