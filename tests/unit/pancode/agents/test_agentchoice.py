"""Which agent a task is given to when nobody says, and what is said about it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from node_agent.wire.policy import Mode
from pancode.agents.agents import READ_TOOLS, TOOLS, WHICH_AGENT, Agent, Agents, choose
from pancode.config.agents.definitions import load_agents
from pancode.config.schema import Settings
from pancode.kernel.errors import UsageError

SHIPPED: Agents = load_agents(Path("/nonexistent"), Settings(), {}).agents


@pytest.mark.parametrize(
    ("task", "agent"),
    [
        ("add a --json flag to export", "builder"),
        ("fix the login", "builder"),
        ("", "builder"),
        ("  \n ", "builder"),
        ("Review the authentication module in src/auth/ for style", "reviewer"),
        ("please review src/core/config.ts", "reviewer"),
        ("Can you please, review this?", "reviewer"),
        ("Review the authentication module in src/auth/ for security issues", "red-team"),
        ("audit the upload endpoint for injections", "red-team"),
        ("attack the login form", "red-team"),
        ("review the plan in docs/plan.md", "plan-reviewer"),
        ("check the migration plan", "plan-reviewer"),
        ("check this plan", "plan-reviewer"),
        ("plan the auth refactor", "planner"),
        ("write a migration plan", "planner"),
        ("make a plan for the auth refactor", "planner"),
        ("Design the cache", "planner"),
        ("document the public API", "documenter"),
        ("write docs for the parser", "documenter"),
        ("update the README", "documenter"),
        ("add documentation to export()", "documenter"),
        ("explore what test frameworks are in use", "scout"),
        ("where is the token checked?", "scout"),
        ("What calls parse()?", "scout"),
        ("how does the cache work", "scout"),
        ("finder.py is broken, repair it", "builder"),
        ("documents are lost when saving", "builder"),
        ("planning page: add a button", "builder"),
        ("explain the bug and fix it", "builder"),
        ("review src/a.py, then repair what you find", "builder"),
        ("review the fix in src/a.py", "reviewer"),
        ("find all uses of foo; rename them", "builder"),
        ("make it so that reviewers can list plans", "builder"),
        ("Scout the src/ directory for architecture violations", "scout"),
        ("please scout the tests", "scout"),
        ("Analyze the auth module", "scout"),
        ("Compare lib/a.py and lib/b.py", "scout"),
        ("Look for dead code", "scout"),
        ("Check the parser for bugs", "reviewer"),
        ("Security review of the upload", "red-team"),
        ("Analyze src/auth/ for vulnerabilities", "red-team"),
        ("check in the generated files", "builder"),
        ("check-in the lock file", "builder"),
        ("Analyze the failure and fix it", "builder"),
    ],
)
def test_a_task_goes_to_whom_its_beginning_asks_for(task: str, agent: str) -> None:
    found = choose(SHIPPED, task, Mode.BUILD)
    assert found.agent.name == agent
    assert found.why
    assert choose(SHIPPED, task, Mode.BUILD) == found


TYPED = [
    # what the documents and their readers typed, with a file, a gate or a change in the words
    ("check.py fails. Find out why and mend greet.py.", "builder"),
    ("document.tex does not compile", "builder"),
    ("plan.md is out of date, bring it up to date", "builder"),
    ("where.sql breaks: mend it", "builder"),
    ("review/list.py prints twice", "builder"),
    ("design.md has typos", "builder"),
    ("Analyse why it is slow, then speed it up", "builder"),
    ("summarise greet.py in README.md", "builder"),
    ("list all TODOs into TODO.md", "builder"),
    ("Find the slow loop in src/a.py; unroll it", "builder"),
    ("Look at src/core/config.ts and split it", "builder"),
    ("Explain the parser, then simplify src/parse.py", "builder"),
    ("Find out which tests are flaky and then stabilise them", "builder"),
    ("Review greet.py, and bring the tests/test_greet.py in line", "builder"),
    ("List the unused options. Drop them.", "builder"),
    ("Review the authentication module and build rate limiting for the search endpoint", "builder"),
    ("Where the colour is missing in style.css: paint it", "builder"),
    ("make the tests pass", "builder"),
    ("add a farewell function", "builder"),
    ("append a.txt three", "builder"),
    ("carry out docs/NAME-plan.md", "builder"),
    ("rate limiting for the search endpoint", "builder"),
    ("leave the old API in place", "builder"),
    ("Build a REST endpoint for user authentication", "builder"),
    ("Dispatch the builder to refactor config.ts, use worktree isolation", "builder"),
    ("Please also add tests", "builder"),
    ("Explain the bug and finally fix the cause", "builder"),
    # what only looks, although a file or a second sentence is in the words
    ("where is the export?", "scout"),
    ("Find all uses of parse() in src/a.py and lib/b.py", "scout"),
    ("Explain src/parse.py and list its callers in README.md", "scout"),
    ("List the TODOs in main.py, then rank them", "scout"),
    ("Compare lib/a.py and lib/b.py, e.g. their speed", "scout"),
    ("Look at greet.py and explain it", "scout"),
    ("What does check.py do, and why is it slow?", "scout"),
    ("Scout the src/ directory for architecture violations", "scout"),
    ("Review what I have not committed", "reviewer"),
    ("Review greet.py, especially src/parse.py", "reviewer"),
    ("Check whether greet.py handles umlauts, and tell me if it does", "reviewer"),
    ("Review src/core/config.ts, src/core/presets.ts and src/core/defaults.ts", "reviewer"),
    ("Dispatch the reviewer agent to analyze src/core/config.ts", "reviewer"),
    ("Attack this change", "red-team"),
    ("Review the last 3 commits for security issues", "red-team"),
    ("Review the authentication module in src/auth/ for security issues", "red-team"),
    ("Plan the migration of store.py, then explain it", "planner"),
    ("Have the planner create an implementation plan for the auth refactor", "planner"),
]


@pytest.mark.parametrize(("task", "agent"), TYPED, ids=[task for task, _ in TYPED])
def test_a_files_name_is_not_a_verb_and_a_wish_to_change_it_needs_an_agent_that_writes(
    task: str, agent: str
) -> None:
    assert choose(SHIPPED, task, Mode.BUILD).agent.name == agent


def test_a_gate_of_the_command_line_needs_an_agent_that_writes() -> None:
    for task in ("Check the parser for bugs", "find the slow loop", "plan the refactor", "audit the upload"):
        assert choose(SHIPPED, task, Mode.BUILD).agent.read_only
        assert choose(SHIPPED, task, Mode.BUILD, is_gated=True).agent.name == "builder"
        assert choose(SHIPPED, task, Mode.REVIEW, is_gated=True).agent.read_only


def test_the_words_that_decided_are_said() -> None:
    assert choose(SHIPPED, "Review the code", Mode.BUILD).why == "the task begins with “Review”"
    assert choose(SHIPPED, "add x", Mode.BUILD).why == "nothing in the task suggests another agent"
    long = choose(SHIPPED, f"review {'a' * 58} security", Mode.BUILD)
    assert long.agent.name == "red-team" and len(long.why) < 80


@pytest.mark.parametrize(
    ("mode", "task", "agent"),
    [
        (Mode.REVIEW, "add a flag", "reviewer"),
        (Mode.REVIEW, "document the API", "reviewer"),
        (Mode.REVIEW, "where is it?", "scout"),
        (Mode.REVIEW, "explain and fix it", "reviewer"),
        (Mode.PLAN, "add a flag", "planner"),
        (Mode.ADMIN, "add a flag", "scout"),
        (Mode.ADMIN, "review it", "reviewer"),
    ],
)
def test_modes_without_changes_choose_who_changes_nothing(mode: Mode, task: str, agent: str) -> None:
    found = choose(SHIPPED, task, mode)
    assert found.agent.name == agent and found.agent.read_only


@pytest.mark.parametrize(
    ("task", "agent", "words"),
    [
        ("Use the scout to explore what test frameworks are in use", "scout", "Use the scout"),
        (
            "Have the planner create an implementation plan for the auth refactor",
            "planner",
            "Have the planner",
        ),
        (
            "Dispatch the reviewer agent to analyze src/core/config.ts",
            "reviewer",
            "Dispatch the reviewer agent",
        ),
        ("Ask red-team to look at the login", "red-team", "Ask red-team"),
        ("ask the red team whether this holds", "red-team", "ask the red team"),
        ("I want you to use the plan-reviewer on docs/plan.md", "plan-reviewer", "use the plan-reviewer"),
        ("reviewer: check src/a.py", "reviewer", "reviewer"),
        ("@scout where is the export?", "scout", "@scout"),
        ("Look at src/a.py. Then have the documenter write it up", "documenter", "have the documenter"),
        (
            "Dispatch the builder to refactor config.ts, use worktree isolation",
            "builder",
            "Dispatch the builder",
        ),
        ("Review it with the red-team agent", "red-team", "with the red-team agent"),
        ("give this to dev", "builder", "give this to dev"),
        ("hand it over to `scout`", "scout", "hand it over to `scout`"),
    ],
)
def test_the_agent_that_the_words_name_counts_before_every_guess(task: str, agent: str, words: str) -> None:
    found = choose(SHIPPED, task, Mode.BUILD)
    assert (found.agent.name, found.why) == (agent, f"the task says “{words}”")
    assert choose(SHIPPED, task, Mode.REVIEW) == found, "a gate says no where its mode does not take it"


@pytest.mark.parametrize(
    "task",
    [
        "Use the builder pattern for queries",
        "Have the planner module renamed",
        "Use planner.py as the entry point",
        "Do not use the reviewer for this",
        "Add a page that asks the reviewer for a name",
        "Rename the scout; its callers use scout/base",
        "fix what planner::solve returns",
        "planner::solve is slow, make it fast",
        f"add a flag\n{'x' * 5_000}\nuse the scout to look",
    ],
)
def test_a_word_that_is_also_an_agents_name_names_no_agent(task: str) -> None:
    assert choose(SHIPPED, task, Mode.BUILD).agent.name == "builder"


def test_a_named_agent_that_is_switched_off_is_not_replaced_by_another() -> None:
    off = {**SHIPPED, "scout": replace(SHIPPED["scout"], enabled=False)}
    assert not choose(off, "use the scout to look", Mode.BUILD).agent.enabled, "gate 9 refuses it in words"


@pytest.mark.parametrize(
    ("task", "names", "chain"),
    [
        (
            "First have the planner analyze the auth module, then have the builder implement the "
            "improvements, then have the reviewer validate the changes",
            ["planner", "builder", "reviewer"],
            "pancode chain plan-build-verify TASK",
        ),
        (
            "First dispatch the scout to understand the test framework setup, then dispatch the builder to "
            "add tests for the config module",
            ["scout", "builder"],
            "pancode chain explore-then-build TASK",
        ),
        (
            "Dispatch the builder to implement the feature, then dispatch the reviewer to check it, and if "
            "there are issues, dispatch the builder again to fix them",
            ["builder", "reviewer"],
            "pancode chain code-review TASK",
        ),
        (
            "Have three different reviewers check src/auth/login.ts simultaneously. Use the reviewer for "
            "code quality, plan-reviewer for architecture, and red-team for security",
            ["reviewer", "plan-reviewer", "red-team"],
            "pancode chain parallel-review TASK",
        ),
        (
            "Ask the scout to look, then have the documenter write it",
            ["scout", "documenter"],
            "pancode chain FILE, with steps: [{agent: scout, task: ...}, {agent: documenter, task: ...}]",
        ),
    ],
)
def test_a_task_for_several_agents_is_refused_with_the_chain_it_could_be(
    task: str, names: list[str], chain: str
) -> None:
    with pytest.raises(UsageError) as refused:
        choose(SHIPPED, task, Mode.BUILD)
    assert ", ".join(names) in str(refused.value)
    assert refused.value.fix.startswith(chain) and refused.value.code == "several_agents"


@pytest.mark.parametrize(
    ("task", "reads"),
    [
        ("check that the tests pass", "reviewer"),
        ("review src/a.py and run the tests", "reviewer"),
        ("find the slow query, then measure it", "scout"),
    ],
)
def test_looking_that_needs_a_command_is_a_question(task: str, reads: str) -> None:
    with pytest.raises(UsageError, match=f"{reads} .*builder") as asked:
        choose(SHIPPED, task, Mode.BUILD)
    assert asked.value.code == WHICH_AGENT and asked.value.details == {"agents": f"{reads} builder"}
    assert f"--agent {reads}" in asked.value.fix
    assert choose(SHIPPED, task, Mode.REVIEW).agent.read_only, "where only one may be, nobody is asked"


@pytest.mark.parametrize(
    "task", ["explain how to run the tests", "where do the tests run?", "list what runs at night"]
)
def test_a_question_about_commands_needs_none(task: str) -> None:
    assert choose(SHIPPED, task, Mode.BUILD).agent.name == "scout"


MIGRATOR = Agent("migrator", tools=TOOLS, read_only=False, tags=("sql", "database", "C++"), own=True)
LOOKER = Agent("looker", tools=READ_TOOLS, tags=("sql", "orm"), own=True)
WITH_OWN = {**SHIPPED, "migrator": MIGRATOR, "looker": LOOKER}


@pytest.mark.parametrize(
    ("task", "mode", "agent"),
    [
        ("review the SQL", Mode.BUILD, "looker"),
        ("add an index to the database in sql.", Mode.BUILD, "migrator"),
        ("port it to c++", Mode.BUILD, "migrator"),
        ("the orm and the sql", Mode.BUILD, "looker"),
        ("add an index to the database", Mode.REVIEW, "reviewer"),
        ("mysql is down", Mode.BUILD, "builder"),
    ],
)
def test_a_tag_of_an_agent_of_ones_own_is_a_word_that_asks_for_it(task: str, mode: Mode, agent: str) -> None:
    assert choose(WITH_OWN, task, mode).agent.name == agent


def test_tags_of_one_who_writes_and_one_who_reads_are_a_question() -> None:
    with pytest.raises(UsageError, match="migrator .*sql.* looker") as asked:
        choose(WITH_OWN, "the SQL of the report", Mode.BUILD)
    assert asked.value.details == {"agents": "migrator looker"}
    assert choose(WITH_OWN, "use the looker for the SQL", Mode.BUILD).agent.name == "looker"


def test_a_gate_of_the_command_line_never_means_a_read_only_agent_with_a_tag() -> None:
    for task in ("review the SQL", "the SQL of the report", "the orm and the sql"):
        assert choose(WITH_OWN, task, Mode.BUILD, is_gated=True).agent.name == "migrator"
        assert choose(WITH_OWN, task, Mode.REVIEW, is_gated=True).agent.name == "looker"
    assert choose(WITH_OWN, "map it with the orm", Mode.BUILD, is_gated=True).agent.name == "builder"
    named = choose(WITH_OWN, "use the looker for the SQL", Mode.BUILD, is_gated=True)
    assert named.agent.name == "looker", "a name counts before every guess"


def test_tags_count_where_a_user_wrote_the_agent_and_it_is_switched_on() -> None:
    not_own = {**SHIPPED, "migrator": replace(MIGRATOR, own=False)}
    off = {**SHIPPED, "migrator": replace(MIGRATOR, enabled=False)}
    for agents in (not_own, off):
        assert choose(agents, "tune the database", Mode.BUILD).agent.name == "builder"
    assert "“database”" in choose(WITH_OWN, "tune the database", Mode.BUILD).why


def test_who_is_switched_off_or_not_there_is_not_chosen() -> None:
    without = {name: agent for name, agent in SHIPPED.items() if name != "reviewer"}
    off = {**SHIPPED, "reviewer": replace(SHIPPED["reviewer"], enabled=False)}
    for agents in (without, off):
        assert choose(agents, "review it", Mode.BUILD).agent.name == "builder"
        assert choose(agents, "add it", Mode.REVIEW).agent.read_only
    only = {"builder": SHIPPED["builder"]}
    found = choose(only, "review it", Mode.REVIEW)
    assert (found.agent.name, found.why) == ("builder", "no agent is read-only"), "a gate refuses it in words"


def test_who_leads_is_never_chosen_for_a_task() -> None:
    lead = replace(SHIPPED["panos"], own=True, tags=("plan",))
    for mode in Mode:
        for task in ("plan the search", "dispatch a plan", "orchestrate it", "ask panos"):
            assert not choose({**SHIPPED, "panos": lead}, task, mode).agent.leads
        assert choose({"panos": lead, "builder": SHIPPED["builder"]}, "look", mode).agent.name == "builder"


def test_a_task_without_end_is_judged_at_once() -> None:
    for task in (
        "please " * 50_000,
        "review " + "and x " * 50_000,
        "a" * 1_000_000,
        "look " + " " * 900_000,
        "use the " * 90_000,
    ):
        assert choose(SHIPPED, task, Mode.BUILD).agent.name in SHIPPED
