"""Sends spans to an OpenTelemetry collector."""
