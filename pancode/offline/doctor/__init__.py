"""`pancode doctor`: the checks of this machine."""

from __future__ import annotations
