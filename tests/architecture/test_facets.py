"""Facets of a run: only they read its column `terms`, and each key has one."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

from tests.architecture.sources import dotted, facets, modules, tree

OTHERS = [path for path in modules("pancode") if dotted(path) != "pancode.kernel.rows"]


def test_each_key_has_one_facet_and_a_default() -> None:
    keys = Counter[str]()
    for path, facet in facets("pancode"):
        declared = [one for one in facet.body if isinstance(one, ast.AnnAssign)]
        keys.update(ast.unparse(one.target) for one in declared)
        assert all(one.value is not None for one in declared), f"{path}: {facet.name}"
    assert len(keys) > 40 and not [key for key, times in keys.items() if times > 1]


def test_nobody_else_reads_or_writes_the_column() -> None:
    assert [f"{path}:{line}" for path in OTHERS for line in _touches(path)] == []


def test_a_reader_and_a_writer_beside_facets_are_found(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text(
        'x = run.terms.get("free")\ny = replace(run, terms={})\nz = self.terms\nRun(terms=written(()))\n'
    )
    assert list(_touches(planted)) == [1, 2]


def _touches(path: Path) -> list[int]:
    """Return the lines that read the column of a run, or write it without `written`."""
    found = []
    for node in ast.walk(tree(path)):
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr="terms"):
                pass  # an own field of this name
            case ast.Attribute(attr="terms") | ast.keyword(arg="terms", value=ast.Dict()):
                found.append(node.lineno)
    return sorted(found)
