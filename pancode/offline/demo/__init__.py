"""`pancode demo`: its acts, its stage, its report."""

from __future__ import annotations
