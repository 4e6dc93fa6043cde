"""What is booked when a gateway counted, and what a user is told of it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from node_agent.attempt.gateways import GatewayAccess, ModelCount, NoGateways
from node_agent.attempt.ports import ReportedEnd, ReportedUsage
from node_agent.attempt.verdict import GATEWAY_GONE, Fault, gateway_fault
from node_agent.wire.failure import FailureKind as K
from node_agent.wire.receipt import ModelCalls, Usage
from tests.unit.node_agent.stage import job_of

CLAIM = Usage(
    input_tokens=5, output_tokens=1, cost_usd=Decimal("0.5"), cost_source="reported", turns=3, agent_ms=9
)
COUNTED = Usage(input_tokens=7, cached_tokens=2, output_tokens=4, cost_usd=Decimal(1), cost_source="metered")
UNPRICED = COUNTED.model_copy(update={"cost_usd": None, "cost_source": "unknown"})


def count(usage: Usage = COUNTED, ended: bool = True, unread: int = 0, **words: Any) -> ModelCount:
    calls = ModelCalls(requests=2, refused=1, unread=unread)
    return ModelCount(usage, calls, ended=ended, **words)


def test_our_tokens_are_booked_and_our_price_or_else_the_runtime_s() -> None:
    ours = count().over(CLAIM)
    assert ours == COUNTED.model_copy(update={"turns": 3, "agent_ms": 9})
    theirs = count(UNPRICED).over(CLAIM)
    assert (theirs.input_tokens, theirs.cost_usd, theirs.cost_source) == (7, Decimal("0.5"), "reported")
    nobodys = count(UNPRICED).over(Usage(input_tokens=5))
    assert (nobodys.cost_usd, nobodys.cost_source) == (None, "unknown")


def test_what_a_user_is_told() -> None:
    assert count().findings(COUNTED) == ()
    assert count().findings(Usage()) == (), "a runtime that tells nothing does not differ"
    (differs,) = count().findings(CLAIM)
    assert "5 in, 0 from cache, 1 out" in differs and "7 in, 2 from cache, 4 out" in differs
    assert count(UNPRICED, unpriced="odd").findings(COUNTED) == (), "the runtime's own price is booked"
    told = count(UNPRICED, limit="usd", words="$1 is spent", unread=2, unpriced="odd").findings(UNPRICED)
    assert [text.split(" ", 3)[0] for text in told] == ["the", "2", "no"]
    assert "1 calls: $1 is spent" in told[0] and "prices.json" in told[2]


def test_a_run_of_which_the_gateway_saw_no_call_is_booked_by_its_own_word_with_a_finding() -> None:
    unseen = ModelCount(Usage(), ModelCalls(), ended=True)
    assert unseen.over(CLAIM).cost_usd == CLAIM.cost_usd
    assert any("saw no call" in text for text in unseen.findings(CLAIM))
    assert unseen.findings(Usage()) == (), "it called no model, and says so"
    assert not any("saw no call" in text for text in count().findings(CLAIM))


def told(failure: K | None) -> ReportedEnd:
    return ReportedEnd(failure, "words", spent=ReportedUsage())


def test_whose_end_it_was() -> None:
    failed, fault = told(K.MODEL_AUTH), Fault(K.MODEL_AUTH, "words")
    limited = count(limit="tokens", words="enough")
    assert gateway_fault(fault, failed, limited) == Fault(K.TOKEN_LIMIT, "enough")
    assert gateway_fault(fault, failed, count(limit="usd", words="e")) == Fault(K.USD_LIMIT, "e")
    assert gateway_fault(fault, failed, count()) == fault, "the server's own words"
    assert gateway_fault(fault, failed, count(ended=False)) == Fault(K.NODE_INTERNAL, GATEWAY_GONE)
    assert gateway_fault(fault, failed, None) == fault
    stopped = Fault(K.STOPPED, "by a user")
    assert gateway_fault(stopped, failed, limited) == stopped
    assert gateway_fault(None, told(None), limited) is None, "it did its work all the same"
    calls = ModelCalls(requests=3, wrap_up=1)
    last = ModelCount(COUNTED, calls, limit="requests", words="enough", ended=True)
    words = "enough; one last, short call was let through to wrap up"
    assert gateway_fault(None, told(None), last) == Fault(K.REQUEST_LIMIT, words)
    assert gateway_fault(fault, failed, last) == Fault(K.REQUEST_LIMIT, words)
    assert gateway_fault(stopped, failed, last) == stopped
    assert last.findings(COUNTED) == (words,), "nothing was refused"


def test_where_there_are_none(tmp_path: Path) -> None:
    none, folder = NoGateways(), tmp_path
    assert none.open(job_of(), folder) is None and not none.is_alive(folder)
    assert none.count(folder) is None
    assert GatewayAccess(7, "t").base == "http://127.0.0.1:7"
