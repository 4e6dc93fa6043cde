"""A run that has ended is one trace; a collector that is away loses none, and a restart repeats none."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.receipt import Usage
from pancode.kernel.errors import UnavailableError
from pancode.notices.traces import names
from pancode.notices.traces.exporter import Tracing
from pancode.notices.traces.spans import RunSpan
from tests.unit.pancode.runs.world import failed
from tests.unit.pancode.schedules.world import Times

PAID = Usage(cost_usd=Decimal("0.25"), cost_source="reported", input_tokens=1_200, output_tokens=34)


class Collector:
    def __init__(self) -> None:
        self.spans: list[RunSpan] = []
        self.away = False

    def send(self, spans: Sequence[RunSpan]) -> None:
        if self.away:
            raise UnavailableError("away")
        self.spans += spans


def test_one_trace_for_each_run_and_each_once(tmp_path: Path) -> None:
    times, collector = Times(tmp_path), Collector()
    assert Tracing(times.desk.core, collector).send_spans()
    run = str(times.world.dispatch(task="very private", runtime="scripted", budget="0.25")["run"])
    times.play(usage=PAID)
    collector.away = True
    assert not Tracing(times.desk.core, collector).send_spans()
    collector.away = False
    for _ in range(2):
        times.desk.restart()
        assert Tracing(times.desk.core, collector).send_spans()
    root, *parts = collector.spans
    assert root.parent_id is None and root.name == "invoke_agent builder" and root.error is None
    said: Any = root.attributes
    assert (said[names.RUN], said[names.INPUT_TOKENS], said[names.COST]) == (run, 1_200, 0.25)
    assert {one.trace_id for one in parts} == {root.trace_id}
    assert [one.name for one in collector.spans].count(root.name) == 1
    ids = {one.span_id for one in collector.spans}
    assert len(ids) == len(collector.spans) and all(one.parent_id in ids for one in parts)
    assert any(one.name == "started" for one in parts), [one.name for one in parts]
    assert all(one.begin_ms <= one.end_ms for one in collector.spans)
    assert "very private" not in str(collector.spans)


def test_a_failure_is_an_error_and_a_task_is_told_when_asked_for(tmp_path: Path) -> None:
    times, collector = Times(tmp_path), Collector()
    tracing = Tracing(times.desk.core, collector, with_task=True)
    tracing.send_spans()
    times.world.dispatch(task="false")
    times.play(**failed(FailureKind.AGENT_FAILED, Outcome.ERROR))
    tracing.send_spans()
    root = collector.spans[0]
    assert root.error == "agent_failed" and root.attributes[names.TASK] == "false"
