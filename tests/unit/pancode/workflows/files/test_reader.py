"""Workflow files: what they become, and everything that is wrong with one, each with its line."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pancode.interfaces.http.bodies import DispatchBody, has_true, parse_body
from pancode.kernel.errors import UsageError
from pancode.workflows.files.entries import DispatchEntry
from pancode.workflows.files.reader import CheckedWorkflow, check_workflow
from pancode.workflows.routes.bodies import WorkflowBody

PLAIN: dict[str, object] = {"files": []}
LOOP = """
steps:
  build: {task: "do $INPUT"}
  check:
    needs: build
    task: check it
    verdict: {schema: {verdict: [approved, changes]}}
    until: verdict == "approved"
    max: 3
    back-to: build
"""


def read(text: str, place: str = "w.yaml") -> CheckedWorkflow:
    found = check_workflow(text, place, "w")
    assert (found.body is None) == bool(found.problems)
    return found


def body(text: str, place: str = "w.yaml") -> dict[str, Any]:
    found = read(text, place)
    assert found.body is not None, [str(one) for one in found.problems]
    return found.body


def tasks(text: str, place: str = "w.yaml") -> list[dict[str, Any]]:
    return [step["dispatch"] for step in body(text, place)["steps"]]


def test_a_batch_has_a_step_for_each_task_over_its_defaults() -> None:
    text = """
name: three
stagger: 0
concurrency: 2
fail-fast: true
budget: $5
defaults: {agent: builder, require: gpu=24g, timeout: 10m}
tasks:
  - one
  - {task: two, agent: reviewer, require: {os: linux}, verify: pytest -q, max_turns: 5}
  - {argv: [uname, -a], runtime: shell, no-verify: true}
"""
    assert body(text) == {
        "kind": "batch",
        "name": "three",
        "stagger_ms": 0,
        "concurrency": 2,
        "fail_fast": True,
        "budget": "5",
        "steps": [
            {
                "name": "1",
                **PLAIN,
                "dispatch": {
                    "task": "one",
                    "agent": "builder",
                    "require": {"gpu": "24g"},
                    "timeout_ms": 600_000,
                },
            },
            {
                "name": "2",
                **PLAIN,
                "dispatch": {
                    "task": "two",
                    "agent": "reviewer",
                    "require": {"gpu": "24g", "os": "linux"},
                    "timeout_ms": 600_000,
                    "verify": ["pytest -q"],
                    "max_turns": 5,
                },
            },
            {
                "name": "3",
                **PLAIN,
                "dispatch": {
                    "task": "",
                    "argv": ["uname", "-a"],
                    "agent": "builder",
                    "runtime": "shell",
                    "require": {"gpu": "24g"},
                    "timeout_ms": 600_000,
                    "verify": [],
                },
            },
        ],
    }


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("t.yaml", "tasks: [one, two]"),
        ("t.yaml", "- one\n- task: two\n"),
        ("t.json", '{"tasks": ["one", {"task": "two"}]}'),
        ("t.json", '[\n\t"one",\n\t"two"\n]'),
        ("t.jsonl", '"one"\n\n{"task": "two"}\n'),
        ("t.txt", "# not this\none\n\n  two  \n"),
        ("standard input", "one\ntwo\n"),
        ("standard input", '"one"\n"two"\n'),
        ("standard input", '["one", "two"]'),
        ("standard input", '{"task": "one"}\n{"task": "two"}'),
        ("standard input", "# a batch\n- one\n- two\n"),
        ("standard input", "concurrency: 1\ntasks:\n  - one\n  - two\n"),
    ],
)
def test_tasks_can_be_written_in_four_formats(place: str, text: str) -> None:
    assert [task["task"] for task in tasks(text, place)] == ["one", "two"]


def test_a_line_with_a_colon_is_a_task_and_no_key() -> None:
    assert [task["task"] for task in tasks("fix: a typo\nadd: a test\n", "-")] == [
        "fix: a typo",
        "add: a test",
    ]


def test_json_of_a_program_is_read_with_characters_beyond_the_first_plane() -> None:
    assert tasks(json.dumps({"tasks": ["a 😀"]}), "t.json") == [{"task": "a 😀"}]


def test_a_matrix_is_every_combination() -> None:
    text = "defaults: {budget: 1}\nmatrix: {tasks: [a, b], agents: [x, y], runtimes: native}"
    found = [(t["task"], t["agent"], t["runtime"], t["budget"]) for t in tasks(text)]
    assert found == [(t, a, "native", "1") for t in "ab" for a in "xy"]


def test_a_matrix_of_ten_thousand_is_refused_with_its_number() -> None:
    hundred = json.dumps([f"t{n}" for n in range(100)])
    (problem,) = read(f"concurrency: 1\nmatrix: {{tasks: {hundred}, agents: {hundred}}}").problems
    assert "10000" in str(problem)


def test_in_a_list_each_step_needs_the_one_before() -> None:
    text = """
steps:
  - {name: plan, task: "plan $INPUT", files: [plan.md]}
  - {task: "do {{ steps.plan.files.plan.md }} at {{ steps.plan.commit }}"}
  - {name: look, task: "${{ steps }} {{ user.name }} {{ steps.step-2.answer }}", needs: [plan, step-2]}
"""
    found = read(text)
    assert (found.kind, found.needs_input) == ("chain", True)
    assert [(s["name"], s["needs"]) for s in found.steps()] == [
        ("plan", []),
        ("step-2", ["plan"]),
        ("look", ["plan", "step-2"]),
    ]


def test_a_loop_goes_back_to_an_earlier_step_until_its_verdict_says_so() -> None:
    build, check = body(LOOP)["steps"]
    assert "max" not in build
    assert check == {
        "name": "check",
        "dispatch": {"task": "check it"},
        "needs": ["build"],
        "files": [],
        "until": {"field": "verdict", "equals": "approved"},
        "max": 3,
        "verdict": {"file": "verdict.json", "schema": {"verdict": ["approved", "changes"]}},
        "back-to": "build",
    }


def test_the_api_takes_a_step_as_in_the_file() -> None:
    """Once with the keys and units of a file, and once as a client of an earlier version sends it."""
    check = {**yaml.safe_load(LOOP)["steps"]["check"], "name": "check", "idle-timeout": "5m", "land": True}
    body = parse_body(WorkflowBody, {"kind": "chain", "steps": [check]})
    (taken,) = body.plan().steps
    assert has_true(body, "land"), "a token must have the right to land"
    former = {
        "name": "check",
        "needs": ["build"],
        "dispatch": {"task": "check it", "idle_timeout_ms": 300_000, "land": True},
        "files": [],
        "until": {"field": "verdict", "equals": "approved"},
        "max": 3,
        "verdict": {"file": "verdict.json", "schema": {"verdict": ["approved", "changes"]}},
        "back_to": "build",
    }
    (sent,) = parse_body(WorkflowBody, {"kind": "chain", "steps": [former]}).plan().steps
    assert taken == sent and (taken.request.idle_timeout_ms, taken.most) == (300_000, 3)
    with pytest.raises(UsageError, match="unknown key 'steps.0.bak-to'") as wrong:
        parse_body(WorkflowBody, {"kind": "chain", "steps": [{**check, "bak-to": "x"}]})
    assert wrong.value.fix == "did you mean back-to?"


WRONG = [
    ("", "1: the file has no tasks", "tasks: [...]"),
    ("null", "1: the file has no tasks", "tasks: [...]"),
    ("steps: {}", "1: the file has no steps", "steps: [...]"),
    ("tasks: [a]\nsteps: [b]", "1: tasks and steps cannot be in one file", "two files"),
    ("tasks: a", "1: tasks must be a list", "as `- text`"),
    ("tasks:\n  - a\n  - {task: b, agnt: x}", "3: unknown key tasks.1.agnt", "agent?"),
    ("tasks: [a]\nconcurency: 2", "2: unknown key concurency", "concurrency?"),
    ("tasks: [a]\ndefaults:\n  idle_timeout: 5", "3: defaults.idle_timeout: 5 is not valid", "correct"),
    ("tasks:\n  - {agent: x}", "2: the task is empty", "what to do"),
    ("tasks:\n  - ''", "2: the task is empty", "what to do"),
    ("tasks:\n  - {task: a, verify: 'a | b'}", "2: tasks.0.verify.0: 'a | b' is not valid", "sh -euc"),
    ("tasks: [a]\nstagger: 5", "2: stagger: 5 is not valid", "correct"),
    ("name: No Name\ntasks: [a]", "1: 'No Name' is not a valid workflow name", "a-z"),
    ("steps:\n  Plan: a", "2: 'Plan' is not a valid step name", "a-z"),
    ("steps:\n  - {name: a, task: a}\n  - {name: a, task: b}", "3: step a exists twice", "rename"),
    ("steps:\n  a: {name: b, task: a}", "2: step a already has a name", "remove `name`"),
    ("steps:\n  plan: a\n  b: {task: b, needs: pln}", "3: step b needs 'pln'", "plan?"),
    (
        "steps:\n  a: {task: a, needs: b}\n  b: {task: b, needs: a}",
        "2: steps wait for each other: a -> b -> a",
        "loop",
    ),
    ("steps:\n  a: {task: a, needs: a}", "2: steps wait for each other: a -> a", "loop"),
    ("steps:\n  a: {task: a, max: 3}", "2: step a has max but no until", "until: verdict =="),
    (
        "steps:\n  a: a\n  b: {task: '{{ steps.a.answer }}'}",
        "3: step b: {{ steps.a.answer }} is not a valid reference",
        "needs: [a]",
    ),
    (
        "steps:\n  - a\n  - '{{ steps.step-1.files.x }}'",
        "3: step step-2: {{ steps.step-1.files.x }} is not a valid reference",
        "files: [x]",
    ),
    (
        "steps:\n  - a\n  - '{{ step.a }}'",
        "3: step step-2: {{ step.a }} is not a valid reference",
        "{{ steps.NAME.answer }}",
    ),
    (
        "steps:\n  - a\n  - 'do {{ step-1.answer }} as {{ user.answer }} says'",
        "3: step step-2: {{ step-1.answer }} is not a valid reference",
        "{{ steps.NAME.answer }}",
    ),
    (
        "steps:\n  - a\n  - '{{ steps.stp-1.answer }}'",
        "3: step step-2: {{ steps.stp-1.answer }} is not a valid reference",
        "step-1?",
    ),
    ("steps:\n  - {task: a, files: ../x}", "2: steps.0.files.0: '../x' is not valid", "correct"),
    (LOOP.replace("    max: 3\n", ""), "8: step check has until but no max", "max: 3"),
    (LOOP.replace("max: 3", "max: 300"), "9: steps.check.max: 300 is not valid", "correct"),
    (
        LOOP.replace('== "approved"', "is fine"),
        "8: steps.check.until: 'verdict is fine'",
        "until: verdict ==",
    ),
    (LOOP.replace("changes]", "{a: b}]"), "7: steps.check.verdict.schema.verdict.1", "correct"),
    (
        LOOP.replace('verdict == "approved"', "{field: verdict, equals: 1}"),
        "8: step check: verdict is never 1",
        "",
    ),
    (
        LOOP.replace('== "approved"', "== maybe"),
        "8: step check: verdict is never 'maybe'",
        "approved, changes",
    ),
    (
        LOOP.replace("until: verdict", "until: verdit"),
        "8: step check: the verdict has no field 'verdit'",
        "verdict",
    ),
    (
        LOOP.replace("back-to: build", "back-to: bild"),
        "10: step check goes back to 'bild'",
        "build?",
    ),
    (LOOP.replace("back-to: build", "back_to: bild"), "10: step check goes back to 'bild'", "mean build?"),
    (LOOP.replace("needs: build", "needs: []"), "10: step check cannot go back to build", "needs: [build]"),
    (
        "steps:\n  - a\n  - {runtime: shell, task: 'echo {{ steps.step-1.answer }}'}",
        "3: step step-2: {{ steps.step-1.answer }} would become part of a script",
        "read a file",
    ),
    ("defaults: {runtime: shell}\nsteps: [a, 'echo $INPUT']", "2: step step-2: $INPUT would", "read a file"),
    ("steps: [{runtime: shell, task: 'echo $ORIGINAL'}]", "1: step step-1: $ORIGINAL would", "ORIGINAL.md"),
    ("tasks: [{task: a, runtime: shel}]", "1: tasks.0.runtime: 'shel' is not valid", "correct"),
    ("a: [1", "1: not valid YAML", "line 1"),
    ("tasks:\n  - 2026-13-45", "2: tasks.0: the value '2026-13-45' cannot be read", "in quotes"),
    ('tasks:\n  - "\\ud800"', "1: step 1 contains an unpaired surrogate", ""),
]


@pytest.mark.parametrize(("text", "words", "fix"), WRONG)
def test_a_problem_says_line_key_and_fix(text: str, words: str, fix: str) -> None:
    told = [(str(one), one.fix) for one in read(text).problems]
    assert [one for one in told if one[0].startswith(f"w.yaml:{words}") and fix in one[1]], told


def test_everything_that_is_wrong_is_said_at_once() -> None:
    text = """
steps:
  plan: {task: "{{ foo }}", agent: 5, needs: buld}
  build: {tsk: x, needs: pln}
  a: {task: x, needs: b, until: foo}
  b: {task: x, needs: a}
"""
    lines = sorted(int(str(one).split(":")[1]) for one in read(text).problems)
    assert set(lines) == {3, 4, 5}
    assert len(lines) >= 7


LOOPED = """
steps:
  build: {task: x}
  look:
    task: y
    needs: [build]
    verdict: {schema: {verdict: [approved, rejected]}}
    until: verdict == "approved"
    max: 3
    back-to: build
"""


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("[approved, rejected]", "7"),
        ("max: 3", "max: many"),
        ('until: verdict == "approved"', "until: [approved]"),
    ],
)
def test_what_cannot_be_read_is_not_called_missing_too(right: str, wrong: str) -> None:
    """A wrong value in `verdict:` also was "until and no verdict", a wrong `max` "until and no max"."""
    assert read(LOOPED).problems == () and right in LOOPED
    (problem,) = read(LOOPED.replace(right, wrong)).problems
    assert " and no " not in str(problem)


def test_a_need_of_nothing_names_the_steps_that_there_are() -> None:
    (problem,) = read("steps: {a: {task: x, needs: zzzzzz}}").problems
    assert problem.fix == "use one of its steps: a"


def test_each_broken_line_of_jsonl_is_named() -> None:
    found = read('"a"\n{"task": }\n[1]\n', "t.jsonl").problems
    assert [str(one).split(": ")[0] for one in found] == ["t.jsonl:2", "t.jsonl:3"]


def test_a_step_takes_what_a_dispatch_takes() -> None:
    """A key that dispatch gets is a key here, too; and what a step says is what the API reads."""
    entry = DispatchEntry.model_validate(
        {
            "agent": "a", "node": "n", "require": {"k": "v"}, "mode": "build", "safety": "auto-edit",
            "gpus": 2, "gpu-memory": "24g",
            "model": "m", "reasoning": "low", "runtime": "native", "workspace": "none",
            "budget": "0.5", "timeout": "1m", "idle-timeout": "1m", "max-turns": 1, "max-requests": 1,
            "max-tokens": 1, "max-output": "1KiB", "max-memory": "1GiB", "max-processes": 64,
            "max-disk": "1GiB", "wrap-up": False, "verify": ["true"], "priority": 3, "attempts": 2,
            "reports": ["r"], "verify-retries": 1,
            "network": "none", "on-lost": "retry", "told-only": True,
            "with-secret-files": True, "untested": True, "land": True, "ask": True,
        }
    )  # fmt: skip
    said = entry.to_work()
    of_the_call = {"by", "cwd", "project", "parent", "depth", "dry_run", "settings", "preset", "yes", "task"}
    of_the_call |= {"argv", "show", "check_gates_first"}
    assert said.keys() == DispatchBody.model_fields.keys() - of_the_call
    assert parse_body(DispatchBody, {"task": "t", **said}).request().timeout_ms == 60_000


KEYS = st.sampled_from(["steps", "tasks", "matrix", "a", "needs", "task", "until", "verdict", "max", "name"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["a", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(
    st.text() | VALUES.map(lambda one: json.dumps(one)), st.sampled_from(["f.yaml", "f.json", "f.jsonl", "-"])
)
def test_any_text_is_a_workflow_or_has_a_problem_with_a_line(text: str, place: str) -> None:
    found = check_workflow(text, place)
    assert (found.body is None) == bool(found.problems)
    for problem in found.problems:
        told, _, line = str(problem).split(": ")[0].rpartition(":")
        assert told == place
        assert line.isdigit()
    json.dumps(found.body, ensure_ascii=False).encode()


@settings(max_examples=150, deadline=None)
@given(VALUES, KEYS)
def test_any_values_below_a_known_key_raise_nothing(value: object, key: str) -> None:
    check_workflow(json.dumps({key: value}), "f.json")
