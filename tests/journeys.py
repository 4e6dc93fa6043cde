"""Decides which tests `make test` runs: all that are quick, and the journeys.

A journey goes over real parts as a user does: two hosts, a real program, a browser, a terminal. There is one
for each border that a user would lose. `make test-all` runs every test.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

MOST_JOURNEYS = 40
"""A new journey takes the place of one: all of them together may take 400 s of work."""

SEEDS, SEEDS_OF = 60, {"sessions": 20, "machines": 20, "ledgers": 40}
"""Schedules of the simulation in `make test`; the slice of the simulation runs more."""

JOURNEYS = {
    "tests/e2e/test_fleet_runs.py::test_readiness_shows_every_node_and_a_second_up_changes_nothing": "machines come up over SSH",
    "tests/e2e/test_fleet_runs.py::test_a_mistyped_node_names_the_nearest_and_runs_nothing": "a mistyped machine",
    "tests/e2e/test_fleet_runs.py::test_a_change_is_made_elsewhere_verified_signed_and_landed": "a dispatch with a gate, its receipt, its landing",
    "tests/e2e/test_fleet_runs.py::test_odd_file_and_branch_names_survive_both_ways": "files travel both ways",
    "tests/e2e/test_fleet_runs.py::test_slots_are_filled_and_never_more[3-2]": "slots of a machine",
    "tests/e2e/test_fleet_runs.py::test_stop_while_queued_and_while_running_and_deaf": "stop",
    "tests/e2e/test_fleet_runs.py::test_a_gate_that_passes_only_beside_the_change_is_verify_failed_and_lands_nothing": "a gate that fails",
    "tests/e2e/test_fleet_runs.py::test_what_a_bad_agent_does_to_its_checkout_is_salvaged": "a hostile checkout",
    "tests/e2e/test_fleet_runs.py::test_logs_are_followed_without_gap_or_double": "logs",
    "tests/e2e/test_fault_coordinator.py::test_killed_during_a_run": "kill -9 of the coordinator",
    "tests/e2e/test_fault_node_agent.py::test_killed_at_each_mark_it_is_started_again_and_delivers_once[exited-committed-gated]": "kill -9 of the node agent",
    "tests/e2e/test_fault_node_agent.py::test_a_killed_shim_is_infra_and_the_work_is_tried_once_more": "kill -9 of the shim",
    "tests/e2e/test_fault_sessions.py::test_a_session_goes_on_after_it[coordinator]": "kill -9 of the coordinator in a turn",
    "tests/e2e/test_fault_redis.py::test_killed_it_comes_back": "kill -9 of Redis",
    "tests/e2e/test_fault_link.py::test_a_follower_sees_every_line_once_across_a_short_cut": "a cut link",
    "tests/e2e/test_fault_host.py::test_powered_off_and_booted_the_agent_is_started_at_contact": "a machine that was off",
    "tests/e2e/test_night.py::test_a_frozen_coordinator_finds_all_done_in_the_morning": "a night with the lid closed",
    "tests/e2e/test_leave_nothing.py::test_one_that_is_away_is_revoked_at_once_and_cleaned_at_contact": "a machine is removed",
    "tests/integration/faces/test_copied_home.py::test_a_copy_starts_nothing_beside_the_first": "a copy of a home",
    "tests/e2e/test_fault_budget.py::test_ten_dispatches_race_for_the_last_dollar": "the budget",
    "tests/e2e/test_workflows.py::test_a_chain_hands_on_commits_answers_and_files_from_host_to_host": "a chain over two hosts",
    "tests/e2e/test_people.py::test_a_supervised_change_waits_for_a_yes_and_is_landed_once": "a change that waits for approval",
    "tests/e2e/test_people.py::test_a_command_waits_for_a_user_while_its_run_goes_on[native]": "a command that waits for approval",
    "tests/e2e/test_sessions.py::test_a_chat_is_left_and_come_back_to_and_the_next_interactive_run_remembers": "a session with two turns",
    "tests/e2e/test_panos.py::test_it_dispatches_waits_reads_and_answers": "Panos dispatches and answers",
    "tests/e2e/test_chat_screen.py::test_a_user_talks_answers_cancels_leaves_and_comes_back": "chat in tmux",
    "tests/e2e/test_top.py::test_a_user_looks_stops_a_run_and_leaves": "`top` in tmux",
    "tests/e2e/test_web.py::test_now_shows_a_run_as_it_happens_and_stops_it": "a page in Chromium",
    "tests/e2e/test_mcp.py::test_a_task_is_handed_over_waited_for_and_read": "an MCP client",
    "tests/e2e/test_programs.py::test_an_act_comes_to_what_it_should[gemini-edit]": "a vendor's program from npm",
    "tests/e2e/test_sandbox.py::test_a_mode_whose_network_is_none_reaches_nothing": "the sandbox's wall: the network",
    "tests/e2e/test_sandbox.py::test_a_read_only_double_cannot_write_whatever_it_is_told": "the sandbox's wall: files",
    "tests/integration/endpoints/test_tinyllama.py": "the real llama.cpp",
    "tests/e2e/test_trust_forgery.py::test_forged_receipts_and_events_settle_nothing": "forged receipts",
    "tests/e2e/test_time.py::test_a_killed_coordinator_fires_once": "a schedule",
    "tests/integration/redis/test_tools.py::test_rq_info_shows_queues_jobs_and_the_node": "`rq info`",
    "tests/integration/packaging/test_upgrade.py::test_a_newer_version_continues_where_the_older_one_stopped[8f79f20c]": "an upgrade",
    "tests/e2e/test_demo.py::test_a_plain_user_without_a_network_is_shown_all_and_nothing_is_left": "the demo",
}
"""How the ids of tests begin, and what a user would lose."""

NOT_SET_UP = re.compile(
    r"postgres|^tests/integration/(test_ansible_|packaging/(?!test_upgrade)|systemd/|store/test_(lost|move))"
)
"""Tests of what the set-up of `make test` does not bring: each has a slice that does."""

_SCHEDULES = re.compile(r"tests/simulation/test_schedules\.py::.*?(sessions|machines|ledgers)?\[(\d+)\]")


@cache
def longer() -> dict[str, float]:
    """Tests, or functions of tests, whose measured seconds keep them out of `make test`."""
    lines = Path(__file__).with_name("longer.txt").read_text().splitlines()
    return {name: float(seconds) for seconds, name in (line.split(maxsplit=1) for line in lines)}


def chosen(nodeid: str) -> bool:
    """Whether `make test` runs this test."""
    if nodeid.startswith(tuple(JOURNEYS)):
        return True
    if nodeid.startswith(("tests/e2e/", "tests/clis/")):
        return False
    if seed := _SCHEDULES.match(nodeid):
        return int(seed[2]) < SEEDS_OF.get(seed[1], SEEDS)
    if NOT_SET_UP.search(nodeid):
        return False
    function = nodeid.partition("[")[0]
    return nodeid not in longer() and function not in longer()
