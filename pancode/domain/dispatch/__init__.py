"""A dispatch: the request, its checks, its resolution into a run."""

from __future__ import annotations
