"""The steps that `node_agent.attempt.job` takes, a file for each part of a life; effects by ports only."""

from __future__ import annotations
