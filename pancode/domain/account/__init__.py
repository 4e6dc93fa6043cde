"""Decisions about the account: costs, periods, alerts, records."""
