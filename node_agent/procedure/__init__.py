"""The steps that `node_agent.job` takes, a file for each part of an attempt's life; effects by ports only."""

from __future__ import annotations
