"""Traces are an extra: where it is missing everything else starts, and the reason is in audit and doctor."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pancode.app.doctor import _check_settings
from pancode.app.telemetry import tracing_of
from pancode.kernel.records import Audit
from tests.unit.pancode.runs.world import Desk


def test_a_coordinator_starts_without_the_extra_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It did not come up any more, after `fleet down` had taken the fleet away."""
    (tmp_path / "pancode.yaml").write_text("telemetry: {endpoint: 'http://127.0.0.1:4318'}\n")
    for name in ("opentelemetry", "opentelemetry.exporter.otlp.json.http.trace_exporter"):
        monkeypatch.setitem(sys.modules, name, None)
    desk = Desk()
    assert tracing_of(tmp_path, {}, desk.core) == ()
    (entry,) = [row for row in desk.rows(Audit) if row.what == "no traces are sent"]
    assert "opentelemetry-sdk" in str(entry.detail["fix"])
    check = _check_settings(tmp_path, {})
    assert not check["ok"] and "OpenTelemetry is not installed" in str(check["detail"])
