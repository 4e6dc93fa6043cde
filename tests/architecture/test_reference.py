"""Holds the generated reference to the code: a page that is not what the code says today is an error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from docs.generate.commands import examples, walk, whole
from docs.generate.man import write_manual
from docs.generate.meanings import CLOSED, FAILED, LEASES, MARKS, NODES, REFUSED, REFUSED_ENVELOPE, RUNS
from docs.generate.pages import PAGES, REFERENCE
from docs.generate.settings import leaves
from node_agent.wire.failure import FailureKind, JobRefusal
from node_agent.wire.identity import Mark
from node_agent.wire.signing import RefusalCode
from pancode.app.http_routes import VERBS
from pancode.config.schema import Settings
from pancode.interfaces.cli.main import cli
from pancode.kernel.node import NodeState
from pancode.kernel.records import Closed, LeaseState, RunState
from tests.architecture.sources import ROOT
from tests.journeys import JOURNEYS, chosen, longer
from tests.slices import slice_of

TEST_NAME = re.compile(r"`([a-z0-9_/]+\.py::)(test_\w+)(\[[^`]+\])?`")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    written = (REFERENCE / name).read_text(encoding="utf-8")
    assert written == PAGES[name](), f"docs/reference/{name} is out of date: make docs"


def test_every_page_of_the_reference_is_generated() -> None:
    assert {page.name for page in REFERENCE.iterdir()} == {
        *PAGES,
        "README.md",
        "glossary.md",
        "one-run.md",  # by `python -m tests.architecture.way page`, which brings up a fleet
        "performance.md",
    }


def test_the_manual_has_a_page_for_each_command_and_none_of_a_command_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "pancode-gone.1").write_text("old")
    write_manual(tmp_path)
    top = whole()
    shown = [context.command.name for context, _ in walk(cli, top) if context.parent is top]
    assert {page.name for page in tmp_path.iterdir()} == {
        "pancode.1",
        *(f"pancode-{name}.1" for name in shown),
    }


def test_every_word_of_the_tables_is_explained() -> None:
    explained = (
        (FAILED, FailureKind),
        (REFUSED, JobRefusal),
        (REFUSED_ENVELOPE, RefusalCode),
        (RUNS, RunState),
        (LEASES, LeaseState),
        (CLOSED, Closed),
        (MARKS, Mark),
        (NODES, NodeState),
    )
    for meanings, kinds in explained:
        assert list(meanings) == list(kinds), kinds.__name__


def test_every_route_is_told_and_no_other() -> None:
    commands = {context.command_path for context, _ in walk(cli, whole())}
    assert not {verb.command for verb in VERBS if verb.command} - {c[8:] for c in commands}


def test_every_setting_is_on_the_page() -> None:
    page = (REFERENCE / "configuration.md").read_text(encoding="utf-8")
    missing = [path for path, _ in leaves(Settings) if f"| `{path}` |" not in page]
    assert not missing


def _of_the_group(context: click.Context) -> list[str]:
    """A group's examples, spelled in full, where it means this command without saying so: `runs 5`."""
    above = context.parent
    if above is None or getattr(above.command, "default", None) != context.info_name:
        return []
    return [line.replace(above.command_path, context.command_path, 1) for line in examples(above.command)]


def test_every_command_has_an_example_that_names_it() -> None:
    commands = list(walk(cli, whole()))
    lacking = []
    for context, command in commands:
        shown = [*examples(command), *_of_the_group(context)]
        mine = [line for line in shown if line.startswith(context.command_path)]
        if not isinstance(command, click.Group) and not mine:
            lacking.append(context.command_path)
    assert len(commands) > 40 and not lacking


def test_every_test_that_a_page_names_exists() -> None:
    """What is promised in the documents stands beside the test that shows it."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    named = {name for page in pages for name in TEST_NAME.findall(page.read_text(encoding="utf-8"))}
    gone = ["".join(name) for name in sorted(named) if not _is_there(*name)]
    assert len(named) > 80 and not gone


def test_every_claim_of_safety_names_its_test() -> None:
    """Each row below *Shown by*, and each sentence that sums safety up; what has no test says so."""
    told = (ROOT / "docs/explanation/security.md").read_text(encoding="utf-8")
    short = told.partition("## In short\n")[2].partition("\n## ")[0]
    claims = [*re.split(r"^- ", short, flags=re.MULTILINE)[1:], *_rows(told, "Shown by")]
    bare = [claim for claim in claims if not TEST_NAME.search(claim) and "**not yet**" not in claim]
    assert len(claims) > 40 and not bare


def test_make_test_shows_every_promise_but_those_that_have_their_reason() -> None:
    told = (ROOT / "docs/explanation/semantics.md").read_text(encoding="utf-8")
    rows = [row for row in _rows(told, "Shown by") if "**not yet**" not in row]
    shown_elsewhere = {}
    for row in rows:
        tests = ["tests/" + "".join(name) for name in TEST_NAME.findall(row)]
        assert tests, row
        if not any(map(_is_run, tests)):
            shown_elsewhere[row.split(" | ")[0]] = {slice_of(test) for test in tests}
    table = [row.split(" | ") for row in _rows(told, "Slice")]
    excused = {promise: {last.strip("`| ")} for promise, _, last in table}
    assert len(rows) > 140 and shown_elsewhere == excused
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## ")[0]
    promised = re.findall(r"^- \*\*(.+?)\.\*\*", readme, re.MULTILINE)
    assert [f"| {promise}" for promise in promised] == [row.split(" | ")[0] for row in rows[:3]]


def _rows(text: str, last: str) -> Iterator[str]:
    """The rows of tables whose last column has this name."""
    for rows in re.findall(rf"^\|.*{last} \|\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE):
        yield from rows.splitlines()


def _is_run(nodeid: str) -> bool:
    """Whether `make test` runs all that this names: of a function, every parameter."""
    in_part = any(name.startswith(f"{nodeid}[") for name in (*longer(), *JOURNEYS))
    return chosen(nodeid) and not in_part and not nodeid.startswith("tests/clis/")


def _is_there(file: str, test: str, parameter: str) -> bool:
    """A parameter is written beside the test with spaces for its hyphens, or in parts in the test's file."""
    path = ROOT / "tests" / file.removesuffix("::")
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    beside = [one.read_text(encoding="utf-8") for one in path.parent.glob("*.py") if parameter]
    inside = parameter.strip("[]")
    whole = any(inside.replace("-", " ") in one.replace("-", " ") for one in (text, *beside))
    return f"def {test}(" in text and (whole or all(part in text for part in inside.split("-")))
