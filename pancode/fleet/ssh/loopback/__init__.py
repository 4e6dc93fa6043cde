"""An SSH server in this process, for this machine as a node."""

from __future__ import annotations
