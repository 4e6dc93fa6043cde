"""Sends spans with OTLP over HTTP as JSON, using OpenTelemetry's SDK (the optional extra `otel`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pancode import __version__
from pancode.kernel.errors import ConfigError, UnavailableError
from pancode.kernel.formatting import pip_install
from pancode.notices.traces import names
from pancode.notices.traces.spans import RunSpan

PATH = "/v1/traces"
_BRINGS = pip_install("opentelemetry-sdk>=1.45,<2", "opentelemetry-exporter-otlp-json-http>=0.66b1,<1")
FIX = f"{_BRINGS}; or remove telemetry.endpoint"
"""How to fix the error that the extra is not installed."""
TIMEOUT_S = 10.0


class OtlpExport:
    """Sends spans over OTLP; implements `SpanExport` of pancode.notices.traces.exporter."""

    def __init__(self, endpoint: str, fleet: str, timeout_s: float = TIMEOUT_S) -> None:
        """Open the exporter. ConfigError if the extra is not installed."""
        try:
            from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
        except ImportError as exc:
            raise ConfigError(
                "telemetry.endpoint is set, but OpenTelemetry is not installed", why=str(exc), fix=FIX
            ) from exc
        url = endpoint.rstrip("/")
        url = url if url.endswith(PATH) else f"{url}{PATH}"
        self._exporter = OTLPSpanExporter(endpoint=url, timeout=timeout_s)
        about = {"service.name": names.SERVICE, "service.version": __version__, "service.instance.id": fleet}
        self._resource = Resource(about)

    def send(self, spans: Sequence[RunSpan]) -> None:
        from opentelemetry.sdk.trace.export import SpanExportResult

        done = self._exporter.export([_convert_span(one, self._resource) for one in spans])
        if done is not SpanExportResult.SUCCESS:
            raise UnavailableError("the collector did not accept the spans", fix="check telemetry.endpoint")


def _convert_span(one: RunSpan, resource: Any) -> Any:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, TraceFlags
    from opentelemetry.trace.status import Status, StatusCode

    def context(span_id: str) -> SpanContext:
        return SpanContext(int(one.trace_id, 16), int(span_id, 16), False, TraceFlags(TraceFlags.SAMPLED))

    bad = one.error is not None
    return ReadableSpan(
        name=one.name,
        context=context(one.span_id),
        parent=None if one.parent_id is None else context(one.parent_id),
        resource=resource,
        attributes=dict(one.attributes),
        status=Status(StatusCode.ERROR, one.error) if bad else Status(StatusCode.OK),
        start_time=one.begin_ms * 1_000_000,
        end_time=one.end_ms * 1_000_000,
        instrumentation_scope=InstrumentationScope(names.SERVICE, __version__),
    )
