"""`python -m tests.bench`: our figures beside a peer's, measured in turn in the same run."""

from __future__ import annotations
