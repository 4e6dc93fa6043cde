"""How limits, tombstones, refusals of the depot and our own faults end an attempt, on memory ports."""

from __future__ import annotations

import pytest

from node_agent.wire.control import Tombstone
from node_agent.wire.event import Finding, Progress
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.identity import Mark
from node_agent.wire.job import Gate, Limits
from node_agent.wire.model import canonical_json
from tests.fakes.node import Script
from tests.unit.node_agent.attempt.test_procedure import NAME, SETUP, WORK, gated, run
from tests.unit.node_agent.stage import RUN, Stage, identity, job_of


def test_the_dollar_limit_ends_it() -> None:
    script = Script(output=b'{"usd": "1.01", "answer": "x"}\n', duration_ms=600_000)
    stage = run(script)
    claims = stage.claims[NAME]
    assert (claims.outcome, claims.failure) == (Outcome.BUDGET_EXCEEDED, FailureKind.USD_LIMIT)
    assert claims.reason == "$1.01 was spent, the limit is $1"
    assert claims.usage.agent_ms < 5_000


def test_the_token_limit_ends_it() -> None:
    limits = Limits(wall_ms=3_600_000, idle_ms=600_000, output_bytes=1 << 20, tokens=100)
    script = Script(output=b'{"usd": "0", "in": 90, "out": 11}\n', duration_ms=600_000)
    assert run(script, limits=limits).claims[NAME].failure is FailureKind.TOKEN_LIMIT


def test_the_limit_of_turns_ends_it_while_it_runs() -> None:
    limits = Limits(wall_ms=3_600_000, idle_ms=600_000, output_bytes=1 << 20, turns=3)
    over = b'{"usd": "0", "turns": 3}\n{"usd": "0", "turns": 4}\n'
    claims = run(Script(output=over, duration_ms=600_000), limits=limits).claims[NAME]
    assert (claims.outcome, claims.failure) == (Outcome.BUDGET_EXCEEDED, FailureKind.TURN_LIMIT)
    assert claims.reason == "the model was called for turn 4, the limit is 3"
    within = b'{"usd": "0", "turns": 3, "answer": "done"}\n'
    assert run(Script(output=within), limits=limits).claims[NAME].outcome is Outcome.DONE


def test_the_pause_until_its_logins_limit_ends_is_claimed() -> None:
    far = 1_790_001_000_000 + 10**8  # after the world's clock
    script = Script(output=b'{"resets": %d}\n' % far, exit_code=1, duration_ms=1_000)
    assert 0 < run(script).claims[NAME].resets_ms <= 10**8
    assert run(Script(output=b'{"answer": "x"}\n')).claims[NAME].resets_ms == 0


def test_a_session_that_was_named_and_not_stored_is_not_claimed() -> None:
    """A rate limit at the first call ends a program that has named its session and saved nothing of it."""
    script = Script(output=b'{"session": "s-1", "resets": 1}\n', exit_code=1, duration_ms=1_000)
    stage = Stage(script=lambda _: script)
    stage.push(job_of())
    stage.settle()
    assert stage.claims[NAME].session is None
    kept = Stage(script=lambda _: script)
    kept.host.stored.add((RUN, "s-1"))
    kept.push(job_of())
    kept.settle()
    assert kept.claims[NAME].session == "s-1"


@pytest.mark.parametrize(("setup", "spawned"), [((("make", "env"),), [SETUP]), ((), [])])
def test_a_gate_whose_program_is_nowhere_ends_it_before_the_agent(
    setup: tuple[tuple[str, ...], ...], spawned: list[str]
) -> None:
    stage = Stage(script=lambda _: Script())
    stage.host.absent = {"pytset"}
    gate = Gate(name="pytset -q", argv=("pytset", "-q"))
    stage.push(job_of(setup=setup, gates=(gate,)))
    stage.settle()
    claims = stage.claims[NAME]
    assert (claims.outcome, claims.failure) == (Outcome.ERROR, FailureKind.GATE_MISSING)
    assert "no agent was started" in claims.reason and "pytset" in claims.reason
    assert "runtime shell 'echo $PATH'" in claims.reason and "/bin:" not in claims.reason
    assert claims.usage.cost_usd == 0 and claims.usage.cost_source == "local"
    assert stage.host.spawns == spawned


def test_a_secret_in_the_result_is_named_with_its_file() -> None:
    stage = Stage(script=lambda _: Script(wrote="key=secret-value"), secrets={"S": "secret-value"})
    stage.push(job_of())
    stage.settle()
    claims = stage.claims[NAME]
    assert [(one.secret, one.file) for one in claims.exposed] == [("S", "a.txt")]
    assert claims.findings == ("the value of S, a secret, is in a.txt of the result",)
    assert claims.outcome is Outcome.DONE, "what becomes of it is for a user to say"


def test_a_secret_in_a_commit_on_the_way_is_named_and_marked() -> None:
    script = Script(wrote="a", took_back="key=secret-value")
    stage = Stage(script=lambda _: script, secrets={"S": "secret-value"})
    stage.push(job_of())
    stage.settle()
    claims = stage.claims[NAME]
    assert [(one.secret, one.file, one.passing) for one in claims.exposed] == [("S", "a.txt", True)]
    assert claims.findings == ("the value of S, a secret, is in a.txt in an intermediate commit",)


@pytest.mark.parametrize("on_the_way", [False, True])
def test_a_search_for_secrets_that_could_not_be_made_is_told_as_a_secret_is(on_the_way: bool) -> None:
    script = Script(wrote="a", search_fails=on_the_way)
    stage = Stage(script=lambda _: script, secrets={"S": "secret-value"})
    stage.push(job_of())
    stage.settle()
    claims = stage.claims[NAME]
    what = "the intermediate commits" if on_the_way else "the result"
    words = f"{what} could not be searched for secrets: [secret S] is in the way"
    assert [(one.secret, one.file, one.passing) for one in claims.exposed] == [("", words, on_the_way)]
    assert claims.findings == (words,)


def test_progress_is_told_and_not_too_often() -> None:
    stage = run(Script(duration_ms=60_000))
    told = [body for body in stage.bodies() if isinstance(body, Progress)]
    assert len(told) == 1 and told[0].input_tokens == 10 and str(told[0].cost_usd) == "0.01"


def test_the_time_of_what_vanished_is_told_as_far_as_it_is_known() -> None:
    stage = Stage(script=lambda _: Script(duration_ms=600_000))
    stage.push(gated())
    assert stage.go(20_000, lambda: WORK in stage.host.spawns)
    stage.go(60_000)
    stage.host.kill_shims()
    stage.settle()
    claims = stage.claims[NAME]
    assert (claims.failure, str(claims.usage.cost_usd)) == (FailureKind.PROCESS_VANISHED, "0.01")
    assert 55_000 <= claims.usage.agent_ms <= 65_000
    told = [body.agent_ms for body in stage.bodies() if isinstance(body, Progress)]
    assert told and 0 < told[-1] <= claims.usage.agent_ms


def test_a_tombstone_ends_it_and_its_evidence_still_comes() -> None:
    stage = Stage(script=lambda _: Script(duration_ms=600_000))
    stage.push(gated())
    stage.go(3_000)
    stage.tell(Tombstone(run=RUN, up_to_lease=1, reason="a newer attempt is bound"))
    stage.settle()
    claims = stage.claims[NAME]
    assert claims.outcome is Outcome.INTERRUPTED and claims.commit in stage.depot.commits.values()


def test_the_depot_says_no() -> None:
    """The result stays on the node, salvaged; the receipt goes out and claims no commit."""
    stage = Stage()
    stage.depot.refuses = True
    stage.push(gated())
    stage.settle()
    claims = stage.claims[NAME]
    assert (claims.outcome, claims.failure, claims.commit) == (
        Outcome.ERROR,
        FailureKind.RESULT_REFUSED,
        None,
    )
    assert stage.host.salvaged == [NAME]
    assert any(isinstance(body, Finding) and "refused" in body.text for body in stage.bodies())


def test_a_result_without_files_of_the_agent_is_not_done_and_the_checkout_is_kept() -> None:
    stage = Stage(script=lambda _: Script(missing=("big: larger than 100 MB, not in the result",)))
    stage.push(gated())
    stage.settle()
    claims = stage.claims[NAME]
    assert (claims.outcome, claims.failure) == (Outcome.ERROR, FailureKind.INCOMPLETE_RESULT)
    assert "big: larger" in claims.reason and f"salvage/{NAME}" in claims.reason
    assert claims.commit in stage.depot.commits.values()
    assert stage.host.salvaged == [NAME] and NAME not in stage.host.trees


def test_receipts_name_their_predecessor() -> None:
    stage = Stage(slots=3)
    for lease in range(1, 6):
        stage.push(job_of(identity=identity(run=f"r-run{lease}")))
        stage.go(1_500)
    stage.settle()
    chain = stage.order_of_receipts
    digests = [next(iter(stage.receipts[str(claims.identity)])) for claims in chain]
    assert len(chain) == 5
    assert [claims.previous for claims in chain] == [None, *digests[:-1]]


def test_nothing_is_removed_before_the_acknowledgement() -> None:
    stage = Stage()
    stage.acknowledges = False
    stage.push(gated())
    stage.go(300_000)
    assert len(stage.receipts[NAME]) == 1
    sent = [text for text in stage.uplink.sent if "in-toto" in text]
    assert 5 <= len(sent) <= 12  # again and again, ever more rarely
    assert NAME in stage.host.trees and stage.agent.free_slots() == 2
    stage.acknowledges = True
    stage.settle()
    assert stage.host.trees == {}


def test_a_step_that_always_fails_gives_the_attempt_up() -> None:
    """A fault of ours at any step: the receipt goes out, as infra, and says where."""
    for mark, port, call in (
        (Mark.ACCEPTED, "workspaces", "prepare"),
        (Mark.SPAWNED, "runner", "look"),
        (Mark.EXITED, "workspaces", "commit"),
        (Mark.GATED, "depot", "upload"),
    ):
        stage = Stage()
        stage.push(gated())
        target = getattr(stage.agent.world, port)

        def broken(*args: object) -> object:
            raise OSError("broken")

        setattr(target, call, broken)  # the proxy's own attribute comes first
        stage.settle()
        claims = stage.claims[NAME]
        assert (claims.outcome, claims.failure) == (Outcome.INFRA, FailureKind.NODE_INTERNAL), mark
        assert "broken" in claims.reason, mark
        assert canonical_json(claims.model_dump(mode="json"))


def test_a_long_answer_travels_whole_beside_the_receipt() -> None:
    """Its receipt has the end of it; the secret that it holds is in neither."""
    answer = "begins " + "x" * 1_000_000 + " and ends"
    output = canonical_json({"answer": answer, "usd": "0.01"}) + b"\n"
    stage = run(Script(output=output))
    claims = stage.claims[NAME]
    assert claims.answer == f"…{answer[-3_999:]}"
    (blob,) = (one for one in claims.blobs if one.name == "answer")
    assert blob.size == len(answer)
    assert stage.depot.blobs[(NAME, "answer")] == answer.encode()
    short = run(Script()).claims[NAME]
    assert short.answer == "did it" and "answer" not in {one.name for one in short.blobs}
