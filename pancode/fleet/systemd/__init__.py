"""Systemd units and notifications."""
