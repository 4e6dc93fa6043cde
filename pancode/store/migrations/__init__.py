"""The schema's history. `HEAD` is its newest revision, known without importing Alembic."""

from __future__ import annotations

HEAD = "0013"
