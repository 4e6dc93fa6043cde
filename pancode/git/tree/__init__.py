"""Lands commits into a repository of the user."""

from __future__ import annotations
