"""Proposes a repository's pancode.yaml from the names and contents of its files (no I/O)."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

LOOKED_AT = (
    *("pyproject.toml", "uv.lock", "poetry.lock", "requirements.txt", "requirements-dev.txt", "setup.py"),
    *("tox.ini", "pytest.ini", "conftest.py"),
    *("package.json", "package-lock.json", "pnpm-lock.yaml", "yarn.lock", "bun.lock", "bun.lockb"),
    *("Cargo.toml", "go.mod", "Makefile"),
)
"""Files at the root of a repository that are considered; of lock files only the existence counts."""
READ = ("pyproject.toml", "requirements.txt", "requirements-dev.txt", "tox.ini", "package.json", "Makefile")
_TARGET = re.compile(r"^(check|test):", re.MULTILINE)
_NO_TEST = "no test specified"
_EXTRAS = ("dev", "test", "tests", "testing")
_NODE = (
    ("pnpm-lock.yaml", "pnpm install --frozen-lockfile", "pnpm"),
    ("yarn.lock", "yarn install --frozen-lockfile", "yarn"),
    ("bun.lock", "bun install --frozen-lockfile", "bun"),
    ("bun.lockb", "bun install --frozen-lockfile", "bun"),
    ("package-lock.json", "npm ci", "npm"),
    ("package.json", "npm install", "npm"),
)


@dataclass(frozen=True, slots=True)
class Proposal:
    """Proposed settings: commands as shell words, folders by name; `seen`: the files that led to them."""

    setup: tuple[str, ...] = ()
    cache: tuple[str, ...] = ()
    verify: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.setup or self.cache or self.verify)

    def together(self, other: Proposal) -> Proposal:
        return Proposal(
            self.setup + other.setup,
            self.cache + other.cache,
            self.verify + other.verify,
            self.seen + other.seen,
        )

    def text(self) -> str:
        """Return the proposal as the text of the file."""
        lines = [f"# Proposed by `pancode init` from {', '.join(self.seen)}; review it before you commit it."]
        for key, about in _ABOUT.items():
            values: tuple[str, ...] = getattr(self, key)
            lines += [f"{key}:  # {about}", *(f"  - {json.dumps(one)}" for one in values)] if values else []
        return "\n".join(lines) + "\n"


_ABOUT = {
    "setup": "runs in a fresh checkout on the node before the agent, without the agent's rights",
    "cache": "folders that setup creates, kept for the next run with the same setup",
    "verify": "gates: each must exit 0 after the agent",
}


def propose_settings(files: Mapping[str, str]) -> Proposal:
    """Propose settings from the existing files of LOOKED_AT (name to content); empty if no file helps."""
    found = Proposal()
    for kind in (_propose_python, _propose_node, _propose_rust, _propose_go):
        found = found.together(kind(files))
    return found if found.verify else found.together(_make(files))


def _propose_python(files: Mapping[str, str]) -> Proposal:
    try:
        project = tomllib.loads(files.get("pyproject.toml", ""))
    except tomllib.TOMLDecodeError:
        project = {}
    seen = tuple(name for name in LOOKED_AT[:6] if name in files)
    names = {"pytest.ini", "conftest.py"} & set(files)
    tested = bool(names) or any("pytest" in files.get(name, "") for name in READ[:4])
    if "uv.lock" in files:
        return Proposal(("uv sync --frozen",), (".venv",), ("uv run pytest -q",) * tested, seen)
    if "poetry.lock" in files:
        make = ("poetry config virtualenvs.in-project true --local", "poetry install")
        return Proposal(make, (".venv",), ("poetry run pytest -q",) * tested, seen)
    installs = [f"-r {name}" for name in ("requirements.txt", "requirements-dev.txt") if name in files]
    if "project" in project or "setup.py" in files:
        declared = project.get("project", {})
        extras = declared.get("optional-dependencies", {}) if isinstance(declared, dict) else {}
        extra = next((name for name in _EXTRAS if isinstance(extras, dict) and name in extras), None)
        installs.append(f"-e .[{extra}]" if extra else "-e .")
    if not installs:
        return Proposal()
    setup = ("python3 -m venv .venv", *(f".venv/bin/pip install {what}" for what in installs))
    return Proposal(setup, (".venv",), (".venv/bin/python -m pytest -q",) * tested, seen)


def _propose_node(files: Mapping[str, str]) -> Proposal:
    if "package.json" not in files:
        return Proposal()
    try:
        package = json.loads(files["package.json"])
    except ValueError:
        return Proposal()
    scripts = package.get("scripts") if isinstance(package, dict) else None
    scripts = scripts if isinstance(scripts, dict) else {}
    lock, install, program = next(row for row in _NODE if row[0] in files)
    verify = [f"{program} run {name}" for name in ("lint", "test") if _is_script(scripts.get(name))]
    seen = ("package.json",) if lock == "package.json" else ("package.json", lock)
    return Proposal((install,), ("node_modules",), tuple(verify), seen)


def _is_script(text: object) -> bool:
    return isinstance(text, str) and bool(text.strip()) and _NO_TEST not in text


def _propose_rust(files: Mapping[str, str]) -> Proposal:
    if "Cargo.toml" not in files:
        return Proposal()
    return Proposal(("cargo fetch",), ("target",), ("cargo test",), ("Cargo.toml",))


def _propose_go(files: Mapping[str, str]) -> Proposal:
    return (
        Proposal(("go mod download",), (), ("go test ./...",), ("go.mod",))
        if "go.mod" in files
        else Proposal()
    )


def _make(files: Mapping[str, str]) -> Proposal:
    targets = _TARGET.findall(files.get("Makefile", ""))
    if not targets:
        return Proposal()
    return Proposal((), (), (f"make {'test' if 'test' in targets else 'check'}",), ("Makefile",))
