"""Traces of runs for an OpenTelemetry collector."""
