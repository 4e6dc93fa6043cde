"""What reviews add to the engine: the table of comments."""

from __future__ import annotations

from pancode.reviews.model import ReviewComment
from pancode.runs.features import Features

FEATURE = Features(tables=(ReviewComment,))
