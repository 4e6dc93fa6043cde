"""The open tasks of a Beads file as a chain that a workflow takes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from pancode.kernel.errors import UsageError
from pancode.workflows.files.chains import chain_of_beads, read_beads
from pancode.workflows.files.reader import check_workflow

FILE = ".beads/issues.jsonl"


def bead(id: str, *blocked_by: str, **more: Any) -> str:
    """As `bd` writes it: what the tasks that block it are called stands in the blocked one."""
    deps = [{"issue_id": id, "depends_on_id": one, "type": "blocks"} for one in blocked_by]
    row = {"id": id, "title": f"do {id}", "status": "open", "priority": 2, "issue_type": "task"}
    return json.dumps({**row, "dependencies": deps, **more})


def ids(*lines: str, only: tuple[str, ...] = ()) -> list[str]:
    return [one.id for one in read_beads("\n".join(lines), FILE, only)]


def test_what_blocks_comes_first_and_the_most_urgent_of_the_rest() -> None:
    first = bead("bd-a3f8.1", title="Count {{ calls }}", description="of $INPUT")
    text = chain_of_beads(read_beads(f"{first}\n{bead('bd-a3f8.2', 'bd-a3f8.1')}", FILE), FILE)
    checked = check_workflow(text, "tasks.yaml", "tasks")
    assert not checked.problems, checked.problems
    steps = yaml.safe_load(text)["steps"]
    assert [(one["name"], one["needs"]) for one in steps] == [("bd-a3f8-1", []), ("bd-a3f8-2", ["bd-a3f8-1"])]
    assert "{{" not in text and "$INPUT" not in text and "bd-a3f8.2" in steps[1]["task"]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ((), "no open task"),
        (("{", bead("x-1")), "line 1"),
        (("[]",), "line 1"),
        ((bead("x-1", "x-2"), bead("x-2", "x-1")), "cycle"),
        ((bead("x-1", "x-9"),), "x-9"),
        ((bead("x-1", "x-2"), bead("x-2", status="deferred")), "x-2"),
        (tuple(bead(f"x-{n}") for n in range(51)), "51 open tasks"),
    ],
)
def test_what_makes_no_chain_says_why(lines: tuple[str, ...], why: str) -> None:
    with pytest.raises(UsageError) as refused:
        ids(*lines)
    assert refused.value.code == "no_beads" and why in refused.value.why


def test_a_task_that_is_not_open_cannot_be_asked_for() -> None:
    with pytest.raises(UsageError):
        ids(bead("x-1", status="closed"), bead("x-2"), only=("x-1",))
