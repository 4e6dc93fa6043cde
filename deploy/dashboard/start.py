"""Starts RQ's dashboard with RQ made harmless first: by itself it unpickles what a node may write."""

from __future__ import annotations

import sys

# Beside this file in the image; pancode/queue/rq_json.py in the clone.
from rq_json import make_harmless


def main() -> None:
    make_harmless()
    from rq_dashboard.cli import main as dashboard

    sys.argv[0] = "rq-dashboard"
    dashboard()


if __name__ == "__main__":
    main()
