"""Each path that a prompt of ours names is a file that a landing asks about before it changes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from node_agent.policy.deciding import why_always
from tests.architecture.sources import ROOT

MAKE_PROMPTS = (
    *("pancode/agents/prompts.py", "pancode/issues/model.py", "pancode/issues/plans.py"),
    *("pancode/issues/prd.py", "pancode/kernel/names.py", "pancode/landing/service.py"),
    *("pancode/runs/whole_changes.py", "pancode/memory/service.py", "pancode/memory/scout_rules.py"),
    *(
        "pancode/workflows/step_work.py",
        "pancode/runs/admission/given_changes.py",
        "node_agent/runtimes/jobs.py",
    ),
)
"""The modules with words for agents; the shipped prompts and workflows are whole files of such words."""
_PATH = re.compile(r"[A-Za-z0-9_.{}*/-]*\w\.(?:md|diff|txt|ya?ml|json)\b|\.pancode/[\w/.-]+")
WRITTEN = {
    "verdict.json": "a step writes it, and the engine reads it",
    "README.md": "only where nobody named a PRD",
}
PLACES = {
    "docs/x-plan.md": "pancode/kernel/names.py",
    "docs/PRD.md": "pancode/kernel/names.py",
    "AGENTS.md": "node_agent/runtimes/jobs.py",
    ".pancode/inputs/build.diff": "pancode/workflows/files/shipped/code-review.yaml",
}
"""Where some paths are named."""


def _texts(file: Path) -> Iterator[str]:
    """The texts of a module, `x` in place of each value that is no constant; docstrings are left out."""
    tree = ast.parse(file.read_text())
    known = {
        ast.unparse(node.targets[0]): node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inner = {id(v) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for v in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(v.value) if isinstance(v, ast.Constant) else str(known.get(ast.unparse(v)[1:-1], "x"))
                for v in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs | inner:
            yield node.value


def _prompts() -> Iterator[tuple[str, str]]:
    for name in MAKE_PROMPTS:
        yield from ((name, text) for text in _texts(ROOT / name))
    shipped = [*(ROOT / "pancode").rglob("prompts/**/*.md"), *(ROOT / "pancode").rglob("shipped/*.yaml")]
    yield from ((str(file.relative_to(ROOT)), file.read_text()) for file in shipped)


def test_each_path_that_a_prompt_names_is_asked_about() -> None:
    named = {(path, where) for where, text in _prompts() for path in _PATH.findall(text)}
    assert PLACES.items() <= named, "it looks there"
    left = {one for one in named if not why_always(one[0]) and one[0] not in WRITTEN}
    assert left == set(), "name it in node_agent/policy/deciding.py"
