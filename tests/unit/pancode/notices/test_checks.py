"""What the doctor says of notices, and of traces, which are an extra: where it is missing all else starts."""

from __future__ import annotations

import json
import sys

import pytest

from pancode.config.schema import Settings, Telemetry
from pancode.interfaces.client.client import answer_in
from pancode.kernel.errors import ConfigError
from pancode.kernel.records import Audit
from pancode.notices.checks import check_deliveries, check_telemetry
from pancode.notices.hooks import make_tracing
from tests.unit.pancode.runs.world import Desk


def test_a_coordinator_starts_without_the_extra_and_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It did not come up any more, after `fleet down` had taken the fleet away."""
    settings = Settings(telemetry=Telemetry(endpoint="http://127.0.0.1:4318"))
    for name in ("opentelemetry", "opentelemetry.exporter.otlp.json.http.trace_exporter"):
        monkeypatch.setitem(sys.modules, name, None)
    desk = Desk()
    assert make_tracing(desk.core, settings.telemetry) == ()
    (entry,) = [row for row in desk.rows(Audit) if row.what == "no traces are sent"]
    assert "opentelemetry-sdk" in str(entry.detail["fix"])
    check = check_telemetry(settings)
    assert check is not None and not check["ok"] and "OpenTelemetry is not installed" in str(check["detail"])


def test_a_problem_is_no_answer_to_what_was_asked() -> None:
    """With broken settings the coordinator says that, and the doctor took it for the notices."""
    wrong = ConfigError("pancode.yaml:2: no list ends here").problem()
    problem = json.dumps({"code": wrong.code, "message": wrong.message}).encode()
    assert answer_in(422, problem) is None and answer_in(200, b"[]") is None
    assert answer_in(200, b'{"pid": 7}') == {"pid": 7}
    told = check_deliveries(True, answer_in(422, problem))
    assert told["ok"] and told["detail"] == "not known: the coordinator does not answer"
    assert check_deliveries(False, None)["detail"] == "not known: no coordinator is running"
    assert check_deliveries(True, {"troubles": [], "channels": [1]})["detail"] == "1 channel, no failures"
    assert not check_deliveries(True, {"troubles": ["mail: refused"], "channels": [1]})["ok"]
