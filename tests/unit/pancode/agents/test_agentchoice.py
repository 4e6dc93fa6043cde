"""Which agent a task is given to when nobody says, and what is said about it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from node_agent.wire.policy import Mode
from pancode.agents.agents import READ_TOOLS, TOOLS, Agent, Agents, choose
from pancode.config.agents import load_agents
from pancode.config.schema import Settings

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
    ],
)
def test_a_task_goes_to_whom_its_beginning_asks_for(task: str, agent: str) -> None:
    found = choose(SHIPPED, task, Mode.BUILD)
    assert found.agent.name == agent
    assert found.why
    assert choose(SHIPPED, task, Mode.BUILD) == found


def test_the_words_that_decided_are_said() -> None:
    assert choose(SHIPPED, "Review the code", Mode.BUILD).why == "the task begins with “Review”"
    assert choose(SHIPPED, "add x", Mode.BUILD).why == "nothing in the task asks for another"
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


def test_tags_count_where_a_person_wrote_the_agent_and_it_is_switched_on() -> None:
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
    for task in ("please " * 50_000, "review " + "and x " * 50_000, "a" * 1_000_000, "look " + " " * 900_000):
        assert choose(SHIPPED, task, Mode.BUILD).agent.name in SHIPPED
