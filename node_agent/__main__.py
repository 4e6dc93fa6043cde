"""Runs the node agent: `python -m node_agent`."""

from __future__ import annotations

import sys

from node_agent.cli.main import main

sys.exit(main())
