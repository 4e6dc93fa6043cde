"""An SSH server in this process, for the machine itself."""

from __future__ import annotations
