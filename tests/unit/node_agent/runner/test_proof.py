"""What proves a user's message is given to programs that hear them, and to no other."""

from __future__ import annotations

from dataclasses import replace

from node_agent.runner.launching import NodeRuntimes
from tests.unit.node_agent.runner.test_launching import AROUND, HOME, WORK
from tests.unit.node_agent.stage import job_of


def test_only_who_hears_a_user_gets_what_proves_the_words_and_no_set_up_or_gate_does() -> None:
    runtimes = NodeRuntimes(replace(AROUND, words_key=lambda job: {"words.key": b"proof"}))
    jobs = (job_of(runtime="native", model="groq/m"), job_of())
    told = [
        one.model_copy(update={"policy": one.policy.model_copy(update={"told_only": True})}) for one in jobs
    ]
    ours, other = (runtimes.launch(job, WORK, HOME) for job in told)
    assert ours.login == {"words.key": b"proof"} and "words.key" not in {**ours.files, **other.login}
