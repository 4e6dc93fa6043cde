"""Plans and records go to JSON and back unchanged; anything else than exactly their fields is refused."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.shim import shim
from node_agent.shim.spool import (
    MAX_NAME,
    MAX_STEPS,
    ExecError,
    ExitRecord,
    Grace,
    PhaseEnd,
    PhaseLimits,
    PhasePlan,
    SpoolError,
    Step,
    StepEndedBy,
    StepKind,
    StepRecord,
)

# Whatever a command line or an environment can carry: also lone surrogates, Python's spelling of raw bytes.
raw = st.text(st.characters(exclude_characters="\0"), max_size=30)
paths = raw.map("/{}".format)
counts = st.integers(0, 2**53)
maybe = st.none() | counts
steps = st.builds(
    Step,
    name=st.text(min_size=1, max_size=MAX_NAME),
    kind=st.sampled_from(StepKind),
    argv=st.lists(raw, max_size=4).map(lambda rest: ("prog", *rest)),
    stdout=paths,
    stderr=paths,
    stdin=st.none() | paths,
)
plans = st.builds(
    PhasePlan,
    id=st.text(max_size=20),
    phase=st.sampled_from(["work", "gates"]),
    marker=raw.filter(bool),
    cwd=paths,
    env=st.dictionaries(raw.filter(lambda name: bool(name) and "=" not in name), raw, max_size=5),
    steps=st.lists(steps, min_size=1, max_size=3).map(tuple),
    limits=st.builds(PhaseLimits, maybe, maybe, maybe),
    grace=st.builds(Grace, counts, counts),
    go_on=st.booleans(),
)
records = st.builds(
    StepRecord,
    kind=st.sampled_from(StepKind),
    ended_by=st.sampled_from(StepEndedBy),
    exec_error=st.none() | st.builds(ExecError),
)

STEP = Step("agent", StepKind.AGENT, ("claude", "-p"), "/j/out", "/j/err", "/j/prompt")
PLAN = PhasePlan("r-7f3k2q.1.1", "work", "r-7f3k2q.1.1", "/work", {"PATH": "/bin"}, (STEP,))


@given(plans)
@settings(max_examples=150, deadline=None)
def test_plan_round_trip(plan: PhasePlan) -> None:
    data = plan.to_json()
    assert data.isascii()
    assert PhasePlan.from_json(data) == plan
    assert json.loads(data) == json.loads(json.dumps(dataclasses.asdict(plan)))


@given(st.lists(records, max_size=3), st.sampled_from(PhaseEnd), st.text())
@settings(max_examples=60, deadline=None)
def test_exit_record_round_trip(done: list[StepRecord], ended: PhaseEnd, reason: str) -> None:
    record = ExitRecord("r-1.1.1", "gates", "boot", ended, reason, True, 0, 0, 1, 2, 3, 4, tuple(done))
    assert ExitRecord.from_json(record.to_json()) == record


def test_the_shim_knows_the_same_fields() -> None:
    """It has no dataclasses (they cost 12 ms at each start), so it names the fields once more."""
    assert {field.name for field in dataclasses.fields(PhasePlan)} == shim.PLAN_FIELDS
    assert {field.name for field in dataclasses.fields(Step)} == shim.STEP_FIELDS


def test_golden_plan() -> None:
    assert PLAN.to_dict() == {
        "id": "r-7f3k2q.1.1",
        "phase": "work",
        "marker": "r-7f3k2q.1.1",
        "cwd": "/work",
        "env": {"PATH": "/bin"},
        "steps": (
            {
                "name": "agent",
                "kind": "agent",
                "argv": ("claude", "-p"),
                "stdout": "/j/out",
                "stderr": "/j/err",
                "stdin": "/j/prompt",
                "walled": False,
                "wall": (),
                "calls": "",
                "joins": "",
            },
        ),
        "limits": dict.fromkeys("wall_ms idle_ms output_bytes memory_bytes processes disk_bytes".split()),
        "grace": {"int_ms": 15000, "term_ms": 15000},
        "go_on": False,
        "below": "",
    }


def changed(path: str, value: Any) -> dict[str, Any]:
    """The golden plan with one place replaced (`steps.0.argv`); a value of None removes it."""
    raw_plan: dict[str, Any] = json.loads(PLAN.to_json())
    *way, last = path.split(".")
    place: Any = raw_plan
    for part in way:
        place = place[int(part)] if part.isdigit() else place[part]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return raw_plan


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("more", 1), ("steps.0.more", 1), ("limits.more", 1), ("grace.more", 1),
        ("go_on", None), ("steps.0.stdin", None), ("limits.wall_ms", None),
        ("id", 7), ("env", []), ("env", {"A": 1}), ("go_on", 1), ("steps", {}), ("steps", "x"), ("steps", []),
        ("steps", [json.loads(STEP.to_json())] * (MAX_STEPS + 1)),
        ("steps.0.kind", "other"), ("steps.0.argv", []), ("steps.0.argv", [""]), ("steps.0.argv", "ls"),
        ("steps.0.argv", ["a\0b"]), ("steps.0.argv", [1]), ("steps.0.name", ""), ("steps.0.name", "n" * 65),
        ("steps.0.stdout", "out"), ("steps.0.stdin", "in"), ("cwd", "work"), ("cwd", "/a\0b"), ("marker", ""),
        ("marker", "a\0"), ("env", {"A=B": "c"}), ("env", {"": "c"}), ("env", {"A": "\0"}),
        ("limits.wall_ms", -1), ("limits.idle_ms", True), ("limits.output_bytes", 1.5), ("grace.int_ms", -1),
        ("grace.term_ms", "1"), ("below", "/x"), ("below", "a/../b"), ("below", "a/"),
    ],
)  # fmt: skip
def test_wrong_plan_is_refused(path: str, value: Any) -> None:
    with pytest.raises(SpoolError):
        PhasePlan.from_json(json.dumps(changed(path, value)).encode())


def test_a_plan_of_before_the_sandbox_is_read_as_one_outside_of_it() -> None:
    """Runs in flight outlive an upgrade of their node."""
    former = changed("steps.0.walled", None)
    del former["below"]
    del former["steps"][0]["wall"], former["steps"][0]["calls"]
    for later in ("memory_bytes", "processes", "disk_bytes"):
        del former["limits"][later]
    assert PhasePlan.from_json(json.dumps(former).encode()) == PLAN


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"1", b"{} {}", b"\xff", b'{"id":NaN}', b"null"])
def test_what_is_no_plan_is_refused(data: bytes) -> None:
    with pytest.raises(SpoolError):
        PhasePlan.from_json(data)
