"""The ten gates: the job, what each lets pass and refuses, and in which words."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from node_agent.wire.identity import LAST_ATTEMPT
from node_agent.wire.job import MAX_TASK_BYTES
from node_agent.wire.model import MOST, FleetTime
from node_agent.wire.node import no_sandbox
from node_agent.wire.policy import CommandRule, Isolation, Mode, Rules, Safety
from node_agent.wire.signing import MAX_ENVELOPE_BYTES, SigningKey
from pancode.agents.default_worker import NO_NODE
from pancode.budget.books import Ceilings
from pancode.kernel.errors import ExitCode
from pancode.kernel.node import NodeState
from pancode.kernel.records import Balance
from pancode.runs.admission.gates import NAMES, first_refused, judge, refusal_error, request
from pancode.runs.admission.plan import GateVerdict
from pancode.runs.life.jobs import job_for, size_of
from pancode.runs.request import AdmissionView, Defaults, Parent, PathFact, ScopeView
from tests.unit.pancode.kernel.fleets import BUILDER, SCOUT, node, resolved

DAY = ScopeView(Balance("day:2026-11-20"), Ceilings(Decimal(10)))
VIEW = AdmissionView((DAY,))


def gate(name: str, view: AdmissionView = VIEW, **options: Any) -> GateVerdict:
    """The verdict of one gate on `request(**options)`."""
    nodes = options.pop("nodes", ())
    settings = options.pop("settings", None)
    return judge(resolved(*nodes, settings=settings, **options), view)[NAMES.index(name)]


def test_the_job() -> None:
    assert NAMES == (
        "mode",
        "mutation",
        "drain",
        "recursion",
        "task",
        "paths",
        "safety",
        "budget",
        "agent",
        "routing",
    )


def test_a_plain_dispatch_passes_all_ten() -> None:
    verdicts = judge(resolved(node("a", isolation=Isolation.SANDBOX)), VIEW)
    assert [v.gate for v in verdicts] == list(NAMES)
    assert all(v.passed and not v.warning and v.words for v in verdicts)
    assert first_refused(verdicts) is None


def test_all_ten_are_told_and_the_first_refusal_decides() -> None:
    verdicts = judge(resolved(task=" ", agent="builder", mode=Mode.PLAN, safety=Safety.SUGGEST), VIEW)
    assert len(verdicts) == 10
    assert [v.gate for v in verdicts if not v.passed] == ["mode", "mutation", "task", "safety"]
    decided = first_refused(verdicts)
    assert decided is not None
    error = refusal_error(decided)
    assert (error.exit_code, error.code, error.why) == (
        ExitCode.REFUSED,
        "refused_mode",
        "gate 1 of 10: mode",
    )


@pytest.mark.parametrize(
    ("mode", "agent", "dispatches", "lets"),
    [
        (Mode.ADMIN, "builder", True, False),
        (Mode.ADMIN, "scout", True, True),
        (Mode.PLAN, "builder", False, False),
        (Mode.PLAN, "scout", False, True),
        (Mode.BUILD, "builder", True, True),
        (Mode.BUILD, "scout", True, True),
        (Mode.REVIEW, "builder", True, False),
        (Mode.REVIEW, "scout", True, True),
    ],
)
def test_the_matrix_of_modes(mode: Mode, agent: str, dispatches: bool, lets: bool) -> None:
    assert gate("mode", mode=mode, agent=agent).passed is dispatches
    assert gate("mutation", mode=mode, agent=agent).passed is lets


@pytest.mark.parametrize(
    ("safety", "agent", "passes", "words"),
    [
        (Safety.SUGGEST, "builder", False, "safety suggest only reads, and cannot start runs"),
        (Safety.SUGGEST, "scout", False, "safety suggest only reads, and cannot start runs"),
        (Safety.AUTO_EDIT, "builder", True, "auto-edit, enforced by claude; desk has no sandbox"),
        (Safety.AUTO_EDIT, "scout", True, "read-only, enforced by claude"),
        (Safety.FULL_AUTO, "builder", False, "nothing can enforce full-auto on runtime claude"),
        (Safety.FULL_AUTO, "scout", True, "read-only, enforced by claude"),
    ],
)
def test_safety_levels(safety: Safety, agent: str, passes: bool, words: str) -> None:
    verdict = gate("safety", safety=safety, agent=agent)
    assert verdict.passed is passes
    assert words in verdict.words


def test_full_auto_where_there_is_a_sandbox_or_when_being_told_is_enough() -> None:
    walled, open_ = node("a", isolation=Isolation.SANDBOX), node("b")
    assert gate("safety", safety=Safety.FULL_AUTO, nodes=(walled,)).passed
    both = gate("safety", safety=Safety.FULL_AUTO, nodes=(walled, open_))
    assert both.passed and both.words.startswith(
        "full-auto, enforced by the sandbox; not on b, which has no sandbox"
    )
    assert gate("safety", safety=Safety.FULL_AUTO, nodes=(walled, open_), node="a").passed
    assert not gate("safety", safety=Safety.FULL_AUTO, nodes=(walled, open_), node="b").passed
    told = gate("safety", safety=Safety.FULL_AUTO, told_only=True)
    assert told.passed and told.warning and "stated in the prompt of claude but not enforced" in told.words


def test_the_sandbox_counts_before_the_runtime() -> None:
    walled, open_ = node("a", isolation=Isolation.SANDBOX), node("b")
    assert "enforced by the sandbox" in gate("safety", nodes=(walled,)).words
    assert "enforced by the sandbox or claude" in gate("safety", nodes=(walled, open_)).words


def test_a_refusal_names_what_each_node_lacks() -> None:
    """In the node's own words, which are no fix of ours."""
    problem = no_sandbox("bubblewrap is not installed", "sudo apt-get install bubblewrap")
    verdict = gate("safety", safety=Safety.FULL_AUTO, nodes=(node("a", problems=(problem,)),))
    assert not verdict.passed
    assert "nothing can enforce full-auto on runtime claude; a: no sandbox: bubblewrap" in verdict.words
    assert "(sudo apt-get install bubblewrap)" in verdict.words
    assert verdict.fix.startswith("use another runtime")
    assert "--allow-told-only" in verdict.fix


def test_where_nothing_can_run_it_the_cause_of_that_is_told() -> None:
    """Not that nothing enforces the rules, which another level of safety would not help."""
    refused = first_refused(judge(resolved(node("a", {}), safety=Safety.FULL_AUTO), VIEW))
    assert refused is not None and refused.gate == "routing"


def test_work_on_the_machine_itself_is_outside_and_said_so() -> None:
    walled = node("a", isolation=Isolation.SANDBOX)
    asked: dict[str, Any] = {"runtime": "shell", "task": "uptime", "nodes": (walled,)}
    outside = gate("safety", workspace="none", **asked)
    assert outside.passed and outside.warning and "outside any sandbox" in outside.words
    assert "enforced by the sandbox" in gate("safety", workspace="git", **asked).words
    inside = gate("safety", workspace="none", safety=Safety.FULL_AUTO, **asked)
    assert inside.passed and "full-auto, enforced by the sandbox" in inside.words
    assert "enforced by the sandbox" in gate("safety", workspace="none", agent="scout", **asked).words


def test_a_program_of_the_owners_choice_is_held_to_rules_for_commands_only_where_it_asks() -> None:
    walled = node("a", {"acp:vibe": "ok"}, isolation=Isolation.SANDBOX)
    words = gate("safety", runtime="acp:vibe", turns={"idle_ms": 1, "turn_ms": 1}, nodes=(walled,)).words
    assert words.startswith("auto-edit, enforced by the sandbox; command rules apply only where it asks")


def test_your_own_program_at_full_auto_wants_a_sandbox_too() -> None:
    asked: dict[str, Any] = {"runtime": "shell", "task": "make", "safety": Safety.FULL_AUTO}
    assert not gate("safety", **asked).passed
    assert gate("safety", told_only=True, **asked).passed
    assert gate("safety", nodes=(node("a", isolation=Isolation.SANDBOX),), **asked).passed


def test_a_script_of_the_users_own_may_be_dispatched_but_not_as_read_only() -> None:
    own = gate("safety", runtime="shell", task="make")
    assert own.passed and own.warning and "your own command; nothing enforces this" in own.words
    assert not gate("safety", runtime="shell", task="make", agent="scout").passed
    assert gate("safety", runtime="shell", task="make", agent="scout", told_only=True).passed
    assert gate("safety", runtime="scripted", agent="scout").passed


@pytest.mark.parametrize(
    ("parent", "options", "refusing"),
    [
        (Parent("r-1", Mode.BUILD, Safety.AUTO_EDIT, False), {}, []),
        (Parent("r-1", Mode.REVIEW, Safety.AUTO_EDIT, True), {"agent": "scout", "mode": Mode.REVIEW}, []),
        (Parent("r-1", Mode.REVIEW, Safety.AUTO_EDIT, True), {}, ["mode", "mutation"]),
        (Parent("r-1", Mode.BUILD, Safety.AUTO_EDIT, True), {}, ["mutation"]),
        (
            Parent("r-1", Mode.BUILD, Safety.AUTO_EDIT, False),
            {"safety": Safety.FULL_AUTO, "told_only": True},
            ["safety"],
        ),
    ],
)
def test_a_run_hands_on_no_more_than_it_has(
    parent: Parent, options: dict[str, Any], refusing: list[str]
) -> None:
    verdicts = judge(resolved(**options), replace(VIEW, parent=parent))
    assert [v.gate for v in verdicts if not v.passed] == refusing


@pytest.mark.parametrize(
    "options",
    [
        {"runtime": "shell", "task": "make"},
        {"safety": Safety.AUTO_EDIT, "runtime": "shell", "told_only": True},
    ],
)
def test_a_run_that_is_held_to_its_rule_starts_nothing_that_is_not(options: dict[str, Any]) -> None:
    """That nothing holds it, a user may allow; a run would otherwise free itself by a script."""
    held = Parent("r-1", Mode.BUILD, Safety.AUTO_EDIT, False)
    refused = gate("safety", replace(VIEW, parent=held), **options)
    assert not refused.passed and "r-1" in refused.fix and "told-only" not in refused.fix
    assert gate("safety", replace(VIEW, parent=replace(held, unheld=True)), **options).passed


def test_no_fix_for_a_run_raises_what_its_owner_has_set() -> None:
    parent = Parent("r-1", Mode.BUILD, Safety.AUTO_EDIT, False, depth=1)
    tight = replace(VIEW, max_depth=1, draining="new disk")
    for view in (tight, replace(tight, parent=parent)):
        verdicts = judge(resolved(depth=2), view)
        fixes = " ".join(v.fix for v in verdicts if not v.passed)
        assert ("fleet resume" in fixes and "max_depth" in fixes) is (view.parent is None)


def test_drain_and_recursion() -> None:
    assert "kernel update" in gate("drain", replace(VIEW, draining="kernel update")).words
    assert not gate("drain", replace(VIEW, draining="kernel update")).passed
    assert [gate("recursion", depth=depth).passed for depth in (0, 1, 2, 3)] == [True, True, False, False]
    assert not gate("recursion", replace(VIEW, max_depth=0)).passed
    assert "PANCODE_DISPATCH_MAX_DEPTH" in gate("recursion", depth=2).fix


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("", "the task is empty"),
        (" \n\t", "the task is empty"),
        ("x" * 1_000_001, "has 1000001 bytes"),
        ("\ud800", "is not valid text"),
        ("\U0001f600" * 250_001, "has 1000004 bytes"),
    ],
)
def test_tasks_that_cannot_be_carried(task: str, words: str) -> None:
    verdict = gate("task", task=task)
    assert not verdict.passed
    assert words in verdict.words


def test_an_argument_list_needs_no_task() -> None:
    assert gate("task", task="", argv=("uname", "-a"), runtime="shell").passed
    assert "contains a NUL" in gate("task", task="", argv=("a\0b",), runtime="shell").words


def test_paths_that_are_outside_or_missing_are_a_warning() -> None:
    """A pasted traceback names many, and nothing may be read for that."""
    inside = PathFact("src/a.py", "/home/ana/shop/src/a.py", True, True)
    missing = PathFact("src/b.py", "/home/ana/shop/src/b.py", True, False)
    outside = PathFact("/etc/passwd", "/etc/passwd", False, True)
    assert gate("paths", replace(VIEW, paths=(inside,))).words == "1 paths named, all inside the project"
    warning = gate("paths", replace(VIEW, paths=(inside, missing)))
    assert warning.passed and warning.warning and warning.words == "src/b.py is missing"
    mentioned = gate("paths", replace(VIEW, paths=(missing, outside)))
    assert mentioned.passed and mentioned.warning and "/etc/passwd" in mentioned.words
    assert gate("paths", replace(VIEW, paths=(outside,)), runtime="shell").passed
    assert gate("paths", replace(VIEW, paths=(outside,)), workspace="none").passed


def test_an_empty_folder_that_nobody_asked_for_is_a_warning() -> None:
    """A program that names no folder at all; a user always stands in one, see test_requested."""
    lost = gate("paths", project=None, cwd=None)
    assert lost.passed and lost.warning and "empty directory" in lost.words and "--workspace none" in lost.fix
    assert not gate("paths", project=None, workspace="none").warning


def test_the_budgets_refusal_has_the_numbers() -> None:
    day = ScopeView(Balance("day:2026-11-20", spent_usd=Decimal("9.50")), Ceilings(Decimal(10)))
    verdict = gate("budget", AdmissionView((day,)))
    assert not verdict.passed
    assert verdict.words == (
        "Dispatch blocked: Budget ceiling would be exceeded "
        "(spent: $9.50, reserved: $0.00, estimated next: $0.75, ceiling: $10.00)"
    )
    assert verdict.fix == "pancode budget set 11"


@pytest.mark.parametrize(
    ("scope", "ceilings", "fix"),
    [
        ("agent:scout", Ceilings(Decimal(0)), "pancode budget set 1 --scope agent:scout"),
        ("week:2026-W47", Ceilings(Decimal(0)), "pancode budget set 1 --scope week"),
        ("repo:/src/my shop", Ceilings(Decimal(0)), "pancode budget set 1 --scope 'repo:/src/my shop'"),
        ("node:gpubox", Ceilings(tokens=1), "pancode budget set --tokens "),
        ("day:2026-11-20", Ceilings(ms=1), "pancode budget set --minutes "),
    ],
)
def test_the_budgets_refusal_has_a_command_to_paste(scope: str, ceilings: Ceilings, fix: str) -> None:
    found = gate(
        "budget", AdmissionView((ScopeView(Balance(scope, tokens=5, agent_ms=70_000), ceilings),))
    ).fix
    assert found.startswith(fix) and "(scope" not in found and "USD" not in found


def test_a_workflows_own_budget_is_no_ceiling_that_is_set() -> None:
    view = AdmissionView((ScopeView(Balance("workflow:w-1"), Ceilings(Decimal(0))),))
    assert "budget set" not in gate("budget", view).fix


def test_the_budget_fits_to_the_cent_and_any_scope_can_refuse() -> None:
    exact = ScopeView(Balance("day:x", Decimal("9.00"), Decimal("0.25")), Ceilings(Decimal(10)))
    assert gate("budget", AdmissionView((exact,))).passed
    over = ScopeView(Balance("day:x", Decimal("9.00"), Decimal("0.26")), Ceilings(Decimal(10)))
    assert not gate("budget", AdmissionView((over,))).passed
    agent = ScopeView(Balance("agent:builder", Decimal(1)), Ceilings(Decimal(1)))
    assert not gate("budget", AdmissionView((exact, agent))).passed
    assert gate("budget", AdmissionView((over, agent)), runtime="shell").passed is True
    assert gate("budget", AdmissionView((ScopeView(Balance("day:x")),))).words.endswith("no ceiling")


def test_what_costs_nothing_is_refused_by_no_ceiling_of_dollars() -> None:
    over = ScopeView(Balance("day:x", Decimal(11)), Ceilings(Decimal(10)))
    assert not gate("budget", AdmissionView((over,))).passed
    assert gate("budget", AdmissionView((over,)), runtime="shell").passed
    minutes = ScopeView(Balance("day:x", agent_ms=60_000), Ceilings(ms=60_000))
    assert not gate("budget", AdmissionView((minutes,)), runtime="shell").passed, "its time is not nothing"


def test_the_fix_of_a_full_day_frees_what_is_held_or_raises_it() -> None:
    balance = Balance("day:x", reserved_usd=Decimal(10), unknown_runs=2)
    full = ScopeView(balance, Ceilings(Decimal(10)), ("say what r-1 cost: X", "let r-2 rest: Y"))
    assert "pancode budget set 11" in gate("budget", AdmissionView((full,))).fix


def test_unknown_costs_are_said() -> None:
    verdict = gate(
        "budget",
        AdmissionView(
            (ScopeView(Balance("day:x"), Ceilings(Decimal(10))),), unknown=("r-1", "r-2", "r-3", "r-4")
        ),
    )
    assert (
        verdict.passed and verdict.warning and "cost of r-1, r-2, r-3 and 1 other is unknown" in verdict.words
    )


def test_an_agent_that_is_switched_off() -> None:
    off = {"agents": {"builder": replace(BUILDER, enabled=False), "scout": SCOUT}}
    assert "builder is disabled" in gate("agent", settings=off).words
    assert gate("agent", agent="scout").words == "agent scout: read-only, tools read, grep, find, ls"


@pytest.mark.parametrize(
    ("options", "passes", "words"),
    [
        ({"nodes": (node("desk"), node("gpubox"))}, True, "runtime claude on desk, gpubox"),
        ({"nodes": (node("desk"),), "model": "opus"}, True, "runtime claude with opus on desk"),
        ({"nodes": (node("desk", {}),)}, False, "no node can run it: desk has no runtime claude"),
        ({"nodes": (node("desk"),), "require": {"gpu": "y"}}, False, "desk has no label gpu=y"),
        ({"nodes": (node("a"), node("b", {})), "node": "b"}, False, "b has no runtime claude"),
        ({"nodes": (node("a", state=NodeState.LOST),)}, True, "it would wait: a is lost"),
        (
            {"nodes": (node("a", {"claude": "looking"}),)},
            True,
            "it would wait: a is still checking whether it has runtime claude",
        ),
        (
            {"model": "groq/qwen3", "runtime": "claude"},
            False,
            "runtime claude cannot use model groq/qwen3 of groq",
        ),
        ({"runtime": "opencode"}, False, "runtime opencode has no default model"),
    ],
)
def test_routing(options: dict[str, Any], passes: bool, words: str) -> None:
    verdict = gate("routing", **options)
    assert verdict.passed is passes
    assert words in verdict.words
    assert verdict.fix or passes


def test_an_empty_fleet() -> None:
    bare = resolved()
    verdict = judge(replace(bare, candidates=()), VIEW)[9]
    assert not verdict.passed
    assert (verdict.words, verdict.fix) == ("Dispatch blocked: the fleet has no nodes", NO_NODE)
    assert "--local" in NO_NODE and "fleet up" not in NO_NODE  # fleet up adds no node


def test_the_model_of_the_fleet_counts_for_routing() -> None:
    settings = {"defaults": Defaults(model="groq/qwen3:8b")}
    assert not gate("routing", settings=settings, runtime="claude").passed
    assert gate("routing", settings=settings, runtime="shell").passed


def signed_size(script: str) -> int:
    """Bytes of the largest job that a node could be sent for this script, as it is really signed."""
    run = resolved(runtime="shell", task=script).run(f"r-{24 * 'b'}", MOST, 64 * "t", {"kind": "none"})
    longest = FleetTime(epoch=MOST, ms=MOST)
    job = job_for(replace(run, attempt=LAST_ATTEMPT), f"f-{24 * 'f'}", 10 * "a", MOST, (MOST, longest))
    return len(job.signed(SigningKey(bytes(32))).model_dump_json())


def script_of(size: int) -> str:
    """A script, small as such, whose job has just this size: a control character is six in JSON."""
    task = "#" + (MAX_ENVELOPE_BYTES * 3 // 4 // 6 - 2_000) * "\x01"
    while signed_size(task) < size:
        task += "x" * max(1, (size - signed_size(task)) * 3 // 4 - 8)
    return task


def test_a_job_that_no_node_would_read_is_refused_before_it_is_made() -> None:
    spare = 400  # what a git workspace would take besides, which the gate counts in
    small = script_of(MAX_ENVELOPE_BYTES - spare)
    assert len(small) < MAX_TASK_BYTES and gate("task", runtime="shell", task=small).passed
    large = script_of(MAX_ENVELOPE_BYTES + 1)
    verdict = gate("task", runtime="shell", task=large)
    assert not verdict.passed and f"the limit is {MAX_ENVELOPE_BYTES}" in verdict.words
    error = refusal_error(verdict)
    assert (error.exit_code, error.code) == (ExitCode.REFUSED, "refused_task") and error.why and error.fix


@pytest.mark.parametrize("over", [0, 1])
def test_the_bound_of_a_job_to_the_byte(over: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolved(runtime="shell", task="true", verify=("make check",))
    run = asked.run(f"r-{24 * 'x'}", MOST, 64 * "x", request._LARGEST_WORKSPACE)
    monkeypatch.setattr(request, "MAX_ENVELOPE_BYTES", size_of(run) - over)
    assert request.judge_task(asked, VIEW).passed is (over == 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"runtime": "shell", "task": "cd x\nterraform apply"},
            "the script cd x terraform apply: rule command",
        ),
        ({"runtime": "shell", "task": "", "argv": ("sh", "-c", "terraform apply")}, "the script sh -c"),
        ({"verify": ("te''rraform plan",)}, "verify terraform plan: rule command: ^terraform (your f:1): no"),
        ({"runtime": "shell", "task": "make"}, None),
        ({"task": "explain what terraform does"}, None),
    ],
)
def test_commands_that_a_rule_forbids_are_not_dispatched(options: dict[str, Any], words: str | None) -> None:
    rule = CommandRule(pattern="^terraform", reason="no", origin="your f:1")
    found = replace(resolved(**options), rules=Rules(commands=(rule,)))
    said = judge(found, VIEW)[NAMES.index("safety")]
    assert said.passed is (words is None)
    assert words is None or words in said.words
