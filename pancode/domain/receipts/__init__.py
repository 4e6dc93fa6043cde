"""Receipts: verification, chains, settlement."""

from __future__ import annotations
