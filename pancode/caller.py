"""Tells who asks the coordinator for something: the person, and the run from inside which a program asks."""

from __future__ import annotations

import os


def who() -> str:
    """The person at the keyboard, for the record."""
    return os.environ.get("USER") or os.environ.get("LOGNAME") or f"uid {os.getuid()}"


def above() -> dict[str, object]:
    """`parent` and `depth` for a request from inside of a run, which is that run's child; else nothing.

    The coordinator looks at the process that asks, too, and believes that more.
    """
    if not os.environ.get("PANCODE_RUN"):
        return {}
    depth = os.environ.get("PANCODE_DEPTH", "0")
    return {"parent": os.environ["PANCODE_RUN"], "depth": int(depth) + 1 if depth.isdigit() else 1}
