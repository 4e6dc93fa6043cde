"""The command line with a home of its own."""

from __future__ import annotations

from tests.integration.faces.conftest import home, pancode

__all__ = ["home", "pancode"]
