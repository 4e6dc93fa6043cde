"""The board of a workflow: the last writer wins, within bounds; a job carries it."""

from __future__ import annotations

from node_agent.wire.job import BoardEntry
from pancode.kernel.records import Run, Workflow, WorkflowKind
from pancode.kernel.values import replace
from pancode.workflows.board import MOST_VALUES, WORDS, add_board, list_entries, list_values, with_values
from tests.fakes.ledger import MemoryLedger
from tests.unit.pancode.runs.life.test_inbox import ended

EMPTY = Workflow("w-0001", 1, "ana", WorkflowKind.GRAPH, "g", "", None)


def one(name: str, value: str) -> BoardEntry:
    namespace, _, key = name.partition("/")
    return BoardEntry(namespace=namespace, key=key, value=value)


def run_of(step: str) -> Run:
    return replace(ended(), workflow="w-0001", step=step)


def test_the_last_writer_wins_and_is_named() -> None:
    first, _ = with_values(EMPTY, run_of("plan"), [one("plan/port", "1"), one("plan/host", "a")], 5)
    both, full = with_values(first, run_of("build"), [one("plan/port", "2")], 6)
    assert full == [] and list_entries(both) == [
        {"namespace": "plan", "key": "host", "value": "a"},
        {"namespace": "plan", "key": "port", "value": "2"},
    ]
    port = next(row for row in list_values(both) if row["key"] == "plan/port")
    assert (port["step"], port["at_ms"], port["writes"]) == ("build", 6, 2)


def test_what_has_no_room_is_told_and_the_rest_stays() -> None:
    many = [one(f"n/{number}", "x") for number in range(MOST_VALUES)]
    workflow, _ = with_values(EMPTY, run_of("a"), many, 1)
    after, (full,) = with_values(workflow, run_of("b"), [one("n/more", "x"), one("n/0", "y")], 2)
    assert "no space for n/more" in full and len(after.board) == MOST_VALUES
    large = [one(f"l/{number}", "x" * 16_000) for number in range(5)]
    assert len(with_values(EMPTY, run_of("a"), large, 1)[1]) == 1


def test_an_agent_is_told_of_it_and_a_script_is_not() -> None:
    workflow, _ = with_values(EMPTY, run_of("a"), [one("n/k", "v")], 1)
    with MemoryLedger().transaction() as tx:
        tx.insert(workflow)
        told = add_board(tx, replace(run_of("b"), runtime="claude", prompt="p"))
        assert told.prompt == f"p{WORDS}" and told.terms["board"] == list_entries(workflow)
        assert add_board(tx, replace(run_of("b"), runtime="shell", prompt="")).prompt == ""
