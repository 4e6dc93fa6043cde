"""What a request resolves to, and everything that is wrong with one, told at once."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from node_agent.wire.endpoint import Sampling
from node_agent.wire.job import Reasoning
from node_agent.wire.model import FleetTime
from node_agent.wire.node import Allowed, NodeProblem
from node_agent.wire.policy import Isolation, Mode, Safety
from node_agent.wire.skill import JobSkill, digest_of, pack_files
from pancode.agents.agents import AgentIsolation, AgentLimits, Role, Speed
from pancode.agents.runtimes import RUNTIMES
from pancode.kernel.declared import to_json
from pancode.kernel.errors import ExitCode, NotFoundError, PancodeError, UsageError
from pancode.kernel.node import NodeState
from pancode.kernel.records import Decision
from pancode.runs.admission.model_choice import reasoning_for
from pancode.runs.admission.resolution import Unresolved, resolve
from pancode.runs.dispatch import put_in_queue, run_of
from pancode.runs.facts import Provision
from pancode.runs.life.jobs import job_for, limits_of, skill_marks
from pancode.runs.request import Defaults, GivenSkills, Project, PromptParts
from pancode.runs.unit_of_work import unit_of_work
from tests.unit.pancode.kernel import fleets
from tests.unit.pancode.kernel.fleets import AGENTS, BUILDER, SCOUT, catalogue, node, request, resolved
from tests.unit.pancode.runs.world import Desk


def problems(settings: dict[str, Any] | None = None, **options: Any) -> tuple[PancodeError, ...]:
    found = resolve(request(**options), catalogue(node("desk"), node("gpubox"), **(settings or {})))
    assert isinstance(found, Unresolved)
    return found.problems


def test_what_is_not_said_is_the_fleets_own() -> None:
    found = resolved()
    assert (found.agent.name, found.runtime.name, found.mode, found.safety) == (
        "builder",
        "claude",
        Mode.BUILD,
        Safety.AUTO_EDIT,
    )
    assert (found.workspace, found.model, found.on_lost, found.max_attempts) == ("git", None, "ask", None)
    assert found.due.usd == Decimal("0.75")
    assert found.limits.usd is None


@pytest.mark.parametrize(
    ("options", "agent", "expected"),
    [
        ({}, BUILDER, "claude"),
        ({}, replace(BUILDER, runtime="cli:codex"), "codex"),
        ({"runtime": "shell"}, replace(BUILDER, runtime="codex"), "shell"),
        ({"model": "google/gemini-3"}, BUILDER, "gemini"),
        ({"runtime": "cli:claude-code", "model": "opus"}, BUILDER, "claude"),
    ],
)
def test_runtime_flag_then_agent_then_model_then_fleet(
    options: dict[str, Any], agent: Any, expected: str
) -> None:
    assert resolved(settings={"agents": {"builder": agent}}, **options).runtime.name == expected


def test_model_flag_then_agent_then_fleet_and_none_for_own_programs() -> None:
    settings = {"defaults": Defaults(model="anthropic/haiku")}
    agents = {"builder": replace(BUILDER, model="anthropic/sonnet")}
    assert resolved(settings=settings).model == "haiku"
    assert resolved(settings={**settings, "agents": agents}).model == "sonnet"
    assert resolved(settings={**settings, "agents": agents}, model="opus").model == "opus"
    assert resolved(settings=settings, runtime="shell").model is None
    assert resolved(settings=settings, runtime="shell").prompt.text == ""


def test_limits_flag_then_agent_then_fleet() -> None:
    own = AgentLimits(wall_ms=5, tokens=7, usd=Decimal(3))
    agents = {"builder": replace(BUILDER, limits=own)}
    defaults = Defaults(per_run_usd=Decimal(2), idle_ms=9)
    found = resolved(settings={"agents": agents, "defaults": defaults}).limits
    assert (found.wall_ms, found.idle_ms, found.tokens, found.usd) == (5, 9, 7, Decimal(2))
    asked = resolved(
        settings={"agents": agents, "defaults": defaults}, timeout_ms=6, budget=Decimal(4)
    ).limits
    assert (asked.wall_ms, asked.usd) == (6, Decimal(4))
    wire = limits_of(to_json(asked))
    assert (wire.wall_ms, wire.usd, wire.tokens) == (6, Decimal(4), 7)


def test_limits_of_calls_and_the_last_turn() -> None:
    agents = {"builder": replace(BUILDER, limits=AgentLimits(requests=7, wrap_up=False))}
    fleet = {"defaults": Defaults(requests=9, wrap_up=True)}
    for settings, options, expected in (
        ({}, {}, (None, False)),
        (fleet, {}, (9, True)),
        ({**fleet, "agents": agents}, {}, (7, False)),
        ({**fleet, "agents": agents}, {"max_requests": 3, "wrap_up": True}, (3, True)),
        (fleet, {"runtime": "shell"}, (None, False)),
    ):
        wire = limits_of(to_json(resolved(settings=settings, **options).limits))
        assert (wire.requests, wire.wrap_up) == expected, options
    said = problems(runtime="shell", max_requests=3, wrap_up=True)
    assert "--max-requests" in str(said[0])
    assert "more than 0" in str(problems(max_requests=0)[0])
    assert limits_of({"wall_ms": 1, "idle_ms": 1, "output_bytes": 1}).requests is None, "of an older ledger"


def test_limits_of_what_a_run_takes_of_a_machine() -> None:
    fleet = {"defaults": Defaults(memory_bytes=1 << 30, processes=300)}
    wire = limits_of(to_json(resolved(settings=fleet).limits))
    assert (wire.memory_bytes, wire.processes) == (1 << 30, 300)
    assert limits_of(to_json(resolved().limits)).processes is None


@pytest.mark.parametrize(
    ("options", "estimate"),
    [
        ({}, "0.75"),
        ({"budget": Decimal("0.10")}, "0.10"),
        ({"budget": Decimal(5)}, "0.75"),
        ({"agent": "scout"}, "0.02"),
        ({"agent": "scout", "model": "opus"}, "1.5"),
        ({"agent": "scout", "model": "opus", "budget": Decimal(1)}, "1"),
        ({"runtime": "shell"}, "0"),
        ({"runtime": "scripted", "budget": Decimal("0.5")}, "0.5"),
    ],
)
def test_the_estimate(options: dict[str, Any], estimate: str) -> None:
    assert resolved(settings={"expect": fleets.told_of_scouts}, **options).due.usd == Decimal(estimate)


def test_gates_and_setup_of_the_project_and_of_the_request() -> None:
    project = Project(
        setup=(("npm", "ci"),), cache=("lib",), verify=(("make", "check"),), env=("LANG",), secrets=("KEY",)
    )
    settings = {"project": project}
    assert resolved(settings=settings).gates == (("make", "check"),)
    assert resolved(settings=settings, verify=("pytest -q", "ruff check .")).gates == (
        ("pytest", "-q"),
        ("ruff", "check", "."),
    )
    assert resolved(settings=settings, verify=()).gates == ()
    none = resolved(settings=settings, workspace="none")
    assert (none.gates, none.setup, none.cache, none.project) == ((), (), (), None)
    found = resolved(settings=settings)
    assert (found.setup, found.cache) == ((("npm", "ci"),), ("lib",))


def test_outside_a_repository_an_empty_folder_has_to_be_asked_for() -> None:
    (problem,) = problems({}, project=None)
    assert isinstance(problem, UsageError) and problem.code == "no_repository"
    assert "--workspace none" in problem.fix and "/home/ana/shop" in str(problem)
    settings = {"project": Project(verify=(("make",),))}
    found = resolved(settings=settings, project=None, workspace="none")
    assert (found.workspace, found.gates) == ("none", ())


@pytest.mark.parametrize(
    ("options", "kind", "words", "code"),
    [
        ({"node": "gpubx"}, NotFoundError, "node 'gpubx' not found", 4),
        ({"agent": "bilder"}, NotFoundError, "agent 'bilder' not found", 4),
        ({"runtime": "claud"}, NotFoundError, "runtime 'claud' not found", 4),
        ({"verify": ("a && b",)}, UsageError, "--verify: 'a && b' needs a shell", 2),
        ({"timeout_ms": 0}, UsageError, "--timeout must be more than 0", 2),
        ({"attempts": -1}, UsageError, "--attempts must be more than 0", 2),
        ({"budget": Decimal(-1)}, UsageError, "--budget", 2),
        ({"budget": Decimal("NaN")}, UsageError, "--budget", 2),
        ({"budget": Decimal("1E+999999")}, UsageError, "--budget", 2),
        ({"budget": Decimal("1E-10")}, UsageError, "--budget", 2),
        ({"on_lost": "never"}, UsageError, "--on-lost 'never'", 2),
        ({"workspace": "git", "project": None}, UsageError, "is not in a git repository", 2),
        ({"workspace": "none", "land": True}, UsageError, "--land requires", 2),
        ({"argv": ("ls", "-l"), "task": ""}, UsageError, "requires the runtime shell", 2),
        ({"argv": ("ls",)}, UsageError, "requires the runtime shell", 2),
        ({"argv": ("ls",), "runtime": "shell"}, UsageError, "cannot be combined", 2),
        ({"argv": (), "runtime": "shell", "task": ""}, UsageError, "command is required after --", 2),
    ],
)
def test_what_does_not_fit(options: dict[str, Any], kind: type[PancodeError], words: str, code: int) -> None:
    found = problems(**options)
    assert len(found) == 1
    assert isinstance(found[0], kind)
    assert words in str(found[0])
    assert found[0].exit_code == ExitCode(code)
    assert found[0].fix or found[0].why


def test_one_word_after_the_dashes_is_the_task_of_an_agent_and_a_program_of_a_shell() -> None:
    odd = "-rf --agent x: is what it says; repair it"
    for runtime in ("claude", "scripted"):
        run = resolved(runtime=runtime, argv=(odd,), task="").run("r-abcd", 7, "t", {"kind": "none"})
        assert (run.task, run.argv) == (odd, None)
    run = resolved(runtime="shell", argv=("uname",), task="").run("r-abcd", 7, "t", {"kind": "none"})
    assert (run.task, run.argv) == ("", ("uname",))


def test_all_problems_are_told_at_once() -> None:
    assert len(problems(node="x", agent="y", verify=("a|b",), timeout_ms=-1)) == 4


def test_a_mistyped_node_names_the_nearest_and_a_removed_one_is_not_there() -> None:
    assert "gpubox?" in problems(node="gpubx")[0].why
    gone = resolve(request(node="old"), catalogue(node("old", removed="removed"), node("desk")))
    assert isinstance(gone, Unresolved) and isinstance(gone.error, NotFoundError)


def test_every_node_is_a_candidate_with_its_reason() -> None:
    nodes = (
        node("a", labels={"gpu": "24g"}),
        node("b"),
        node("c", {"shell": "ok"}, labels={"gpu": "24g"}),
        node("d", {"claude": "not_logged_in"}, labels={"gpu": "24g"}),
        node("e", labels={"gpu": "24g"}, state=NodeState.UNREACHABLE),
        node("f", labels={"gpu": "24g"}, mute=True),
        node("g", labels={"gpu": "24g"}, draining="kernel update"),
        node("h", labels={"gpu": "24g"}, paused="lunch"),
        node("i", labels={"gpu": "24g"}, removed="removed, not cleaned"),
    )
    found = resolved(*reversed(nodes), require={"gpu": "24g"}).candidates
    assert [(c.name, c.fits, c.ready, c.why) for c in found] == [
        ("a", True, True, "can take it"),
        ("b", False, False, "has no label gpu=24g"),
        ("c", False, False, "has no runtime claude"),
        ("d", False, False, "runtime claude is not logged in (fix claude)"),
        ("e", True, False, "is unreachable, as it sends no heartbeats"),
        ("f", True, False, "has sent no heartbeat yet"),
        ("g", True, False, "is draining: kernel update"),
        ("h", True, False, "is paused: lunch"),
    ]  # and not the removed one
    assert (found[1].fix, found[3].fix) == ("pancode node set b --label gpu=24g", "pancode agents runtimes")
    assert [c.name for c in resolved(*nodes, node="b").candidates if c.fits] == ["b"]


SHELL_ONLY, ONE_REPO = Allowed(runtimes=("shell",)), Allowed(repositories=("shop-1",))


@pytest.mark.parametrize(
    ("allows", "options", "why"),
    [
        (Allowed(), {}, "can take it"),
        (SHELL_ONLY, {}, "may not take it: this node's owner does not allow runtime claude"),
        (SHELL_ONLY, {"runtime": "shell"}, "can take it"),
        (Allowed(safety=Safety.AUTO_EDIT), {"safety": Safety.AUTO_EDIT}, "can take it"),
        (
            Allowed(safety=Safety.AUTO_EDIT),
            {"safety": Safety.FULL_AUTO},
            "may not take it: safety level full-auto is above this node's ceiling auto-edit",
        ),
        (ONE_REPO, {}, "can take it"),  # what the repository is called is known after its snapshot
        (ONE_REPO, {"repo": "shop-1"}, "can take it"),
        (
            ONE_REPO,
            {"repo": "other-1"},
            "may not take it: this node's owner does not allow repository other-1",
        ),
        (Allowed(closed="its file cannot be read"), {}, "may not take it: its file cannot be read"),
    ],
)
def test_what_its_owner_allows_decides_whether_a_node_fits(
    allows: Allowed, options: dict[str, Any], why: str
) -> None:
    (found,) = resolved(node("a", allows=allows), **options).candidates
    assert (found.fits, found.why) == (why == "can take it", why)
    assert found.fits or "ceiling.json" in found.fix


def test_a_node_that_is_shut_fits_and_takes_nothing_now() -> None:
    shut = NodeProblem(what="less than 512 MB free", fix="free disk space on the node")
    (found,) = resolved(node("a", shut=shut)).candidates
    assert (found.fits, found.ready) == (True, False)
    assert (found.why, found.fix) == (
        "accepts no work: less than 512 MB free (free disk space on the node)",
        "pancode node show a",
    )


def test_the_run_that_is_queued_says_what_was_resolved() -> None:
    asked: dict[str, Any] = {
        "verify": ("pytest -q",),
        "require": {"gpu": "24g"},
        "priority": 3,
        "budget": Decimal("0.5"),
    }
    found = resolved(node("a", labels={"gpu": "24g"}), agent="scout", retry_of="r-1", **asked)
    run = found.run("r-abcd", 7, "t", {"kind": "git"})
    assert (run.id, run.created_ms, run.trace, run.workspace) == ("r-abcd", 7, "t", {"kind": "git"})
    assert run.gates == ({"name": "pytest -q", "argv": ["pytest", "-q"]},)
    assert (run.agent, run.tools, run.read_only) == ("scout", SCOUT.tools, True)
    assert (run.require, run.priority, run.retry_of) == ({"gpu": "24g"}, 3, "r-1")
    assert run.estimate_usd == Decimal("0.5")
    assert run.limits["usd"] == "0.5"
    assert run.prompt.startswith(AGENTS["scout"].prompt)


def test_the_task_chooses_where_nobody_names_an_agent() -> None:
    looker = replace(SCOUT, name="reviewer")
    settings: dict[str, Any] = {"agents": {**AGENTS, "reviewer": looker}}
    found = resolved(task="review src/a.py", settings=settings)
    assert (found.agent.name, found.chosen) == ("reviewer", "the task begins with “review”")
    desk = Desk()
    with unit_of_work(desk.core) as work:
        put_in_queue(work, run_of(desk.core, found, "r-0001"), found)
    (told,) = (one for one in desk.rows(Decision, run="r-0001") if one.kind == "agent")
    assert (told.what, told.verdict, told.detail) == ("reviewer", "chosen", found.chosen)
    assert resolved(task="review it", mode=Mode.REVIEW, settings=settings).agent.name == "reviewer"
    asked: tuple[dict[str, Any], ...] = (
        {"agent": "builder"},
        {"settings": {**settings, "defaults": Defaults(agent="builder")}},
    )
    for said in asked:
        named = resolved(task="review it", **{"settings": settings, **said})
        assert (named.agent.name, named.chosen) == ("builder", ""), "who is named is not chosen"


@pytest.mark.parametrize(
    "options",
    [
        {"runtime": "shell", "task": "find . -name '*.py'"},
        {"runtime": "shell", "task": "", "argv": ("find", ".")},
        {"settings": {"defaults": Defaults(runtime="shell")}, "task": "list"},
    ],
)
def test_a_script_is_no_task_in_words(options: dict[str, Any]) -> None:
    found = resolved(**options)
    assert (found.agent.name, found.chosen) == ("builder", "")


@pytest.mark.parametrize(
    ("speed", "own", "options", "expected"),
    [
        (Speed.BALANCED, AgentLimits(), {}, (3_600_000, 600_000, None)),
        (Speed.FAST, AgentLimits(), {}, (900_000, 300_000, Reasoning.LOW)),
        (Speed.THOROUGH, AgentLimits(), {}, (3_600_000, 1_200_000, Reasoning.HIGH)),
        (Speed.FAST, AgentLimits(wall_ms=7, idle_ms=8), {}, (7, 8, Reasoning.LOW)),
        (Speed.FAST, AgentLimits(), {"timeout_ms": 9}, (9, 300_000, Reasoning.LOW)),
        (Speed.FAST, AgentLimits(), {"reasoning": Reasoning.HIGH}, (900_000, 300_000, Reasoning.HIGH)),
    ],
)
def test_speed_is_time_and_thought(
    speed: Speed, own: AgentLimits, options: dict[str, Any], expected: tuple[int, int, Reasoning | None]
) -> None:
    agents = {"builder": replace(BUILDER, speed=speed, limits=own)}
    found = resolved(settings={"agents": agents, "defaults": Defaults(idle_ms=600_000)}, **options)
    assert (found.limits.wall_ms, found.limits.idle_ms, found.reasoning) == expected
    wall_ms, *_ = expected
    alone = resolved(settings={"agents": agents}, **options).limits
    assert alone.idle_ms == (own.idle_ms or wall_ms), "as shipped silence ends nothing by itself"


@pytest.mark.parametrize(
    ("mode", "runtime", "level"),
    [
        (Mode.BUILD, "claude", Reasoning.MEDIUM),
        (Mode.PLAN, "codex", Reasoning.HIGH),
        (Mode.REVIEW, "claude", Reasoning.XHIGH),
        (Mode.ADMIN, "gemini", Reasoning.HIGH),
        (Mode.ADMIN, "native", None),
        (Mode.ADMIN, "shell", None),
    ],
)
def test_who_leads_thinks_as_its_mode_asks(mode: Mode, runtime: str, level: Reasoning | None) -> None:
    lead = replace(BUILDER, said_role=Role.LEAD)
    asked = request(mode=mode)
    assert reasoning_for(asked, lead, RUNTIMES[runtime], catalogue()) == (level, None)
    own = replace(lead, reasoning=Reasoning.LOW)
    if level is not None:
        assert reasoning_for(asked, own, RUNTIMES[runtime], catalogue())[0] is Reasoning.LOW


def test_an_agent_names_its_machine_and_a_flag_counts_more() -> None:
    agents = {"builder": replace(BUILDER, node="gpubox")}
    fleet = node("gpubox"), node("vm")
    assert resolved(*fleet, settings={"agents": agents}).request.node == "gpubox"
    assert resolved(*fleet, settings={"agents": agents}, node="vm").request.node == "vm"


def test_speed_asks_no_runtime_for_what_it_cannot_do_and_settings_go_first() -> None:
    agents = {"builder": replace(BUILDER, speed=Speed.THOROUGH)}
    assert resolved(settings={"agents": agents}, runtime="shell").reasoning is None
    asked = request(), agents["builder"], RUNTIMES["native"]
    assert reasoning_for(*asked, catalogue())[0] is None, "nobody knows whether its model takes a level"
    fleets = catalogue(defaults=Defaults(reasoning=Reasoning.LOW))
    assert reasoning_for(*asked, fleets)[0] is Reasoning.LOW, "a wish of the owner is handed on"
    wished = {"agents": agents, "defaults": Defaults(reasoning=Reasoning.LOW)}
    assert resolved(settings=wished).reasoning is Reasoning.LOW
    short = {"agents": agents, "defaults": Defaults(wall_ms=500, idle_ms=400)}
    assert resolved(settings=short).limits.idle_ms == 500, "silence is never longer than the run"


def test_turns_go_from_the_agent_to_the_job() -> None:
    agents = {"builder": replace(BUILDER, limits=AgentLimits(turns=7))}
    assert limits_of(to_json(resolved(settings={"agents": agents}).limits)).turns == 7
    assert resolved(settings={"agents": agents}, runtime="shell").limits.turns is None
    assert limits_of({"wall_ms": 1, "idle_ms": 1, "output_bytes": 1}).turns is None, "of an older ledger"


def test_an_agent_that_works_on_a_checkout_only() -> None:
    agents = {"builder": replace(BUILDER, isolations=AgentIsolation.WORKTREE, origin="panagents.yaml:3")}
    assert resolved(settings={"agents": agents}).workspace == "git"
    for options in ({"workspace": "none"}, {"workspace": "none", "project": None}):
        (problem,) = problems({"agents": agents}, **options)
        assert isinstance(problem, UsageError) and problem.code == "needs_worktree"
        assert "panagents.yaml:3" in problem.why
    none = {"builder": replace(BUILDER, isolations=AgentIsolation.NONE)}
    assert resolved(settings={"agents": none}, workspace="none").workspace == "none"


def test_what_only_a_definition_says_goes_with_the_run_into_its_job() -> None:
    warm = Sampling(temperature=Decimal("0.2"), top_k=20)
    agents = {"builder": replace(BUILDER, isolations=AgentIsolation.CONTAINER, sampling=warm)}
    walled = node("walled", isolation=Isolation.SANDBOX)
    found = resolved(walled, settings={"agents": agents})
    run = found.run("r-1234", 1, "t", {"kind": "none"})
    job = job_for(run, "f-test", "0123456789", 1, (1, FleetTime(epoch=1, ms=1)))
    assert job.policy.walled and job.agent.sampling == warm
    plain = resolved().run("r-1234", 1, "t", {"kind": "none"})
    job = job_for(plain, "f-test", "0123456789", 1, (1, FleetTime(epoch=1, ms=1)))
    assert (job.policy.walled, job.agent.sampling, plain.terms) == (False, None, {"verify_retries": 1})


def test_what_an_agent_is_given_and_how_often_it_is_tried_go_into_its_run() -> None:
    own = replace(BUILDER, env=("PGHOST", "LANG"), secrets=("PGPASSWORD",), max_attempts=3)
    settings = {"agents": {"builder": own}, "project": Project(env=("LANG",), secrets=("KEY",))}
    found = resolved(settings=settings)
    run = found.run("r-1234", 1, "t", {"kind": "none"})
    assert (run.env, run.secrets, run.max_attempts) == (("LANG", "PGHOST"), ("KEY", "PGPASSWORD"), 3)
    job = job_for(run, "f-test", "0123456789", 1, (1, FleetTime(epoch=1, ms=1)))
    assert (job.env, job.secrets) == (run.env, run.secrets)
    assert resolved(settings=settings, attempts=1).max_attempts == 1
    assert resolved(settings={"defaults": Defaults(max_attempts=2)}).max_attempts == 2
    fleet = {"agents": {"builder": own}, "defaults": Defaults(max_attempts=2)}
    assert resolved(settings=fleet).max_attempts == 3


def test_what_fills_the_first_call_is_estimated() -> None:
    found = resolved(task="x" * 40, settings={"project": Project(guide_chars=400)})
    assert (found.prompt.tokens["task"], found.prompt.tokens["context"]) == (10, 100)
    assert found.prompt.tokens["system"] > 100 and found.prompt.tokens["tools"] > 10
    elsewhere = resolved(workspace="none", settings={"project": Project(guide_chars=400)})
    assert elsewhere.prompt.tokens["context"] == 0
    assert resolved(runtime="shell").prompt.tokens == {}


def test_an_agent_that_only_reads_gets_no_copies() -> None:
    settings = {"project": Project(copies=(".env",), copied="sealed")}
    scout, shell = {"agent": "scout"}, {"runtime": "shell"}
    for changes, copied in (({}, "sealed"), (scout, ""), ({**scout, **shell}, ""), (shell, "sealed")):
        plan = resolved(settings=settings, **changes)
        assert Provision.of(plan.run("r-0001", 1, "t" * 16, {"kind": "git"})).copied == copied
        assert any(line.kind == "copies" for line in plan.timeline) is bool(copied)


def test_skills_go_into_the_job_of_a_program_that_reads_them() -> None:
    asked: list[tuple[str, ...]] = []
    files = {"SKILL.md": (b"Do it.", False)}
    one = JobSkill(name="deploy", digest=digest_of(files), packed=pack_files(files))

    def parts(skills: tuple[str, ...]) -> PromptParts:
        asked.append(skills)
        return PromptParts(skills=GivenSkills((one,), ("look has errors",)))

    settings = {"agents": {"builder": replace(BUILDER, skills=("deploy",))}, "parts": parts}
    found = resolved(settings=settings)
    assert (found.skills, found.skills_left_out) == ((one,), ("look has errors",))
    run = found.run("r-1234", 1, "t", {"kind": "none"})
    at = (1, FleetTime(epoch=1, ms=1))
    assert job_for(run, "f-test", "0123456789", 1, at).skills == (one,)
    assert [mark.name for mark in skill_marks(run)] == ["deploy"]
    moved = replace(run, runtime="acp:other")
    assert job_for(moved, "f-test", "0123456789", 1, at).skills == () == skill_marks(moved)
    talked = resolved(settings=settings, runtime="acp:other", turns={"idle_ms": 1, "turn_ms": 1})
    assert talked.skills_left_out == ("runtime acp:other does not support skills: deploy of agent builder",)
    assert asked == [("deploy",), ("deploy",)]
    assert resolved(settings=settings, runtime="shell").skills == () and len(asked) == 2


def test_a_skill_that_cannot_be_given_stops_who_names_it() -> None:
    def parts(skills: tuple[str, ...]) -> PromptParts:
        raise NotFoundError("there is no skill deploy", fix="pancode skills ls")

    (problem,) = problems({"parts": parts})
    assert "deploy" in str(problem)
